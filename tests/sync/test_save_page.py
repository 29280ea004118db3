"""A page into the tables: what it costs while the planner knows nothing of them yet."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from checkinsync.sync.save_page import save_page
from support.environment import add_users
from support.factories import NOW, history

PAGE = 100


def add_long_history(conn: psycopg.Connection, user: int) -> None:
    """20,000 check-ins, all younger than NOW."""
    conn.execute(
        """
        INSERT INTO checkins (user_id, foursquare_id, venue_name, checkin_date, fingerprint, raw)
        SELECT %(user)s, to_hex(1800000000 + n * 3600) || lpad(to_hex(n), 16, '0'), 'Somewhere',
               to_timestamp(1800000000 + n * 3600) AT TIME ZONE 'UTC', '', '{}'
          FROM generate_series(1, 20000) AS n
        """,
        {"user": user},
    )


def rows_read(conn: psycopg.Connection) -> int:
    """Rows of `checkins` fetched so far, by an index or by reading the table."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    row = conn.execute(
        """
        SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'checkins'
        """
    ).fetchone()
    assert row is not None
    return row[0]


def test_a_page_costs_no_more_after_a_long_history(conn: psycopg.Connection) -> None:
    [user] = add_users(conn, 1)
    add_long_history(conn, user)
    page = history(PAGE, newest=NOW - timedelta(days=1))
    before = rows_read(conn)

    save_page(conn, user, page, now=NOW)
    new = rows_read(conn) - before
    save_page(conn, user, page, now=NOW)
    unchanged = rows_read(conn) - before - new

    assert new <= 2 * PAGE
    assert unchanged <= 2 * PAGE
