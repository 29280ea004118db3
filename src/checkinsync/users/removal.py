"""Removes a user and everything of theirs, batch by batch."""

from __future__ import annotations

from datetime import datetime

from checkinsync.errors import AtWork
from checkinsync.model.user import User
from checkinsync.store import jobs, leases
from checkinsync.store.pool import Pool, transaction
from checkinsync.users import removal_queries

BATCH = 1000
"""Rows removed in one transaction: some tenths of a second, in which nothing else waits."""


def remove(user: User, *, pool: Pool, now: datetime, batch: int = BATCH) -> dict[str, int]:
    """The user and everything of his, batch by batch; returns what went, in numbers.

    Cut off anywhere, he stays paused and without a token, and the next removal ends it. Raises
    AtWork, LeaseLost, UserFailed, DatabaseAway.
    """
    with removal_queries.explained(user), transaction(pool) as conn:
        lease = leases.acquire(conn, user.id, alive=())
        if lease is None or jobs.application_at_work(conn, user.id):
            raise AtWork(f"{user} is being imported now; try again when that has ended")
        removal_queries.begin(conn, user.id, at=now)
    gone = dict.fromkeys(removal_queries.PARTS, 0)
    for kind, part in removal_queries.PARTS.items():
        went = batch
        while went == batch:
            with removal_queries.explained(user), transaction(pool) as conn:
                leases.ensure_held(conn, lease)
                went = part(conn, user.id, batch)
            gone[kind] += went
    with removal_queries.explained(user), transaction(pool) as conn:
        leases.ensure_held(conn, lease)
        removal_queries.finish(conn, user.id)
    return gone
