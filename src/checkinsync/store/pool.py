"""The one pool of connections, and what a transaction through it looks like.

No connection is held while waiting for Foursquare or for time to pass. Nothing is set for a whole
session: a transaction-mode pooler would forget it, or hand it to another client.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from checkinsync.errors import DatabaseAway, SettingsError
from checkinsync.store import schema
from checkinsync.store.driver_errors import translated

Row = tuple[Any, ...]

Connection = psycopg.Connection[Row]


class Address(str):
    """A database's address that remembers where it came from: a variable, a file, or its key."""

    source = "CHECKINSYNC_DATABASE_URL"

    @classmethod
    def of(cls, url: str, *, source: str) -> Address:
        """Return the address, with its source."""
        address = cls(url)
        address.source = source
        return address


class Pool(ConnectionPool[Connection]):
    """The pool, which remembers the search_path of the application's tables and ours."""

    source: str = Address.source

    search_path: str | None = None
    """Found by the first transaction; None: not yet, or the tables do not exist."""


@dataclass(slots=True)
class First:
    """A statement that a transaction begins with, in the message of its BEGIN."""

    statement: sql.Composed
    rows: list[Row] = field(default_factory=list)
    """Of its answer, once the transaction has begun."""

    def send(self, conn: Connection) -> list[Row]:
        """Send it by itself, in a transaction that has begun without it."""
        self.rows = conn.execute(self.statement).fetchall()
        return self.rows


PATIENCE = 10.0
"""Seconds to wait for a connection before the database counts as away."""

KEPT = 24 * 3600.0
"""Seconds an idle connection is kept: longer than a run, so that a whole run opens no more
sessions than the pool is large. It has none before it needs one, and closes all at the end."""

NETWORK = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How soon a connection ends whose other end does not answer: after 30 seconds (the last one is in
milliseconds). Without them a process that was cut off waits for a quarter of an hour, or two hours.
Source: PostgreSQL's documentation, 34.1.2 "Parameter Key Words"; the address may name others."""

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "5s"
IDLE_TIMEOUT = "60s"
"""Time after which a process that was stopped loses its locks."""

PINNED = {
    "statement_timeout": STATEMENT_TIMEOUT,
    "lock_timeout": LOCK_TIMEOUT,
    "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "off",  # a policy that would hide rows is an error instead
}
"""Settings of each transaction; isolation and read-only are set by BEGIN.

Source: PostgreSQL's documentation, chapter 20, "Client Connection Defaults" and "Version and
Platform Compatibility": the settings there that change what a statement means or reads as.
"""

WAITS_FOR_THE_DISK = """
SELECT set_config('synchronous_commit', 'local', true)
 WHERE current_setting('synchronous_commit') = 'off'
"""
"""A page that is committed stays: an import goes on with the next one, on another connection where
the server has restarted meanwhile. Settings that wait for more than this server's disk are kept."""

READ_WRITE = "READ COMMITTED, READ WRITE"
READ_ONLY = "READ COMMITTED, READ ONLY"
SNAPSHOT = "REPEATABLE READ, READ ONLY"
"""Modes of a transaction."""

PINNED_TRANSACTIONS = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
"""The same for statements that no BEGIN precedes."""

NOT_ADMITTED = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
)
"""Signs that a setting is wrong and waiting is no use; libpq gives no SQLSTATE while connecting."""

HAS_TRANSACTION_TIMEOUT = 170000
"""Version of the server from which on a role may have a `transaction_timeout`."""


def open_pool(url: str, *, size: int) -> Pool:
    """At most `size` connections for everything; the first is made when it is asked for.

    Raises SettingsError for an address that is none.
    """
    try:
        named = conninfo_to_dict(url)
    except psycopg.Error:  # its text repeats the address
        raise SettingsError(_NO_ADDRESS) from None
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # we say once that it is away
    pool = Pool(
        url,
        kwargs={
            "autocommit": True,  # `transaction` begins each transaction itself
            "application_name": "checkinsync",
            "client_encoding": "UTF8",
            "prepare_threshold": None,  # prepared statements fail behind a transaction-mode pooler
            "connect_timeout": int(PATIENCE),
            **{name: value for name, value in NETWORK.items() if name not in named},
        },
        min_size=0,
        max_size=size,
        timeout=PATIENCE,
        max_idle=KEPT,
        max_lifetime=KEPT,
        reconnect_timeout=PATIENCE,
        open=True,
    )
    pool.source = _source(url)
    return pool


def _source(url: str) -> str:
    return url.source if isinstance(url, Address) else Address.source


