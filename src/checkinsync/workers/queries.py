"""The tables of shared runs, and the statements that Procrastinate sends to its own.

All of them are in a schema of their own, named in each statement here; Procrastinate's statements
name none, and find it by the search_path of their transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from checkinsync.errors import MigrationFailed
from checkinsync.store import leases
from checkinsync.store.pool import Connection

SCHEMA = "checkinsync_queue"

LEASE_OWNER = "workers"
"""The owner of a shared run's lease: no process of its own, so that none can be seen to be dead."""


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
            place        INTEGER NOT NULL,                 -- in the plan
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
        CREATE INDEX users_left ON checkinsync_queue.users (run_id, due_at) WHERE outcome IS NULL;
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


# --- a run ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A row of `runs`."""

    run_id: int
    started_at: datetime
    options: Any
    outages: Any
    stop: Any
    requests: int
    closed_at: datetime | None


@dataclass(slots=True)
class StoredUser:
    """A row of `users`, with what the application knows of the user; None if removed since."""

    user_id: int
    place: int
    turn: int
    attempt: int
    running: bool
    doubted: bool
    look_back: bool
    due_at: datetime | None
    saved: Any
    outcome: Any
    foursquare_user_id: str | None = None
    name: str | None = None
    encrypted_token: str | None = field(default=None, repr=False)
    """None as well if it is not the one with which the run began."""


def add_run(
    conn: Connection, run_id: int, *, at: datetime, options: Any, circumstances: Any, outages: Any
) -> None:
    """Insert a run, and let it take over the lease of runs; forget those before it."""
    conn.execute("DELETE FROM checkinsync_queue.runs")
    conn.execute(
        """
        WITH lease AS (
            UPDATE import_leases
               SET owner = %(owner)s, token = nextval('import_lease_tokens'),
                   expires_at = now() + '90 s'
             WHERE user_id = %(lease)s
            RETURNING token)
        INSERT INTO checkinsync_queue.runs
               (run_id, started_at, lease_token, options, circumstances, outages)
        SELECT %(run)s, %(at)s, token, %(options)s, %(circumstances)s, %(outages)s FROM lease
        """,
        {
            "run": run_id,
            "at": at,
            "owner": LEASE_OWNER,
            "lease": leases.RUN,
            "options": Jsonb(options),
            "circumstances": Jsonb(circumstances),
            "outages": Jsonb(outages),
        },
    )


@dataclass(frozen=True, slots=True)
class NewUser:
    """A row of `users` to be inserted."""

    user_id: int
    place: int
    token_sha256: bytes
    due_at: datetime | None
    look_back: bool
    outcome: Any


def add_users(conn: Connection, run_id: int, users: Sequence[NewUser]) -> None:
    """Insert the users of a run: those to be imported, and those whose outcome is known."""
    conn.execute(
        """
        INSERT INTO checkinsync_queue.users
               (run_id, user_id, place, token_sha256, due_at, look_back, outcome)
        SELECT %(run)s, * FROM unnest(%(ids)s::bigint[], %(places)s::int[], %(hashes)s::bytea[],
                                      %(times)s::timestamptz[], %(look_back)s::bool[],
                                      %(outcomes)s::jsonb[])
        """,
        {
            "run": run_id,
            "ids": [user.user_id for user in users],
            "places": [user.place for user in users],
            "hashes": [user.token_sha256 for user in users],
            "times": [user.due_at for user in users],
            "look_back": [user.look_back for user in users],
            "outcomes": [None if u.outcome is None else Jsonb(u.outcome) for u in users],
        },
    )


def open_runs(conn: Connection) -> list[int]:
    """Return the runs that are not closed: one, if any."""
    rows = conn.execute("SELECT run_id FROM checkinsync_queue.runs WHERE closed_at IS NULL")
    return [row[0] for row in rows]


def run(conn: Connection, run_id: int) -> StoredRun | None:
    """Return a run; None where the next one has taken its place."""
    row = conn.execute(
        """
        SELECT run_id, started_at, options, outages, stop, requests, closed_at
          FROM checkinsync_queue.runs WHERE run_id = %(run)s
        """,
        {"run": run_id},
    ).fetchone()
    return None if row is None else StoredRun(*row)


def circumstances(conn: Connection, run_id: int) -> Any:
    """Return what a run knew of the database at its start."""
    row = conn.execute(
        "SELECT circumstances FROM checkinsync_queue.runs WHERE run_id = %(run)s", {"run": run_id}
    ).fetchone()
    return None if row is None else row[0]


def lock(conn: Connection, run_id: int) -> StoredRun | None:
    """Return a run that is not closed, and keep others from changing it in this transaction."""
    row = conn.execute(
        """
        SELECT run_id, started_at, options, outages, stop, requests, NULL
          FROM checkinsync_queue.runs
         WHERE run_id = %(run)s AND closed_at IS NULL FOR UPDATE
        """,
        {"run": run_id},
    ).fetchone()
    return None if row is None else StoredRun(*row)


def set_state(conn: Connection, run_id: int, *, outages: Any, stop: Any, requests: int) -> None:
    """Store what a run knows of the services, and why it ended early; add the requests sent."""
    conn.execute(
        """
        UPDATE checkinsync_queue.runs
           SET outages = %(outages)s, stop = %(stop)s, requests = requests + %(requests)s
         WHERE run_id = %(run)s
        """,
        {
            "run": run_id,
            "outages": Jsonb(outages),
            "stop": None if stop is None else Jsonb(stop),
            "requests": requests,
        },
    )


