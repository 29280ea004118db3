"""Removes a user and everything of theirs, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from checkinsync.errors import AtWork
from checkinsync.model.user import User
from checkinsync.store import jobs, leases
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.users import queries

BATCH = 1000
"""Rows deleted in one transaction: this takes some tenths of a second."""


def remove(user: User, *, pool: Pool, now: datetime, batch: int = BATCH) -> dict[str, int]:
    """Remove the user and all their rows, batch by batch; returns the number of rows of each kind.

    If interrupted, the user stays paused and without a token, and the next removal completes it.
    Raises AtWork, LeaseLost, UserFailed, DatabaseAway.
    """
    with _transaction(pool, user) as conn:
        lease = leases.acquire(conn, user.id, alive=())
        if lease is None or user.id in jobs.users_of_the_application(conn):
            raise AtWork(f"{user} is being imported now; try again when that has ended")
        queries.begin_removal(conn, user.id, at=now)
    removed = dict.fromkeys(queries.REMOVAL, 0)
    for kind in queries.REMOVAL:
        count = batch
        while count == batch:
            with _transaction(pool, user) as conn:
                leases.ensure_held(conn, lease)
                count = queries.remove_batch(conn, user.id, kind, most=batch)
            removed[kind] += count
    with _transaction(pool, user) as conn:
        leases.ensure_held(conn, lease)
        queries.finish_removal(conn, user.id)
    return removed


@contextmanager
def _transaction(pool: Pool, user: User) -> Iterator[Connection]:
    with transaction(pool) as conn, queries.explained(user):
        yield conn
