"""Rows of `import_jobs`: which ones are closed, and which are left alone."""

from __future__ import annotations

import psycopg

from checkinsync.store import jobs
from checkinsync.store.leases import Lease
from support.environment import add_users


def test_only_what_a_crash_left_open_is_closed(conn: psycopg.Connection) -> None:
    """The application may begin an import after we have checked that it runs none."""
    [user] = add_users(conn, 1)
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, lease_token, created_at, started_at)
        SELECT %s, status, source, lease, at, CASE WHEN status = 'running' THEN at END
          FROM (SELECT now() AT TIME ZONE 'UTC' - age, status, source, lease
                  FROM (VALUES (interval '0', 'pending', 'foursquare', NULL::bigint),
                               ('59 minutes', 'running', NULL, NULL),
                               ('61 minutes', 'running', NULL, NULL),
                               ('61 minutes', 'pending', 'foursquare', NULL),
                               ('61 minutes', 'running', 'strava', NULL),
                               ('1 second', 'running', 'foursquare', 7))
                    AS t (age, status, source, lease)) AS t (at, status, source, lease)
        """,
        [user],
    )

    started = jobs.start(conn, [Lease(user, 8)])

    stand = [row[0] for row in conn.execute("SELECT status FROM import_jobs ORDER BY id")]
    assert stand == ["pending", "running", "failed", "failed", "running", "failed", "running"]
    assert started == {user: 7}
