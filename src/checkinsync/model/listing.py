"""A user's list at Foursquare: a page requested, a page received, and where a walk resumes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.checkin import Item

PAGE = 250
"""Items requested at once: the API's largest `limit` (documented)."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for a page: `limit` items from `offset` on."""

    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the API: the items from `offset` on, in the order received."""

    offset: int
    limit: int
    """As requested; the server may return fewer items anywhere in the list."""
    items: tuple[Item, ...]
    total: int | None
    """`count`, the user's total as Foursquare reports it; never a reason to stop."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time asked about; it decides where a walk ends, never what is stored."""

    start: datetime | None
    """None: everything."""

    @classmethod
    def after(cls, cursor: datetime | None, *, overlap: timedelta) -> Window:
        """Return the time since the cursor less the overlap; everything if no walk has finished."""
        return cls(None if cursor is None else cursor - overlap)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The position of an unfinished walk, from which the next attempt resumes."""

    started_at: datetime
    """Start of the walk's first attempt: the cursor once the walk has finished."""
    since: datetime | None
    """Start of the walk's window; None: everything."""
    offset: int
    """Number of items read."""
    tail: tuple[str, ...]
    """Keys of the last items read, in list order."""
    down_to: datetime | None
    """`createdAt` of the last item read."""
