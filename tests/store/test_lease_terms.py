"""The terms of leases: to the microsecond by the database's clock, and by the owner's process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from checkinsync.errors import LeaseLost
from checkinsync.store import lease_owner, leases
from checkinsync.store.leases import Lease

ADA = 7
ELSEWHERE = "elsewhere 1 1"


@pytest.fixture
def moment(conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A transaction: its `now()` stands still, so that an expiry is exact."""
    with conn.transaction():
        yield conn


def hold(conn: psycopg.Connection, owner: str, *, left: str = "90 s", user: int = ADA) -> int:
    """Give a lease to an owner; return its token."""
    row = conn.execute(
        """
        INSERT INTO import_leases
        VALUES (%s, %s, nextval('import_lease_tokens'), now() + %s::interval) RETURNING token
        """,
        [user, owner, left],
    ).fetchone()
    assert row is not None
    return row[0]


def left(conn: psycopg.Connection) -> list[float]:
    """Return the seconds until each lease expires."""
    rows = conn.execute("SELECT extract(epoch FROM expires_at - now()) FROM import_leases")
    return [float(seconds) for (seconds,) in rows]


@pytest.mark.parametrize(
    ("remaining", "taken"), [("1 microsecond", False), ("29 s", False), ("-1 microsecond", True)]
)
def test_a_lease_can_be_taken_when_it_has_expired_and_no_earlier(moment, remaining, taken):
    token = hold(moment, ELSEWHERE, left=remaining)

    lease = leases.acquire(moment, ADA, alive=())

    assert (lease is not None) == taken
    assert lease is None or lease.token > token


@pytest.mark.parametrize(
    ("remaining", "held"), [("1 microsecond", {ADA}), ("29 s", {ADA}), ("-1 microsecond", set())]
)
def test_a_user_is_being_imported_until_the_lease_expires(moment, remaining, held):
    hold(moment, ELSEWHERE, left=remaining)

    assert leases.held_users(moment) == held


def test_the_run_s_own_lease_holds_no_user(moment):
    hold(moment, ELSEWHERE, user=leases.RUN)

    assert leases.held_users(moment) == set()


def test_a_living_import_of_this_process_keeps_its_lease(moment):
    token = hold(moment, str(lease_owner.me()))

    assert leases.acquire(moment, ADA, alive={token}) is None


def test_a_lease_that_an_earlier_import_of_this_process_left_behind_is_taken(moment):
    token = hold(moment, str(lease_owner.me()))

    assert leases.acquire(moment, ADA, alive={token - 1}) is not None


def test_a_living_process_of_this_host_keeps_its_lease(moment, other_process):
    hold(moment, other_process.owner)

    assert leases.acquire(moment, ADA, alive=()) is None
    assert leases.held_users(moment) == {ADA}


def test_a_zombie_s_lease_is_taken_at_once(moment, other_process):
    hold(moment, other_process.owner)
    other_process.die()

    assert leases.held_users(moment) == set()
    assert leases.acquire(moment, ADA, alive=()) is not None


def test_a_lease_lasts_for_90_s_from_each_time_it_is_asked_for(moment):
    lease = leases.acquire(moment, ADA, alive=())
    assert lease is not None
    for ask in (leases.ensure_held, lambda conn, lease: leases.renew(conn, [lease])):
        assert left(moment) == [90]
        moment.execute("UPDATE import_leases SET expires_at = now() - interval '1 s'")
        ask(moment, lease)
    assert left(moment) == [90]


def test_a_lease_that_was_given_back_stays_free(moment):
    """A renewal that began before would keep the user's next import away."""
    lease = leases.acquire(moment, ADA, alive=())
    assert lease is not None
    leases.release(moment, lease)

    leases.renew(moment, [lease])

    assert leases.held_users(moment) == set()
    assert left(moment) == [float("-inf")]


def test_another_one_s_lease_is_neither_held_nor_renewed_nor_given_back(moment):
    token = hold(moment, ELSEWHERE, left="5 s")
    lost = Lease(ADA, token - 1)

    leases.renew(moment, [lost])
    leases.release(moment, lost)

    assert left(moment) == [5]
    with pytest.raises(LeaseLost):
        leases.ensure_held(moment, lost)


def test_a_lease_whose_row_a_page_holds_is_neither_taken_nor_waited_for(moment, db):
    with psycopg.connect(db) as other:
        other.execute("SET lock_timeout = '10ms'")
        token = hold(other, ELSEWHERE, left="-1 s")
        other.commit()
        moment.execute("SELECT FROM import_leases FOR UPDATE")

        assert leases.acquire(other, ADA, alive=()) is None
        leases.renew(other, [Lease(ADA, token)])


TELL = "from checkinsync.store import lease_owner; print(lease_owner.me(), flush=True); input()"


class OtherProcess:
    """A process of this host, and the name under which it would own a lease."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", TELL]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.popen.stdout is not None
        self.owner = self.popen.stdout.readline().decode().strip()

    def die(self) -> None:
        """Become a zombie: dead, and not yet waited for by its parent."""
        self.popen.kill()
        os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        self.popen.kill()
        self.popen.communicate()


@pytest.fixture
def other_process() -> Iterator[OtherProcess]:
    process = OtherProcess()
    yield process
    process.end()
