"""The scope of an import: the nightly window, the whole history, or back to a day; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.listing import Checkpoint, Window

RESUMED_OVERLAP = timedelta(days=14)
"""The part of the top that a resumed `--full` reads again, for what was entered late meanwhile."""

STALE_AFTER = timedelta(hours=20)
"""A walk resumed in another night reads again what it has read: more than a fortnight may lie
between the two, and what was entered late meanwhile may stand anywhere."""

CLOCK_TOLERANCE = timedelta(hours=1)
"""An instant further in the future was written by a wrong clock, and says nothing."""

STALE_MOST = 25_000
"""Items up to which that is done (about 100 requests of an hour's 500): a longer history would
come to no end. What came late into its upper part is found by the slices of the nights after."""


@dataclass(frozen=True, slots=True)
class Nightly:
    """Far enough back to see late and edited check-ins; an unfinished walk goes on."""

    overlap: timedelta


@dataclass(frozen=True, slots=True)
class Full:
    """The whole history."""


@dataclass(frozen=True, slots=True)
class Since:
    """Back to `start`; cursor and checkpoint stay as they are."""

    start: datetime


Scope = Nightly | Full | Since


def begin(
    scope: Scope, *, cursor: datetime | None, checkpoint: Checkpoint | None, now: datetime
) -> tuple[Window, Checkpoint | None]:
    """Return the window; with a checkpoint, the top that an unfinished walk has to read again.

    `cursor`, `checkpoint`: of the user's last finished and of an unfinished walk.
    """
    latest = now + CLOCK_TOLERANCE
    if cursor is not None and cursor > latest:
        cursor = None
    if checkpoint is not None and checkpoint.started_at > latest:
        checkpoint = None
    match scope:
        case Since(start):
            return Window(start), None
        case Full():
            unfinished = checkpoint if checkpoint and checkpoint.since is None else None
            return _top(unfinished, RESUMED_OVERLAP, now) or Window(None), unfinished
        case Nightly(overlap):
            return _top(checkpoint, overlap, now) or Window.after(
                cursor, overlap=overlap
            ), checkpoint


def _top(checkpoint: Checkpoint | None, overlap: timedelta, now: datetime) -> Window | None:
    """Return what an unfinished walk has to read again before it goes on; None without one."""
    if checkpoint is None:
        return None
    if now - checkpoint.started_at > STALE_AFTER and checkpoint.offset <= STALE_MOST:
        return Window(checkpoint.since)
    return Window.after(checkpoint.started_at, overlap=overlap)
