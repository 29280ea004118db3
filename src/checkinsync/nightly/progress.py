"""What a run is waiting for, stored now and then for those who watch it; pure but for `Notes`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from checkinsync.errors import DatabaseError
from checkinsync.nightly import queries
from checkinsync.nightly.outages import Outages
from checkinsync.nightly.schedule import Entry, Queue
from checkinsync.store.pool import Pool, transaction

NAMED = 5
"""Users that are named of those who wait."""

EVERY = timedelta(minutes=1)
"""Time between two notes of a run that is busy."""

REST = timedelta(seconds=5)
"""A run that has nothing to do for so long says at once what it is waiting for."""


def progress(
    queue: Queue, outages: Outages, *, until: datetime, reasons: Mapping[int, str]
) -> dict[str, Any]:
    """Return who is next and what is paused, as JSON; `reasons`: why a user is tried again."""
    again = [_entry(entry) | {"reason": reasons.get(entry.user.id)} for entry in queue.again_first]
    return {
        "until": until.isoformat(),
        "waiting": len(queue),
        "next": [_entry(entry) for entry in queue.first(NAMED)],
        "again": again[:NAMED],
        "paused": pause(outages),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {"user_id": entry.user.id, "at": entry.at.isoformat()}


def pause(outages: Outages) -> dict[str, Any] | None:
    """Return which service is away, as JSON."""
    for service, breaker in outages.away:
        since, asked_at = breaker.away_since, breaker.next_probe
        return {
            "service": service,
            "since": since.isoformat() if since else None,
            "asked_at": asked_at.isoformat() if asked_at else None,
        }
    return None


@dataclass(slots=True)
class Notes:
    """Stores the progress of a run, where it has changed and is worth a row's update."""

    pool: Pool
    run_id: int
    said: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None

    def due(self, now: datetime, *, idle_until: datetime) -> bool:
        """Return True if it is worth the while: the run rests, or has not said anything lately."""
        lately = self.at is not None and now - self.at < EVERY
        return not lately or idle_until - now >= REST

    def note(self, progress: dict[str, Any], *, now: datetime) -> None:
        """Store it. A database that refuses is left alone: the run does not rest on it."""
        if progress != self.said:
            with suppress(DatabaseError), transaction(self.pool) as conn:
                queries.set_progress(conn, self.run_id, progress)
        self.said, self.at = progress, now
