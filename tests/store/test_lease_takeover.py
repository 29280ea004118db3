"""A lease is taken over when its time is over or its owner is dead, and never before."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from checkinsync.errors import LeaseLost
from checkinsync.store import jobs, leases
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Pool, transaction
from support.environment import add_users

ADA = 7

ACQUIRE = """
import sys
from checkinsync.store import jobs, leases
from checkinsync.store.pool import open_pool, transaction

with transaction(open_pool(sys.argv[1], size=1)) as conn:
    leases.acquire(conn, 7, alive=())
print("acquired", flush=True)
input()
"""


def acquire(pool: Pool) -> Lease | None:
    with transaction(pool) as conn:
        return leases.acquire(conn, ADA, alive=())


@contextmanager
def another_owner(url: str) -> Iterator[subprocess.Popen[str]]:
    """A living process that has acquired the lease, and does not renew it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", ACQUIRE, url], text=True, **pipes) as process:
        assert process.stdout.readline() == "acquired\n"
        yield process
        process.kill()


def test_the_lease_of_a_living_process_is_not_taken_over(db, pool):
    with another_owner(db):
        assert acquire(pool) is None


def test_that_of_a_dead_one_is_taken_over_at_once(db, pool):
    with another_owner(db) as process:
        process.kill()
        process.wait()

        assert acquire(pool) is not None


@pytest.mark.parametrize("ahead", ["1 second", "9 minutes"])
def test_one_that_nothing_is_known_about_is_held_until_its_time_is_over(conn, pool, ahead):
    insert(conn, ahead)

    assert acquire(pool) is None
    with transaction(pool) as reading:
        assert leases.held_users(reading) == {ADA}
    conn.execute("UPDATE import_leases SET expires_at = now() - interval '1 second'")
    assert acquire(pool) is not None


@pytest.mark.parametrize("ahead", ["11 minutes", "3 years", "infinity"])
def test_one_that_a_wrong_clock_wrote_blocks_nobody_and_fences_off_its_owner(conn, pool, ahead):
    old = insert(conn, ahead)

    with transaction(pool) as reading:
        assert leases.held_users(reading) == set()
    new = acquire(pool)

    assert new is not None
    assert new.token > old.token
    with pytest.raises(LeaseLost), transaction(pool) as late:
        leases.ensure_held(late, old)


def test_one_that_a_wrong_clock_wrote_is_not_shown_as_an_import_at_work(conn, pool):
    [user] = add_users(conn, 1)
    conn.execute(
        """
        WITH lease AS (INSERT INTO import_leases (user_id, owner, token, expires_at)
                       VALUES (%(user)s, 'elsewhere/0/0 1 1', 5, now() + '1 minute'))
        INSERT INTO import_jobs (user_id, status, lease_token) VALUES (%(user)s, 'running', 5)
        """,
        {"user": user},
    )
    assert at_work(conn, pool) == (True, 1)

    conn.execute("UPDATE import_leases SET expires_at = now() + '1 year'")

    assert at_work(conn, pool) == (False, 0)


def at_work(conn: psycopg.Connection, pool: Pool) -> tuple[bool, int]:
    """As `status` tells it: whether the only user is imported now, and how many imports run."""
    [importing] = conn.execute("SELECT importing FROM sync_status(now(), 30)").fetchone()
    with transaction(pool) as reading:
        return importing, len(jobs.running(reading))


def test_one_that_a_wrong_clock_wrote_and_its_owner_has_renewed_is_held(conn, pool):
    old = insert(conn, "3 years")
    with transaction(pool) as renewing:
        leases.renew(renewing, [old])

    assert acquire(pool) is None


def insert(conn: psycopg.Connection, ahead: str) -> Lease:
    """A lease of a process of another host."""
    row = conn.execute(
        """
        INSERT INTO import_leases (user_id, owner, token, expires_at)
        VALUES (%s, 'elsewhere/0/0 1 1', nextval('import_lease_tokens'),
                CASE WHEN %s = 'infinity' THEN 'infinity'::timestamptz
                     ELSE now() + nullif(%s, 'infinity')::interval END)
        RETURNING token
        """,
        [ADA, ahead, ahead],
    ).fetchone()
    assert row is not None
    return Lease(ADA, row[0])


@pytest.mark.ninety_seconds
def test_that_of_a_process_that_can_not_be_seen_is_taken_over_after_ninety_seconds(db, conn, pool):
    """The only test that waits for it: its owner lives, by its lease on another host."""
    with another_owner(db):
        conn.execute("UPDATE import_leases SET owner = 'elsewhere/' || owner")
        [expires_at] = conn.execute("SELECT expires_at FROM import_leases").fetchone()

        while (lease := acquire(pool)) is None:
            time.sleep(0.5)

    assert lease.user_id == ADA
    [taken_at] = conn.execute("SELECT expires_at - interval '90 s' FROM import_leases").fetchone()
    assert taken_at >= expires_at
