"""Deletes records that nothing rests on any more: old runs, imports that ended long ago.

What proves that a history is complete stays, whatever its age: check-ins (those deleted at
Foursquare, too), their revisions, `verified_spans` and `sync_state`. So do each user's last
imports, the rows of the application, and items in quarantine, which are stored nowhere else,
unless an operator gives an age for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from checkinsync.nightly import queries
from checkinsync.store import jobs, quarantine
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.verify import queries as verifications

BATCH = 1000
"""Rows deleted in one transaction."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old a record has to be to be deleted."""

    runs: timedelta = timedelta(days=400)
    """Since the run began: a year of reports, and a month."""
    jobs: timedelta = timedelta(days=90)
    """Since the import ended."""
    verifications: timedelta = verifications.KEPT
    """Since an interrupted verification began: it is not resumed any more."""
    quarantine: timedelta | None = None
    """Since an item was first met; None: it is kept. An import removes it once it can be stored."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of rows deleted."""

    runs: int
    jobs: int
    quarantine: int
    verifications: int

    def __bool__(self) -> bool:
        """Return True if anything was deleted."""
        return any(asdict(self).values())


Delete = Callable[[Connection], int]


def prune(*, pool: Pool, now: datetime, ages: Ages, batch: int = BATCH) -> Pruned:
    """Delete what is older than `ages`, batch by batch; if interrupted, the next time goes on.

    Raises DatabaseError and its kinds.
    """

    def all_of(delete: Delete) -> int:
        total = 0
        while True:
            with transaction(pool) as conn:
                count = delete(conn)
            total += count
            if count < batch:
                return total

    kept = ages.quarantine
    return Pruned(
        all_of(lambda conn: queries.prune(conn, before=now - ages.runs, most=batch)),
        all_of(lambda conn: jobs.prune(conn, before=now - ages.jobs, most=batch)),
        0
        if kept is None
        else all_of(lambda conn: quarantine.forget(conn, before=now - kept, most=batch)),
        all_of(lambda conn: verifications.forget(conn, before=now - ages.verifications)),
    )