@contextmanager
def direct(
    url: str, *, application_name: str = "checkinsync", patience: float = PATIENCE
) -> Iterator[Connection]:
    """A connection of its own, past the pool, that commits each statement.

    Raises DatabaseAway in the server's own words, SettingsError for an address that is none.
    """
    try:
        conn = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=int(patience),
            application_name=application_name,
            client_encoding="UTF8",
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        words = " ".join(str(error).split())
        if any(sign in words for sign in NOT_ADMITTED):
            raise SettingsError(
                f"the database ({_source(url)}) does not admit us: {words}"
            ) from None
        raise DatabaseAway(f"cannot reach the database ({_source(url)}): {words}") from None
    except psycopg.Error:  # its text repeats the address
        raise SettingsError(_NO_ADDRESS) from None
    with conn:
        yield conn


@contextmanager
def transaction(
    pool: Pool, *, first: First | None = None, read_only: bool = False, snapshot: bool = False
) -> Iterator[Connection]:
    """One unit of work: committed at the end, rolled back on an error.

    `first`: a statement to begin with; `snapshot`: all statements see one moment, and can't write.
    Raises DatabaseError and its kinds, SettingsError where it is not clear which table `users` is
    the application's; no error of the driver leaves the block.
    """
    mode = SNAPSHOT if snapshot else READ_ONLY if read_only else READ_WRITE
    with translated(pool.source), _begun(pool, mode, first) as conn, closed_if_read_only(conn):
        yield conn


@contextmanager
def _begun(pool: Pool, mode: LiteralString, first: First | None) -> Iterator[Connection]:
    """A connection with a transaction, which ends with the block."""
    at_once = first if pool.search_path else None
    conn, begun = _begin(pool, mode, at_once)
    try:
        with conn:
            if pool.search_path is None:
                pool.search_path = schema.use(conn)
            if at_once:
                at_once.rows = _last(begun)
            elif first:
                first.send(conn)
            yield conn
    finally:
        pool.putconn(conn)


def _last(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """Return the rows of a message's last statement."""
    while cursor.nextset():
        pass
    return cursor.fetchall()


def _begin(
    pool: Pool, mode: LiteralString, first: First | None
) -> tuple[Connection, psycopg.Cursor[Row]]:
    """Begin a transaction in one round trip; on another connection where one has been cut off."""
    for left in range(pool.max_size, -1, -1):
        conn = pool.getconn()
        try:
            message = _beginning(mode, pool.search_path, conn.info.server_version)
            if first:
                message += b"; " + first.statement.as_bytes(conn)
            return conn, conn.execute(message)
        except BaseException as error:
            pool.putconn(conn)  # which closes one that a signal has left in mid-statement
            if left and conn.closed and isinstance(error, psycopg.Error):
                continue
            raise
    raise AssertionError  # the last one is returned or raised


@cache
def _beginning(mode: LiteralString, search_path: str | None, server_version: int) -> bytes:
    """Return the statements that begin a transaction. What a role, a database or a pooler may have
    set otherwise is set for this transaction; the application's constraints are checked at once,
    so that they refuse a value and not a whole page."""
    settings = sql.SQL("; ").join(
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in _settings(server_version).items()
    )
    statements = sql.SQL(
        "BEGIN ISOLATION LEVEL {mode}, NOT DEFERRABLE; SET CONSTRAINTS ALL IMMEDIATE; {settings}"
        "{path}; {durability}"
    ).format(
        mode=sql.SQL(mode),
        settings=settings,
        path=sql.SQL("; SET LOCAL search_path = " + search_path if search_path else ""),
        durability=sql.SQL(WAITS_FOR_THE_DISK),
    )
    return statements.as_bytes()


@contextmanager
def savepoint(conn: Connection) -> Iterator[None]:
    """Part of a transaction, undone on an error, so that the rest can go on.

    Raises DatabaseError and its kinds.
    """
    with translated(), conn.transaction():
        yield


@contextmanager
def closed_if_read_only(conn: Connection) -> Iterator[None]:
    """After a fail-over the old server may go on as a standby: the pool must connect anew."""
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction:
        conn.close()
        raise


def pin(conn: Connection, *, session: bool = False) -> None:
    """Set the same for the transaction of a connection past the pool.

    `session`: for the whole session, which must not go through a transaction-mode pooler.
    """
    settings = _settings(conn.info.server_version)
    if session:
        settings = {**settings, **PINNED_TRANSACTIONS}
    conn.execute(
        """
        SELECT set_config(s.name, s.value, %(local)s)
          FROM unnest(%(names)s::text[], %(values)s::text[]) AS s (name, value)
        """,
        {
            "names": list(settings),
            "values": list(settings.values()),
            "local": not session,
        },
    )


def _settings(server_version: int) -> dict[str, str]:
    has_timeout = server_version >= HAS_TRANSACTION_TIMEOUT
    return {**PINNED, "transaction_timeout": "0"} if has_timeout else PINNED


def probe(pool: Pool) -> bool:
    """Return True if the database can be reached."""
    try:
        with transaction(pool) as conn:
            conn.execute("SELECT 1")
    except DatabaseAway:
        return False
    return True


_NO_ADDRESS = (
    "the address of the database can't be understood; see CHECKINSYNC_DATABASE_URL and "
    "CHECKINSYNC_MIGRATE_URL"
)
