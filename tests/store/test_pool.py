"""The pool's transactions: the errors that mean that the database is away."""

from __future__ import annotations

import psycopg
import pytest

from checkinsync.errors import DatabaseAway
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
