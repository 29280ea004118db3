"""The nouns: frozen values that the other rooms hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

ID_DIGITS = 24
"""A Foursquare id is 24 lower-case hex digits (seen in about 1,300 recorded items)."""


NAMELESS = "sha256:"
"""How the key begins of an item without an id: the hash of the item follows."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a check-in; `id` is Foursquare's, or the URL where it has none."""

    id: str
    url: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Checkin:
    """One check-in, as it goes into the columns of `checkins`.

    Texts hold neither U+0000 nor lone surrogates; `raw` is the item's JSON text as received,
    but for those. `fingerprint` is a hash of what counts as a change.
    """

    id: str
    created_at: datetime
    """`createdAt`: aware, UTC, whole seconds."""
    kind: str
    """`type`: `checkin`, `shout`, `venueless`, or what Foursquare thinks of next."""
    venue_id: str | None
    venue_name: str
    venue_category: str
    latitude: float | None
    """Degrees, -90 to 90; None where unknown or out of range."""
    longitude: float | None
    """Degrees, -180 to 180."""
    city: str
    country: str
    time_zone: str | None
    """IANA name."""
    time_zone_offset: int | None
    """Minutes east of UTC, signed."""
    shout: str | None
    is_private: bool
    photos: tuple[Photo, ...]
    raw: str
    fingerprint: bytes

    @property
    def key(self) -> str:
        """What tells this item from others within a walk."""
        return self.id

    @property
    def nameless(self) -> bool:
        """Whether it may be any check-in, for want of an id."""
        return False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item of a page that can't become a `Checkin`: it goes into quarantine, named."""

    key: str
    """Its id where it has a usable one, else `sha256:` and the hash of the item."""
    item: bytes
    """As received; it may be no JSON."""
    problem: str
    """One sentence: what is wrong with it."""

    @property
    def nameless(self) -> bool:
        """Whether it may be any check-in, for want of an id."""
        return self.key.startswith(NAMELESS)


Item = Checkin | Unreadable


def instant_of_id(checkin_id: str) -> datetime | None:
    """The creation instant in an id's first eight hex digits; None where there is none.

    Source: in about 1,300 recorded items `int(id[:8], 16)` equals `createdAt`.
    """
    if len(checkin_id) != ID_DIGITS or not set(checkin_id) <= set("0123456789abcdef"):
        return None
    return datetime.fromtimestamp(int(checkin_id[:8], 16), UTC)
