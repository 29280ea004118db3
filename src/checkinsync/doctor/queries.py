"""What a server says of itself and of what stands before it; reads only, past the pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from checkinsync.doctor.findings import Pooling, Server
from checkinsync.errors import DatabaseAway, DatabaseRefused, SchemaBehind
from checkinsync.store import schema
from checkinsync.store.driver_errors import is_away
from checkinsync.store.pool import LOCK_TIMEOUT, STATEMENT_TIMEOUT, Connection, direct

LOOKS = 3
"""How often to look: another client may have taken, in between, the connection that tells."""

ABSENT = ("42P01", "42703", "42883")
"""SQLSTATEs: a table, a column or a function that is not there."""


@contextmanager
def reading(conn: Connection) -> Iterator[Connection]:
    """A transaction that can't write. Raises DatabaseAway, SchemaBehind, DatabaseRefused."""
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION READ ONLY")
            conn.execute(
                """
                SELECT set_config('statement_timeout', %(statement)s, true),
                       set_config('lock_timeout', %(lock)s, true)
                """,
                {"statement": STATEMENT_TIMEOUT, "lock": LOCK_TIMEOUT},
            )
            yield conn
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__
        if is_away(error):
            raise DatabaseAway("the database went away while it was looked at") from None
        if error.sqlstate in ABSENT:
            raise SchemaBehind(f"not looked at, since the schema lacks it: {said}") from None
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
    """What there is to know before anything is done.

    Sessions are counted by database: of those of other roles not everybody may see the kind.
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
    """What two addresses of the same database have in common, and no others."""
    row = conn.execute(
        """
        SELECT oid, datname, pg_postmaster_start_time()
          FROM pg_database WHERE datname = current_database()
        """
    ).fetchone()
    return () if row is None else row


def invalid_indexes(conn: Connection) -> list[str]:
    """Indexes of the tables that we use which a cut-off CONCURRENTLY has left half-built."""
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
    """What stands between `conn` and the server, told by process numbers. Raises DatabaseAway.

    `url`: where `conn` was opened. Two clients whose transactions are served by one process, or one
    client's by two, are behind a pooler in transaction mode. A pooler of any kind greets with a
    number that it made up.
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
    "the pooler on the way has no second connection for us: in session mode it needs one for each "
    "of CHECKINSYNC_POOL_SIZE; let it have more, or set its mode to transaction"
)


def _process(conn: Connection) -> int:
    with reading(conn):
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
