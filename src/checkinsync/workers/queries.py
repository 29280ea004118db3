"""Procrastinate's own statements, and the schema that they and shared runs have to themselves.

Our statements name the schema; Procrastinate's name none, and find it by the search_path of their
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from checkinsync.errors import MigrationFailed
from checkinsync.store.pool import Connection

# --- Procrastinate's statements -------------------------------------------------------------------


def use(conn: Connection) -> None:
    """Let names mean the tables of this schema, until the transaction ends."""
    conn.execute("SET LOCAL search_path = checkinsync_queue, pg_temp")


def answer(
    conn: Connection, query: LiteralString, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run one of Procrastinate's statements and return its rows."""
    use(conn)
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, {name: _wrapped(value) for name, value in values.items()})
        return cursor.fetchall() if cursor.description else []


def _wrapped(value: Any) -> Any:
    match value:
        case dict():
            return Jsonb(value)
        case list():
            return [_wrapped(each) for each in value]
        case tuple():
            return tuple(_wrapped(each) for each in value)
    return value


def forget_jobs(conn: Connection, *, besides: int | None = None) -> None:
    """Delete the jobs that no worker has begun, of all runs but this one; from then on names in
    the transaction mean the queue's tables."""
    use(conn)
    conn.execute(
        """
        DELETE FROM procrastinate_jobs
         WHERE status <> 'doing' AND (args ->> 'run')::bigint IS DISTINCT FROM %(run)s::bigint
        """,
        {"run": besides},
    )


def count_jobs(conn: Connection) -> int:
    """Count the jobs in the queue, those at work among them."""
    row = conn.execute("SELECT count(*) FROM checkinsync_queue.procrastinate_jobs").fetchone()
    return 0 if row is None else row[0]


# --- the schema -----------------------------------------------------------------------------------


def version(conn: Connection) -> str | None:
    """Return the last of Procrastinate's migrations that was applied; None without the schema."""
    row = conn.execute(
        """
        SELECT coalesce(obj_description(oid, 'pg_namespace'), '')
          FROM pg_namespace WHERE nspname = 'checkinsync_queue'
        """
    ).fetchone()
    return None if row is None else row[0]


def create_schema(conn: Connection) -> None:
    """Create the schema, and the tables of shared runs."""
    conn.execute(
        """
        CREATE SCHEMA checkinsync_queue;

        CREATE TABLE checkinsync_queue.runs (
            run_id        BIGINT PRIMARY KEY,              -- sync_runs.id
            started_at    TIMESTAMPTZ NOT NULL,
            lease_token   BIGINT NOT NULL,
            rid           TEXT NOT NULL,                   -- of its pings
            queued_at     TIMESTAMPTZ,                     -- the last first start in the queue
            queued_place  BIGINT,
            options       JSONB NOT NULL,
            circumstances JSONB NOT NULL,                  -- of the database, at the start
            outages       JSONB NOT NULL,
            stop          JSONB,                           -- the error that ended it early
            requests      BIGINT NOT NULL DEFAULT 0,
            closing_until TIMESTAMPTZ,                     -- a worker is closing it
            closed_at     TIMESTAMPTZ
        );

        CREATE TABLE checkinsync_queue.users (
            run_id       BIGINT NOT NULL REFERENCES checkinsync_queue.runs ON DELETE CASCADE,
            user_id      BIGINT NOT NULL,
            place        BIGINT NOT NULL,                  -- in the plan
            token_sha256 BYTEA NOT NULL,                   -- of the stored token, encrypted
            due_at       TIMESTAMPTZ,                      -- of the next attempt; NULL: in doubt
            turn         INTEGER NOT NULL DEFAULT 1,       -- a job of another turn is outdated
            attempt      INTEGER NOT NULL DEFAULT 1,
            running      BOOLEAN NOT NULL DEFAULT false,
            doubted      BOOLEAN NOT NULL DEFAULT false,   -- the token: asked again at last
            look_back    BOOLEAN NOT NULL DEFAULT false,   -- a slice is read however full the night
            saved        JSONB,
            outcome      JSONB,                            -- NULL: not done yet
            PRIMARY KEY (run_id, user_id)
        );
        CREATE INDEX users_left ON checkinsync_queue.users (run_id, due_at, place)
            WHERE outcome IS NULL;
        """
    )


def run_sql(conn: Connection, text: bytes, *, applied: str) -> None:
    """Run a file of Procrastinate's, and record it. Raises MigrationFailed."""
    use(conn)
    try:
        conn.execute(text)
    except psycopg.Error as error:
        problem = error.diag.message_primary or type(error).__name__
        raise MigrationFailed(f"Procrastinate's {applied}: {problem}") from None
    conn.execute("SELECT set_config('checkinsync.applied', %(name)s, true)", {"name": applied})
    conn.execute(
        """
        DO $$ BEGIN
            EXECUTE format('COMMENT ON SCHEMA checkinsync_queue IS %L',
                           current_setting('checkinsync.applied'));
        END $$
        """
    )
