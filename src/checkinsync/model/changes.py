"""Changes to the table: rows as they are stored, and what a page changes about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that a command that only counts check-ins loads none of them
    from checkinsync.model.checkin import Checkin


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `checkins`: the columns that decisions need."""

    row: int
    foursquare_id: str | None
    fingerprint: bytes | None
    venue_id: str | None
    checkin_date: datetime
    """Aware, UTC."""
    missing_since: datetime | None = None
    """First time that Foursquare did not show it where it should be."""
    held_back_since: datetime | None = None
    """First time that it was missing with too many others to believe the list alone."""
    deleted_at: datetime | None = None

    @property
    def second(self) -> datetime:
        """The check-in's `createdAt`; the microseconds only distinguish rows."""
        return self.checkin_date.replace(microsecond=0)

    @property
    def doubted(self) -> bool:
        """Return True if it is marked as missing, held back or deleted."""
        return bool(self.missing_since or self.held_back_since or self.deleted_at)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A row to be overwritten with the values of a check-in."""

    row: int
    checkin: Checkin


@dataclass(frozen=True, slots=True)
class Twin:
    """A row without an id that is the same check-in as another row, and is merged into it."""

    row: int
    kept: int


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that a page makes to the table."""

    add: tuple[Checkin, ...] = ()
    adopt: tuple[Rewrite, ...] = ()
    change: tuple[Rewrite, ...] = ()
    merge: tuple[Twin, ...] = ()
    restore: tuple[Stored, ...] = ()
    """Unchanged rows that were marked as missing, held back or deleted, and are shown again."""
    unchanged: int = 0

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """Rows to be overwritten: adopted and changed ones."""
        return self.adopt + self.change

    @property
    def writes(self) -> bool:
        """Return True unless all is stored as it is shown."""
        return bool(self.add or self.rewrites or self.merge or self.restore)

    @property
    def returned(self) -> int:
        """Number of check-ins that counted as deleted and are shown again."""
        return sum(row.deleted_at is not None for row in self.restore)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Stored check-ins inside a span that were not shown."""

    rows: tuple[Stored, ...] = ()
    expected: int = 0
    """Number of check-ins stored inside, shown or not, without deleted ones."""
    sure: frozenset[int] = frozenset()
    """Ids of the rows that would have to be inside under either order of the list."""


@dataclass(frozen=True, slots=True)
class RecentDeletions:
    """The part of a user's history that was deleted or missing lately, in check-ins."""

    stored: int
    """All that are not deleted, and those deleted within the time that counts."""
    lately: int
    """Of these, deleted within that time or missing now."""


@dataclass(frozen=True, slots=True)
class DeletionMarks:
    """Marks for check-ins that were not shown, by row."""

    missing: tuple[int, ...] = ()
    """Not shown for the first time."""
    again: tuple[int, ...] = ()
    """Not shown for the second time, long enough after the first."""
    held_back: tuple[int, ...] = ()
    """Too many at once to believe the list alone; in addition to the other marks."""
    released: tuple[int, ...] = ()
    """Held back until now, and few enough again."""


@dataclass(frozen=True, slots=True)
class Former:
    """A row before it is overwritten."""

    row: int
    venue_id: str | None
    venue_name: str
    raw: str | None
    """The item as received; None: stored by the application."""


@dataclass(frozen=True, slots=True)
class Revision:
    """An edit of a check-in at Foursquare."""

    row: int
    what: tuple[str, ...]
    """Of `shout`, `time`, `photos`, `private`, `visibility`, `venue`, `kind`; and of Foursquare's
    names for parts without a column: `with`, `event`, `sticker`, …"""
    before: dict[str, Any]
    after: dict[str, Any]
    """The values of each of these parts, JSON-serialisable."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The changes made to the table, in check-ins."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    gone: int = 0
    newly_quarantined: int = 0
    """Of `quarantined`: not known before, or known with another content or problem."""

    def __add__(self, other: Saved) -> Saved:
        """Return the sum of two pages' changes."""
        return Saved(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.quarantined + other.quarantined,
            self.gone + other.gone,
            self.newly_quarantined + other.newly_quarantined,
        )
