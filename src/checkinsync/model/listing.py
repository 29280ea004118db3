"""A user's list at Foursquare: the page asked for, the page answered, and where a walk resumes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.checkin import Item

PAGE = 250
"""Items asked for at once: the API's largest `limit` (documented)."""


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
class Checkpoint:
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
