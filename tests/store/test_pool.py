"""The pool's transactions: the errors that mean that the database is away."""

from __future__ import annotations

import os
import signal

import psycopg
import pytest

from checkinsync.errors import DatabaseAway, Interrupted
from checkinsync.store.pool import Pool, open_pool, transaction


def test_a_session_that_ended_while_this_process_was_stopped_is_an_outage_not_a_bug(pool, conn):
    with pytest.raises(DatabaseAway):
        sleep_in_a_transaction(pool, conn)

    with transaction(pool) as own:
        assert own.execute("SELECT 1").fetchone() == (1,)


def sleep_in_a_transaction(pool: Pool, conn: psycopg.Connection) -> None:
    """Stay in a transaction until the server has ended the session, as seen through `conn`."""
    with transaction(pool) as own:
        own.execute("SELECT set_config('idle_in_transaction_session_timeout', '20ms', true)")
        session = [own.info.backend_pid]
        while conn.execute("SELECT FROM pg_stat_activity WHERE pid = %s", session).fetchall():
            pass
        own.execute("SELECT 1")


def begin_until_a_signal_comes(pool: Pool) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with transaction(pool):
        pass


def interrupt(*_: object) -> None:
    raise Interrupted("asked to stop", exit_code=130)


def test_a_signal_that_comes_while_the_server_does_not_answer_is_not_lost(pool):
    with transaction(pool) as own:
        server = own.info.backend_pid
    before = signal.signal(signal.SIGALRM, interrupt)
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(Interrupted):
            begin_until_a_signal_comes(pool)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.kill(server, signal.SIGCONT)

    with transaction(pool) as own:
        assert own.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(("named", "expected"), [("", "30000"), ("&tcp_user_timeout=2000", "2000")])
def test_a_connection_without_an_answer_ends_after_half_a_minute_or_as_the_address_says(
    db, named, expected
):
    pool = open_pool(f"{db}{named}", size=1)
    try:
        with pool.connection() as conn:
            found = conn.info.get_parameters()
    finally:
        pool.close()

    assert found["tcp_user_timeout"] == expected
    assert (found["keepalives_idle"], found["keepalives_count"]) == ("15", "3")
