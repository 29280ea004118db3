"""The nouns: frozen values that the other rooms hand to each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

ID_DIGITS = 24
"""A Foursquare id is 24 lower-case hex digits (seen in about 1,300 recorded items)."""


NAMELESS = "sha256:"
"""How the key begins of an item without an id: the hash of the item follows."""


def one_line(text: str) -> str:
    """A text from outside as one line, without what a terminal would take for a command."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whose check-ins we import; `id` is the application's, in `users.id`."""

    id: int
    foursquare_user_id: str
    name: str | None
    sealed_token: str | None = field(repr=False)

    @property
    def token_hash(self) -> bytes:
        """What tells one stored token from the next without being one."""
        return hashlib.sha256((self.sealed_token or "").encode()).digest()

    def __str__(self) -> str:
        """How he is called in sentences: `user 7 (Ada)`."""
        return f"user {self.id} ({one_line(self.name)})" if self.name else f"user {self.id}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An active user, and what a run needs to know to decide whether he is due."""

    user: User
    paused: bool
    state: str
    retry_at: datetime | None
    last_checked_at: datetime | None
    rejected: bytes | None
    """Hash of the sealed token that was rejected or could not be opened."""
    token_unreadable: bool
    finished_once: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Who Foursquare says a token belongs to (`users/self`)."""

    foursquare_user_id: str
    name: str | None
    avatar_url: str | None


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


PAGE = 250
"""Items asked for at once: the API's largest `limit` (documented)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a page: `limit` items from `offset` on."""

    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the API: the items from `offset` on, in the order received."""

    offset: int
    limit: int
    """As asked for; the server may give fewer at any place of the list."""
    items: tuple[Item, ...]
    total: int | None
    """`count`, the user's total as Foursquare tells it; never a reason to stop."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time asked about; it decides only where a walk ends, never what is stored."""

    start: datetime | None
    """None: everything."""

    @classmethod
    def after(cls, cursor: datetime | None, *, overlap: timedelta) -> Window:
        """From the cursor, less the overlap; everything where no walk has finished yet."""
        return cls(None if cursor is None else cursor - overlap)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an unfinished walk stands: what the next attempt needs to go on from there."""

    started_at: datetime
    """Start of the walk's first attempt: the cursor, once it has finished."""
    since: datetime | None
    """Start of its window; None: everything."""
    offset: int
    """How many items of the list are behind it."""
    tail: tuple[str, ...]
    """Keys of the last of them, in list order."""
    down_to: datetime | None
    """`createdAt` of the last of them."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a page of check-ins did to the table, in check-ins."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    gone: int = 0

    def __add__(self, other: Saved) -> Saved:
        """Two pages' work together."""
        return Saved(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.quarantined + other.quarantined,
            self.gone + other.gone,
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to import one user, as long as its token is the one in the table."""

    user_id: int
    token: int
