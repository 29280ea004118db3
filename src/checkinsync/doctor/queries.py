"""Facts about the server and about a pooler before it; reads only, by a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from checkinsync.doctor.findings import Pooling, Server
from checkinsync.errors import DatabaseAway, DatabaseRefused, PrivilegeMissing, SchemaBehind
from checkinsync.store import schema
from checkinsync.store.driver_errors import is_away
from checkinsync.store.pool import Connection, direct, pin

LOOKS = 3
"""Attempts to see two clients share a process; another client may have taken it in between."""

ABSENT = ("42P01", "42703", "42883")
"""SQLSTATEs: a table, a column or a function that does not exist."""

NOT_ALLOWED = "42501"
"""SQLSTATE: a missing privilege, or a policy of row-level security."""


@contextmanager
def reading(conn: Connection) -> Iterator[Connection]:
    """A transaction that can't write.

    Raises DatabaseAway, SchemaBehind, PrivilegeMissing, DatabaseRefused.
    """
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION READ ONLY")
            pin(conn)
            yield conn
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__
        if is_away(error):
            raise DatabaseAway("the database went away while it was being checked") from None
        if error.sqlstate in ABSENT:
            raise SchemaBehind(f"not checked, since the schema lacks it: {said}") from None
        if error.sqlstate == NOT_ALLOWED:
            raise PrivilegeMissing(f"not checked, since the role may not: {said}") from None
        raise DatabaseRefused(f"the database refuses to tell: {said}") from None


@contextmanager
def reading_tables(conn: Connection) -> Iterator[Connection]:
    """As `reading`, and every name means the table in the application's schema.

    Raises SettingsError where it is not clear which schema that is.
    """
    with reading(conn):
        schema.use(conn)
        yield conn


def facts(conn: Connection) -> Server:
    """Return what the server says of itself.

    Sessions are counted by database, since not every role sees more of other roles' sessions.
    """
    row = conn.execute(
        """
        SELECT current_setting('server_version_num')::int,
               split_part(current_setting('server_version'), ' ', 1),
               current_database(), current_user, current_setting('server_encoding'),
               pg_database_size(current_database()),
               pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean,
               clock_timestamp(),
               current_setting('max_connections')::int,
               current_setting('superuser_reserved_connections')::int
                   + coalesce(current_setting('reserved_connections', true)::int, 0),
               (SELECT sum(numbackends) FROM pg_stat_database)::int - 1,
               (SELECT min(most)
                  FROM (SELECT datconnlimit FROM pg_database WHERE datname = current_database()
                        UNION ALL
                        SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS l (most)
                 WHERE most >= 0)
        """
    ).fetchone()
    assert row is not None
    return Server(*row)


def identity(conn: Connection) -> tuple[object, ...]:
    """Return what two addresses have in common only if they lead to the same database."""
    row = conn.execute(
        """
        SELECT oid, datname, pg_postmaster_start_time()
          FROM pg_database WHERE datname = current_database()
        """
    ).fetchone()
    return () if row is None else row


def invalid_indexes(conn: Connection) -> list[str]:
    """Return the indexes of our tables that an interrupted CONCURRENTLY left half-built."""
    rows = conn.execute(
        """
        SELECT indexrelid::regclass::text
          FROM pg_index
         WHERE NOT indisvalid
           AND indrelid IN (to_regclass('users'), to_regclass('checkins'),
                            to_regclass('checkin_photos'), to_regclass('import_jobs'))
         ORDER BY 1
        """
    )
    return [row[0] for row in rows]


def pooling(conn: Connection, url: str) -> Pooling:
    """Return the kind of pooler before the server, told by process ids. Raises DatabaseAway.

    `url`: where `conn` was opened. Two clients whose transactions are served by one process, or one
    client's by two, are behind a pooler in transaction mode. Any pooler greets with a process id
    that it made up.
    """
    greeting = conn.info.backend_pid
    try:
        with direct(url) as other:
            for _ in range(LOOKS):
                first, second, again = _process(conn), _process(other), _process(conn)
                if first == second or first != again:
                    return Pooling.TRANSACTION
    except DatabaseAway:
        if _process(conn) == greeting:
            raise
        raise DatabaseAway(_NO_SECOND) from None
    return Pooling.NONE if again == greeting else Pooling.SESSION


_NO_SECOND = (
    "the pooler has no second connection for us: in session mode it needs one for each of "
    "CHECKINSYNC_POOL_SIZE; allow it more, or set its mode to transaction"
)


def _process(conn: Connection) -> int:
    with reading(conn):
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
