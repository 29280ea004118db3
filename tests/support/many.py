"""A database of many users and nights, made by the database itself."""

from __future__ import annotations

from datetime import datetime

import psycopg

USERS = """
INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token,
                   last_login_at, created_at)
SELECT 'f' || n, (ARRAY['Ada', 'Ben', 'Chloé', 'Hiro'])[1 + n %% 4] || ' ' || n,
       CASE WHEN n %% 50 = 3 THEN NULL ELSE 'x' END, 's' || n,
       %(at)s::timestamptz AT TIME ZONE 'UTC'
           - CASE WHEN n %% 20 = 7 THEN interval '90 days' ELSE interval '2 days' END,
       %(at)s::timestamptz AT TIME ZONE 'UTC' - interval '400 days'
  FROM generate_series(1, %(users)s) AS n
"""
STATES = """
INSERT INTO sync_state (user_id, state, reason, consecutive_failures, last_checked_at, paused_at)
SELECT id, CASE WHEN id %% 40 = 9 THEN 'failing' ELSE 'ok' END,
       CASE WHEN id %% 40 = 9 THEN 'the list shifted under the walk too often' END,
       CASE WHEN id %% 40 = 9 THEN 4 ELSE 0 END,
       %(at)s::timestamptz - CASE WHEN id %% 30 = 4 THEN interval '3 days'
                                  ELSE interval '9 hours' END - id * interval '7 seconds',
       CASE WHEN id %% 60 = 11 THEN %(at)s::timestamptz END
  FROM users
"""
SPANS = """
INSERT INTO verified_spans (user_id, newest, oldest, verified_at)
SELECT id, %(at)s, NULL, %(at)s::timestamptz - (id * 37 %% 33) * interval '1 day' FROM users
"""
RUNS = """
INSERT INTO sync_runs (started_at, finished_at, host, due, synced, failed, skipped, requests, new,
                       changed, gone, outcome)
SELECT at, at + interval '4 hours' + (n * 7 %% 50) * interval '1 minute', 'web1',
       %(users)s * 9 / 10, %(users)s * 9 / 10 - failed - untried, failed,
       %(users)s / 10 + untried, %(users)s * 3 + n * 37 %% 500, %(users)s * (6 + n * 5 %% 7) / 9,
       n %% 9, n %% 3,
       CASE WHEN untried > 0 THEN 'away' WHEN failed > 0 THEN 'partial' ELSE 'ok' END
  FROM (SELECT n, %(at)s::timestamptz - n * interval '1 day' - interval '7 hours' AS at,
               n * 11 %% 7 * %(users)s / 100 AS failed,
               CASE WHEN n %% 17 = 5 THEN %(users)s / 3 ELSE 0 END AS untried
          FROM generate_series(%(nights)s - 1, 0, -1) AS n WHERE n %% 23 <> 8) AS night
"""
JOBS = """
INSERT INTO import_jobs (user_id, status, started_at, completed_at, requests)
SELECT 1 + n %% %(users)s, 'completed', started_at AT TIME ZONE 'UTC',
       finished_at AT TIME ZONE 'UTC', 3 + (id * 31 + n * 97) %% 480
  FROM sync_runs CROSS JOIN generate_series(1, 3) AS n
"""


def fill(conn: psycopg.Connection, *, users: int, nights: int, at: datetime) -> None:
    """Add users in every state, and runs of so many nights."""
    for statement in (USERS, STATES, SPANS, RUNS, JOBS):
        conn.execute(statement, {"users": users, "nights": nights, "at": at})
