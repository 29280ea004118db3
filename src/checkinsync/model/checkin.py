"""A check-in and its parts, as frozen values.

They are msgspec's structs, for a frozen dataclass of this many fields takes five times as long to
make, and a first import makes one of each check-in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

import msgspec

ID_DIGITS = 24
"""A Foursquare id is 24 lower-case hex digits (seen in about 1,300 recorded items)."""

_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")

NAMELESS = "sha256:"
"""Begins the key of what has no usable id: a hash follows."""


class Photo(msgspec.Struct, frozen=True):
    """A photo of a check-in."""

    id: str
    """Foursquare's; the URL where it has none, or another photo has the same; where that is too
    long for an index, `sha256:` and its hash."""
    url: str
    width: int | None
    height: int | None
    visibility: str | None = None
    """As Foursquare says it, of this one photo."""


class Checkin(msgspec.Struct, frozen=True):
    """One check-in, as it goes into the columns of `checkins`.

    Texts hold neither U+0000 nor lone surrogates; `raw` is the item's JSON text as received,
    in UTF-8, but for those. `fingerprint` is a hash of what counts as a change.
    """

    id: str
    created_at: datetime
    """`createdAt`: aware, UTC, whole seconds."""
    kind: str
    """`type`: `checkin`, `shout`, `venueless`, or one that is new."""
    venue_id: str | None
    venue_name: str
    venue_category: str
    latitude: Decimal | None
    """Degrees, -90 to 90, with the column's eight decimals; None where unknown or out of range."""
    longitude: Decimal | None
    """Degrees, -180 to 180, likewise."""
    city: str
    country: str
    time_zone: str | None
    """IANA name."""
    time_zone_offset: int | None
    """Minutes east of UTC, signed."""
    shout: str | None
    is_private: bool
    """True unless Foursquare says that others may see it; see `visibility`."""
    photos: tuple[Photo, ...]
    raw: bytes
    fingerprint: bytes
    visibility: str | None = None
    """`private`, `closeFriends`, `friends`, `public`, or one that is new; None: nothing is said."""
    extras: str = "{}"
    """The other parts that count as edits (with whom, event, sticker, …): JSON in one spelling."""

    @property
    def key(self) -> str:
        """The id: it tells this item from others within a walk."""
        return self.id

    @property
    def nameless(self) -> bool:
        """False: it has an id."""
        return False


class Unreadable(msgspec.Struct, frozen=True):
    """An item of a page that can't become a `Checkin`: it goes into quarantine, named."""

    key: str
    """Its id where it has a usable one, else `sha256:` and the hash of the item."""
    item: bytes
    """As received; it may be no JSON."""
    problem: str
    """Half a sentence that says what is wrong with it."""

    @property
    def nameless(self) -> bool:
        """Return True if it has no usable id, so that it may be any check-in."""
        return self.key.startswith(NAMELESS)


Item = Checkin | Unreadable


@lru_cache(4096)  # of a page and its neighbours: several look at each check-in
def instant_of_id(checkin_id: str) -> datetime | None:
    """Return the creation instant in an id's first eight hex digits; None where there is none.

    Source: in about 1,300 recorded items `int(id[:8], 16)` equals `createdAt`.
    """
    if _ID.fullmatch(checkin_id) is None:
        return None
    return datetime.fromtimestamp(int(checkin_id[:8], 16), UTC)