def renew(conn: Connection, run_id: int) -> bool:
    """Renew the lease of a run, which has no process of its own; return False if it is lost."""
    row = conn.execute(
        """
        UPDATE import_leases AS l SET expires_at = now() + '90 s'
          FROM checkinsync_queue.runs AS r
         WHERE r.run_id = %(run)s AND l.user_id = %(lease)s AND l.token = r.lease_token
        RETURNING l.token
        """,
        {"run": run_id, "lease": leases.RUN},
    ).fetchone()
    return row is not None


def claim_close(conn: Connection, run_id: int) -> bool:
    """Return True if it is for us to close a run: all its users are done, and no other worker is
    at it. One that dies over it is followed by another after three minutes."""
    row = conn.execute(
        """
        UPDATE checkinsync_queue.runs AS r SET closing_until = now() + '3 minutes'
         WHERE run_id = %(run)s AND closed_at IS NULL
           AND (closing_until IS NULL OR closing_until < now())
           AND NOT EXISTS (SELECT FROM checkinsync_queue.users AS u
                            WHERE u.run_id = r.run_id AND u.outcome IS NULL)
        RETURNING run_id
        """,
        {"run": run_id},
    ).fetchone()
    return row is not None


def close(conn: Connection, run_id: int) -> None:
    """Record that a run is closed, and give its lease back."""
    conn.execute(
        """
        WITH closed AS (
            UPDATE checkinsync_queue.runs SET closed_at = now()
             WHERE run_id = %(run)s AND closed_at IS NULL
            RETURNING lease_token)
        UPDATE import_leases AS l SET expires_at = '-infinity'
          FROM closed WHERE l.user_id = %(lease)s AND l.token = closed.lease_token
        """,
        {"run": run_id, "lease": leases.RUN},
    )


# --- its users ------------------------------------------------------------------------------------


def users(conn: Connection, run_id: int, ids: Collection[int] | None = None) -> list[StoredUser]:
    """Return users of a run, in the order of the plan. `ids`: these; None: all."""
    rows = conn.execute(
        """
        SELECT s.user_id, s.place, s.turn, s.attempt, s.running, s.doubted, s.look_back, s.due_at,
               s.saved, s.outcome, u.foursquare_user_id, u.display_name,
               CASE WHEN sha256(convert_to(u.access_token_encrypted, 'UTF8')) = s.token_sha256
                    THEN u.access_token_encrypted END
          FROM checkinsync_queue.users AS s
          LEFT JOIN users AS u ON u.id = s.user_id
         WHERE s.run_id = %(run)s
           AND (%(ids)s::bigint[] IS NULL OR s.user_id = ANY (%(ids)s::bigint[]))
         ORDER BY s.place
        """,
        {"run": run_id, "ids": None if ids is None else list(ids)},
    )
    return [StoredUser(*row) for row in rows]


def set_running(conn: Connection, run_id: int, user_id: int) -> None:
    """Record that an attempt begins."""
    conn.execute(
        """
        UPDATE checkinsync_queue.users SET running = true
         WHERE run_id = %(run)s AND user_id = %(user)s
        """,
        {"run": run_id, "user": user_id},
    )


def set_user(conn: Connection, run_id: int, user: StoredUser) -> None:
    """Store what has become of a user."""
    conn.execute(
        """
        UPDATE checkinsync_queue.users
           SET turn = %(turn)s, attempt = %(attempt)s, running = %(running)s,
               doubted = %(doubted)s, due_at = %(due)s, saved = %(saved)s, outcome = %(outcome)s
         WHERE run_id = %(run)s AND user_id = %(user)s
        """,
        {
            "run": run_id,
            "user": user.user_id,
            "turn": user.turn,
            "attempt": user.attempt,
            "running": user.running,
            "doubted": user.doubted,
            "due": user.due_at,
            "saved": None if user.saved is None else Jsonb(user.saved),
            "outcome": None if user.outcome is None else Jsonb(user.outcome),
        },
    )


def start_is_due(conn: Connection, run_id: int, at: datetime) -> bool:
    """Return True if a user waits whose start has come."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM checkinsync_queue.users
                        WHERE run_id = %(run)s AND outcome IS NULL AND NOT running
                          AND due_at <= %(at)s)
        """,
        {"run": run_id, "at": at},
    ).fetchone()
    return row is not None and row[0]


def waiting(conn: Connection, run_id: int, *, most: int) -> list[tuple[int, int, datetime]]:
    """Return the users who wait for an attempt, the next one first, with its number and time."""
    rows = conn.execute(
        """
        SELECT user_id, attempt, due_at FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND NOT running AND due_at IS NOT NULL
         ORDER BY due_at, place LIMIT %(most)s
        """,
        {"run": run_id, "most": most},
    )
    return rows.fetchall()


def count_left(conn: Connection, run_id: int) -> int:
    """Count the users who are not done, and not being imported."""
    row = conn.execute(
        """
        SELECT count(*) FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND NOT running
        """,
        {"run": run_id},
    ).fetchone()
    return 0 if row is None else row[0]


def left(conn: Connection, run_id: int, *, running: bool) -> list[int]:
    """Return the users who are not done. `running`: also those whose import is at work."""
    rows = conn.execute(
        """
        SELECT user_id FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND (%(running)s OR NOT running)
        """,
        {"run": run_id, "running": running},
    )
    return [row[0] for row in rows]


def only_doubted(conn: Connection, run_id: int) -> list[int]:
    """Return the users whose tokens are in doubt, if nobody else is left; else nobody."""
    rows = conn.execute(
        """
        SELECT user_id FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND due_at IS NULL
           AND NOT EXISTS (SELECT FROM checkinsync_queue.users
                            WHERE run_id = %(run)s AND outcome IS NULL AND due_at IS NOT NULL)
        """,
        {"run": run_id},
    )
    return [row[0] for row in rows]
