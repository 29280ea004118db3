"""What a page means for the table: rows as they stand, and what is to be done to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checkinsync.model.checkin import Checkin


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `checkins`, as far as deciding needs it."""

    row: int
    foursquare_id: str | None
    fingerprint: bytes | None
    venue_id: str | None
    checkin_date: datetime
    """Aware, UTC."""
    missing_since: datetime | None = None
    """When Foursquare first did not show it where it would have to stand."""
    held_back_since: datetime | None = None
    """When it was first missing together with more than can be believed of a list alone."""
    deleted_at: datetime | None = None

    @property
    def second(self) -> datetime:
        """The check-in's `createdAt`; the microseconds only tell rows apart."""
        return self.checkin_date.replace(microsecond=0)

    @property
    def doubted(self) -> bool:
        """Return True if it counts as gone, or as perhaps gone."""
        return bool(self.missing_since or self.held_back_since or self.deleted_at)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A row that gets the values of a check-in."""

    row: int
    checkin: Checkin


@dataclass(frozen=True, slots=True)
class Twin:
    """A row without an id that is the same check-in as another row, and goes into it."""

    row: int
    kept: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What a page means for the table."""

    add: tuple[Checkin, ...] = ()
    adopt: tuple[Rewrite, ...] = ()
    change: tuple[Rewrite, ...] = ()
    merge: tuple[Twin, ...] = ()
    restore: tuple[Stored, ...] = ()
    """Unchanged rows that counted as gone, or as perhaps gone, and are shown again."""
    unchanged: int = 0

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """Rows to be written over: adopted ones and changed ones."""
        return self.adopt + self.change

    @property
    def returned(self) -> int:
        """Check-ins that were gone and are there again."""
        return sum(row.deleted_at is not None for row in self.restore)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What is stored inside a stretch of the list that shows everything, and was not shown."""

    rows: tuple[Stored, ...] = ()
    expected: int = 0
    """Check-ins that are stored inside, shown or not; gone ones left out."""
    sure: frozenset[int] = frozenset()
    """Those of the rows that would have to stand inside whatever the list's order is."""


@dataclass(frozen=True, slots=True)
class RecentDeletions:
    """How much of a user's history is going, in check-ins."""

    stored: int
    """All that are not gone, and those that went within the time that counts."""
    lately: int
    """Of these, gone within that time, or missing now."""


@dataclass(frozen=True, slots=True)
class DeletionMarks:
    """The marks of check-ins that were not shown, by row."""

    missing: tuple[int, ...] = ()
    """Not shown for the first time."""
    again: tuple[int, ...] = ()
    """Not shown again, long enough after the first time."""
    held_back: tuple[int, ...] = ()
    """Too many at once to be believed of a list alone; whatever else they are."""
    released: tuple[int, ...] = ()
    """Held back until now, and few enough."""


@dataclass(frozen=True, slots=True)
class Former:
    """A row before it is written over."""

    row: int
    venue_id: str | None
    venue_name: str
    raw: str | None
    """The item as it was received; None: the application stored it."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What of a check-in was edited at Foursquare."""

    row: int
    what: tuple[str, ...]
    """Of `shout`, `time`, `photos`, `private`, `venue`, `kind`."""
    before: dict[str, Any]
    after: dict[str, Any]
    """The values of each part, fit for JSON."""


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
