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

ALL = 2**31 - 1
"""Rows at most, where there is no batch."""


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

    return Pruned(*map(all_of, _deletions(now, ages, most=batch)))


def preview(*, pool: Pool, now: datetime, ages: Ages) -> Pruned:
    """Return what `prune` would delete: all of it is deleted, and that is taken back.

    Raises DatabaseError and its kinds.
    """
    with transaction(pool) as conn:
        found = Pruned(*(delete(conn) for delete in _deletions(now, ages, most=ALL)))
        conn.rollback()
    return found


def _deletions(now: datetime, ages: Ages, *, most: int) -> tuple[Delete, ...]:
    """Return what deletes up to `most` rows each, in the order of `Pruned`."""
    kept = ages.quarantine
    return (
        lambda conn: queries.prune(conn, before=now - ages.runs, most=most),
        lambda conn: jobs.prune(conn, before=now - ages.jobs, most=most),
        lambda conn: 0 if kept is None else quarantine.forget(conn, before=now - kept, most=most),
        lambda conn: verifications.forget(conn, before=now - ages.verifications),
    )
