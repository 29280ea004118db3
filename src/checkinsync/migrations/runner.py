"""Migrations applied, through one connection, by one runner at a time.

The connection is its runner's own and goes straight to the server: the lock that keeps a second
runner out belongs to the session. Nothing here rests on the session's time zone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable

from checkinsync.errors import AtWork, DatabaseAway, MigrationFailed
from checkinsync.migrations import ledger
from checkinsync.migrations.files import Applied, Migration, Statement
from checkinsync.store.pool import Connection, direct, is_away

Sleep = Callable[[float], None]

log = logging.getLogger(__name__)

RUNNER_LOCK = 0x636B_696E_7379_6E63
"""The advisory lock of whoever applies migrations."""

RUNNER_POLL = 1.0
RUNNER_POLLS = 300
"""Seconds between looks, and how many: five minutes for another runner to finish. Waiting inside
the server instead would deadlock with its CONCURRENTLY."""

LOCK_TIMEOUT = "250ms"
"""For a table in use, each time: meanwhile the application's queries queue up behind us. A file
locks up to three tables one after the other, and nobody shall wait for a second. It is also less
than PostgreSQL's deadlock_timeout: we let go before one of the application's statements is ended
for our sake."""

PATIENT_LOCK_TIMEOUT = "10min"
"""For CONCURRENTLY, behind which nobody has to wait: a backup may hold its snapshot for long."""

LOCK_ATTEMPTS = 120
LOCK_PAUSE = 2.0
"""Seconds between attempts, in which the queue drains: four and a half minutes in all."""

PATIENT_ATTEMPTS = 8
"""Of a file without transaction, whose statements wait long and whose indexes begin anew."""


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection that commits each statement. Raises DatabaseAway, MigrationFailed."""
    with direct(url, application_name="checkinsync migrate") as conn:
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            conn.execute("SET client_encoding TO 'UTF8'")
            yield conn
        except psycopg.Error as error:
            if is_away(error):
                raise DatabaseAway("the database went away; run the command again") from None
            raise MigrationFailed(f"the ledger of migrations: {_said(error)}") from None


@contextmanager
def looking(conn: Connection) -> Iterator[None]:
    """A transaction that sees one moment and can't write. Raises MigrationFailed, DatabaseAway."""
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            _bound(conn, PATIENT_LOCK_TIMEOUT, in_transaction=True)
            yield
    except psycopg.Error as error:
        if is_away(error):
            raise
        raise MigrationFailed(
            f"the tables that are there can't be looked at: {_said(error)}"
        ) from None


@contextmanager
def only_runner(conn: Connection, *, sleep: Sleep) -> Iterator[None]:
    """Nobody else applies migrations meanwhile. Raises AtWork where somebody does for too long."""
    for _ in range(RUNNER_POLLS):
        if _got_lock(conn):
            break
        sleep(RUNNER_POLL)
    else:
        raise AtWork("another `checkinsync migrate` is at work; wait until it has finished")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%(lock)s)", {"lock": RUNNER_LOCK})


def apply(conn: Connection, file: Migration, *, sleep: Sleep) -> Applied:
    """Run a file and note it, trying again where a table is in use. Raises MigrationFailed."""
    run = _run_alone if file.no_transaction else _run
    level = logging.WARNING  # once, not at each of a hundred attempts
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
    """All of it and its row of the ledger, or nothing."""
    with conn.transaction():
        _bound(conn, LOCK_TIMEOUT, in_transaction=True)
        for statement in file.statements:
            _execute(conn, file, statement)
        return ledger.note(conn, file)


def _run_alone(conn: Connection, file: Migration) -> Applied:
    """One statement after the other; cut off anywhere, the file is run again from its top."""
    with _first_schema_only(conn):
        for statement in file.statements:
            patient = "CONCURRENTLY" in statement.text.upper()
            _bound(conn, PATIENT_LOCK_TIMEOUT if patient else LOCK_TIMEOUT, in_transaction=False)
            _execute(conn, file, statement)
        return ledger.note(conn, file)


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
        raise MigrationFailed(f"{place}: {_said(error)}; {stays}") from None


def _in_use(conn: Connection, file: Migration, error: psycopg.Error) -> str:
    """What is in the way, and who, as far as our role may know: the oldest transactions first."""
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
    return f"{file.name}: {_said(error)}: a table is in use by {others}"


def _line(error: psycopg.Error, statement: Statement) -> str:
    """Where in the file, as far as the server says."""
    if error.diag.statement_position:
        before = statement.text[: int(error.diag.statement_position) - 1]
        return f", line {statement.line + before.count(chr(10))}"
    inside = re.search(r"(line [0-9]+) at [^\n]+\Z", error.diag.context or "")
    return f", {inside[1]} of a block" if inside else ""


def _said(error: psycopg.Error) -> str:
    """The server's own words, without the rows that they are about."""
    return error.diag.message_primary or type(error).__name__


def _got_lock(conn: Connection) -> bool:
    row = conn.execute("SELECT pg_try_advisory_lock(%(lock)s)", {"lock": RUNNER_LOCK}).fetchone()
    return row is not None and bool(row[0])
