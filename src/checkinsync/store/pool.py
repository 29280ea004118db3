"""The one pool of connections, and what a transaction through it looks like.

No connection is held while waiting for Foursquare or for time to pass. Nothing is set for a whole
session: a transaction-mode pooler would forget it, or hand it to somebody else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from checkinsync.errors import DatabaseAway, DatabaseExhausted, SettingsError
from checkinsync.store import schema

Connection = psycopg.Connection[tuple[Any, ...]]


class Pool(ConnectionPool[Connection]):
    """The pool, which remembers the search_path of the application's tables and ours."""

    search_path: str | None = None
    """Found by the first transaction; None: not yet, or the tables do not exist."""


PATIENCE = 10.0
"""Seconds to wait for a connection before the database counts as away."""

KEPT = 24 * 3600.0
"""Seconds an idle connection is kept: longer than a run, so that a whole run opens no more
sessions than the pool is large. It has none before it needs one, and closes all at the end."""

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "5s"
IDLE_TIMEOUT = "60s"
"""How long a process that was stopped may keep its locks."""

AWAY = ("08", "57P", "53300", "XX000")
"""SQLSTATEs, by their beginnings, that say the server is gone or going, not that we are wrong."""

EXHAUSTED = ("53100", "53200")
"""SQLSTATEs: disk full, out of memory. The server is there, so that looking for it is no use."""

HUNG_UP = ("25P03", "25P04")
"""SQLSTATEs of a session that the server ended since this process was stopped in a transaction."""


def open_pool(url: str, *, size: int) -> Pool:
    """At most `size` connections for everything; the first is made when it is asked for.

    Raises SettingsError for an address that is none.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.Error:  # its text repeats the address
        raise SettingsError(_NO_ADDRESS) from None
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # we say once that it is away
    return Pool(
        url,
        kwargs={
            "application_name": "checkinsync",
            "prepare_threshold": None,  # prepared statements fail behind a transaction-mode pooler
            "connect_timeout": int(PATIENCE),
        },
        min_size=0,
        max_size=size,
        timeout=PATIENCE,
        max_idle=KEPT,
        max_lifetime=KEPT,
        reconnect_timeout=PATIENCE,
        check=ConnectionPool.check_connection,
        open=True,
    )


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
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        words = " ".join(str(error).split())
        raise DatabaseAway(
            "the database is not to be had at the address in CHECKINSYNC_DATABASE_URL (or "
            f"DATABASE_URL, CHECKINSYNC_MIGRATE_URL): {words}"
        ) from None
    except psycopg.Error:  # its text repeats the address
        raise SettingsError(_NO_ADDRESS) from None
    with conn:
        yield conn


@contextmanager
def transaction(pool: Pool, *, snapshot: bool = False) -> Iterator[Connection]:
    """One unit of work: committed at the end, rolled back on an error. Raises DatabaseAway.

    `snapshot`: all its statements see one moment, and can't write. Raises SettingsError where it is
    not clear which table `users` is the application's.
    """
    try:
        with pool.connection() as conn:
            if snapshot:
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.execute(
                """
                SELECT set_config('statement_timeout', %(statement)s, true),
                       set_config('lock_timeout', %(lock)s, true),
                       set_config('idle_in_transaction_session_timeout', %(idle)s, true),
                       set_config('search_path',
                                  coalesce(%(path)s, current_setting('search_path')), true)
                """,
                {
                    "statement": STATEMENT_TIMEOUT,
                    "lock": LOCK_TIMEOUT,
                    "idle": IDLE_TIMEOUT,
                    "path": pool.search_path,
                },
            )
            if pool.search_path is None:
                pool.search_path = schema.pin(conn)
            yield conn
    except (PoolTimeout, PoolClosed):
        raise DatabaseAway(_AWAY_MESSAGE) from None
    except psycopg.Error as error:
        if error.sqlstate in EXHAUSTED:
            words = error.diag.message_primary or type(error).__name__
            raise DatabaseExhausted(
                f"the database has no room left: {words}; free some on its server"
            ) from None
        if not is_away(error):
            raise
        raise DatabaseAway(_AWAY_MESSAGE) from None


def is_away(error: psycopg.Error) -> bool:
    """Whether this error means that the database, or this session of it, is not to be had."""
    if error.sqlstate in HUNG_UP:  # an InternalError to psycopg
        return True
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(AWAY)


def probe(pool: Pool) -> bool:
    """Whether the database answers."""
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
_AWAY_MESSAGE = (
    "the database is not to be had; check that the server runs and that "
    "CHECKINSYNC_DATABASE_URL (or DATABASE_URL) names it"
)
