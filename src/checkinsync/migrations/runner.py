"""Applies migrations through one connection, one process at a time.

The connection goes straight to the server: the lock that keeps a second process out belongs to the
session. Nothing here depends on the session's time zone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable

from checkinsync.errors import AtWork, DatabaseAway, MigrationFailed, MigrationRefused
from checkinsync.migrations import ledger
from checkinsync.migrations.files import Applied, Migration, Statement
from checkinsync.store.driver_errors import is_away
from checkinsync.store.pool import Connection, direct, pin

Sleep = Callable[[float], None]

log = logging.getLogger(__name__)

RUNNER_LOCK = 0x636B_696E_7379_6E63
"""The advisory lock of the process that applies migrations."""

RUNNER_POLL = 1.0
RUNNER_POLLS = 300
"""Seconds between attempts, and how many: five minutes for another process to finish. Waiting
inside the server instead would deadlock with its CONCURRENTLY."""

LOCK_TIMEOUT = "250ms"
"""For a table in use, per attempt: meanwhile the application's queries queue behind ours. A file
locks up to three tables one after the other, and no query should wait for a second. It is shorter
than PostgreSQL's deadlock_timeout, too, so that none of the application's statements is cancelled
because of ours."""

PATIENT_LOCK_TIMEOUT = "10min"
"""For CONCURRENTLY, which blocks no query: a backup may hold its snapshot for long."""

LOCK_ATTEMPTS = 120
LOCK_PAUSE = 2.0
"""Seconds between attempts, in which the queue drains: four and a half minutes in total."""

PATIENT_ATTEMPTS = 8
"""Of a file without transaction: its statements wait longer, and its indexes are built again."""


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection that commits each statement. Raises DatabaseAway, MigrationFailed."""
    with direct(url, application_name="checkinsync migrate") as conn:
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            yield conn
        except psycopg.Error as error:
            if is_away(error):
                raise DatabaseAway(
                    "the connection to the database was lost; run it again"
                ) from None
            raise MigrationFailed(f"the ledger of migrations: {_message(error)}") from None


@contextmanager
def looking(conn: Connection) -> Iterator[None]:
    """A read-only transaction with one snapshot.

    Raises MigrationRefused without the right to read, MigrationFailed, DatabaseAway.
    """
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            pin(conn)
            _bound(conn, PATIENT_LOCK_TIMEOUT, in_transaction=True)
            yield
    except InsufficientPrivilege as error:
        raise MigrationRefused(
            f"nothing was changed: {_message(error)}: run `checkinsync migrate` as the role that "
            "migrated before, or GRANT it"
        ) from None
    except psycopg.Error as error:
        if is_away(error):
            raise
        raise MigrationFailed(f"cannot read the tables: {_message(error)}") from None


@contextmanager
def only_runner(conn: Connection, *, sleep: Sleep) -> Iterator[None]:
    """Keep other processes from applying migrations. Raises AtWork after five minutes."""
    for _ in range(RUNNER_POLLS):
        if _got_lock(conn):
            break
        sleep(RUNNER_POLL)
    else:
        raise AtWork(
            "another `checkinsync migrate` is running; run it again when that has finished"
        )
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%(lock)s)", {"lock": RUNNER_LOCK})


def apply(conn: Connection, file: Migration, *, sleep: Sleep) -> Applied:
    """Run a file and record it; retry while a table is in use. Raises MigrationFailed."""
    run = _run_without_transaction if file.no_transaction else _run
    level = logging.WARNING  # once, not for each of a hundred attempts
    for _ in range((PATIENT_ATTEMPTS if file.no_transaction else LOCK_ATTEMPTS) - 1):
        try:
            return run(conn, file)
        except (LockNotAvailable, DeadlockDetected) as error:
            log.log(level, "%s; waiting for it", _in_use(conn, file, error))
            level = logging.DEBUG
            sleep(LOCK_PAUSE)
    try:
        return run(conn, file)
    except (LockNotAvailable, DeadlockDetected) as error:
        raise MigrationFailed(
            f"{_in_use(conn, file, error)}; nothing is lost, run `checkinsync migrate` again when "
            "they have finished"
        ) from None


