"""The cost of leases: one acquired, held and released per import."""

from __future__ import annotations

import psycopg

from bench.measure import Table, Way, in_turns, ms, times
from bench.places import add_user, database, wal_meter
from checkinsync.embedded import Running
from checkinsync.store import leases
from checkinsync.store.pool import Pool, open_pool, transaction

ROUNDS = 200


def lease(running: Running) -> Table:
    """Measure the leases of an import; each page adds one `ensure_held`."""
    url = database(running)
    pool = open_pool(url, size=1)
    try:
        with psycopg.connect(url, autocommit=True) as aside:
            user = add_user(aside, 1)
            taken = in_turns(
                Way("claim, hold and release in one transaction", lambda _: _leased(pool, user)),
                Way("an empty transaction", lambda _: _bare(pool)),
                Way("a transaction that writes one row", lambda _: _writing(pool, user)),
                rounds=ROUNDS,
                meter=wal_meter(aside),
                warm_ups=5,
            )
    finally:
        pool.close()
    baseline = taken[1]
    return Table(
        "A lease",
        "Through the pool, over a Unix socket, synced to disk where something was written. "
        "Baseline: the transaction without it.",
        ("what", "time", "of the baseline", "WAL"),
        [
            (way.name, ms(way.seconds), times(way.seconds, baseline.seconds),
             f"{way.amount:.0f} bytes")
            for way in taken
        ],
    )  # fmt: skip


def _leased(pool: Pool, user: int) -> None:
    with transaction(pool) as conn:
        held = leases.acquire(conn, user, alive=())
        assert held is not None
        leases.ensure_held(conn, held)
        leases.release(conn, held)


def _bare(pool: Pool) -> None:
    with transaction(pool):
        pass


def _writing(pool: Pool, user: int) -> None:
    with transaction(pool) as conn:
        conn.execute("UPDATE users SET display_name = 'somebody' WHERE id = %s", [user])