def _run(conn: Connection, file: Migration) -> Applied:
    """Run all of it and record it, or nothing."""
    with conn.transaction():
        _bound(conn, LOCK_TIMEOUT, in_transaction=True)
        for statement in file.statements:
            _execute(conn, file, statement)
        return ledger.record(conn, file)


def _run_without_transaction(conn: Connection, file: Migration) -> Applied:
    """Run one statement after the other; if interrupted, the file is run again from its top."""
    with _first_schema_only(conn):
        for statement in file.statements:
            patient = "CONCURRENTLY" in statement.text.upper()
            _bound(conn, PATIENT_LOCK_TIMEOUT if patient else LOCK_TIMEOUT, in_transaction=False)
            _execute(conn, file, statement)
        return ledger.record(conn, file)


@contextmanager
def _first_schema_only(conn: Connection) -> Iterator[None]:
    """Leave the other schemas out of search_path, in which DROP … IF EXISTS would look, too."""
    row = conn.execute(
        "SELECT current_setting('search_path'), quote_ident(current_schema()) || ', pg_temp'"
    ).fetchone()
    assert row is not None
    pinned, first = row
    conn.execute("SELECT set_config('search_path', %(path)s, false)", {"path": first})
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT set_config('search_path', %(path)s, false)", {"path": pinned})


def _bound(conn: Connection, lock_timeout: str, *, in_transaction: bool) -> None:
    """Limit the wait for a table; the work itself takes as long as it takes.

    A role or a database may have any time-out as its default.
    """
    conn.execute(
        """
        SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN %(lock)s ELSE '0' END, %(local)s)
          FROM pg_settings
         WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout',
                        'idle_session_timeout', 'idle_in_transaction_session_timeout')
        """,
        {"lock": lock_timeout, "local": in_transaction},
    )


def _execute(conn: Connection, file: Migration, statement: Statement) -> None:
    try:
        conn.execute(statement.text.encode())
    except (LockNotAvailable, DeadlockDetected):
        raise
    except psycopg.Error as error:
        if is_away(error):
            raise
        place = f"{file.name}{_line(error, statement)}"
        stays = "what ran before it stays" if file.no_transaction else "nothing of this file stays"
        raise MigrationFailed(f"{place}: {_message(error)}; {stays}") from None


def _in_use(conn: Connection, file: Migration, error: psycopg.Error) -> str:
    """Return what is locked and by whom, as far as our role may see it; the oldest first."""
    rows = conn.execute(
        """
        SELECT DISTINCT a.xact_start, format('%%s (process %%s%%s)',
                      coalesce(nullif(a.application_name, ''), a.backend_type, 'a program'), a.pid,
                      to_char(a.xact_start AT TIME ZONE 'UTC', '", since "HH24:MI:SS" UTC"'))
          FROM pg_locks AS l
          JOIN pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
          JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datname = current_database()
         WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
           AND c.relnamespace <> 'pg_catalog'::regnamespace
           AND strpos(%(text)s, c.relname) > 0
         ORDER BY 1 LIMIT 3
        """,
        {"text": file.text},
    )
    who = ", ".join(row[1] for row in rows)
    others = f"others: {who}" if who else "others"
    return f"{file.name}: {_message(error)}: a table is in use by {others}"


def _line(error: psycopg.Error, statement: Statement) -> str:
    """Return where in the file, as far as the server says."""
    if error.diag.statement_position:
        before = statement.text[: int(error.diag.statement_position) - 1]
        return f", line {statement.line + before.count(chr(10))}"
    inside = re.search(r"(line [0-9]+) at [^\n]+\Z", error.diag.context or "")
    return f", {inside[1]} of a block" if inside else ""


def _message(error: psycopg.Error) -> str:
    """Return the server's primary message, without its details, which quote rows."""
    return error.diag.message_primary or type(error).__name__


def _got_lock(conn: Connection) -> bool:
    row = conn.execute("SELECT pg_try_advisory_lock(%(lock)s)", {"lock": RUNNER_LOCK}).fetchone()
    return row is not None and bool(row[0])
