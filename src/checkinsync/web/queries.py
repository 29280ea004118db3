"""Looks up users by their login tokens and records the logins, by one SQL function.

Uses the application's own pool, or a small one that is opened when it is first needed: a server
may fork before, and may start while the database is unreachable.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import UndefinedFunction
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout

from checkinsync.errors import CheckinsyncError, DatabaseAway, SchemaBehind, SettingsError
from checkinsync.store.driver_errors import is_away

WebPool = ConnectionPool[Any]
AsyncWebPool = AsyncConnectionPool[Any]

PATIENCE = 3.0
"""Seconds to wait for a connection, while a user waits for the page."""

SIZE = 4
"""Connections at most, per process: each request needs one for about a millisecond."""


@dataclass(frozen=True, slots=True)
class WebUser:
    """The user who sent a request; nothing in it is secret."""

    id: int
    foursquare_user_id: str
    display_name: str | None
    avatar_url: str | None


class Logins:
    """Users by their login tokens, over a pool that threads share."""

    def __init__(self, *, url: str | None, pool: WebPool | None) -> None:
        """Take either one. Raises SettingsError for both, neither, or anything else."""
        _check(url, pool, kind=ConnectionPool)
        self._url = url
        self._pool = pool
        self._lock = threading.Lock()

    def find(self, token: str, *, at: datetime) -> WebUser | None:
        """Return the user of this token, seen at `at`. Raises DatabaseAway, SchemaBehind."""
        with _as_ours(), self._open_pool().connection(PATIENCE) as conn:
            cursor = conn.cursor(row_factory=class_row(WebUser))
            cursor.execute(
                """
                SELECT id, foursquare_user_id, display_name, avatar_url
                  FROM authenticate(%(token)s, %(at)s)
                """,
                {"token": token, "at": at},
            )
            user: WebUser | None = cursor.fetchone()
            return user

    def close(self) -> None:
        """Close our own pool, if there is one; another is opened when it is needed again."""
        with self._lock:
            if self._url is not None and self._pool is not None:
                self._pool.close()
                self._pool = None

    def _open_pool(self) -> WebPool:
        with self._lock:
            if self._pool is None:
                assert self._url is not None
                check = ConnectionPool.check_connection
                self._pool = ConnectionPool(self._url, check=check, open=True, **_OURS)
            return self._pool


class AsyncLogins:
    """Users by their login tokens, for an event loop; queries do not block it."""

    def __init__(self, *, url: str | None, pool: AsyncWebPool | None) -> None:
        """Take either one. Raises SettingsError for both, neither, or anything else."""
        _check(url, pool, kind=AsyncConnectionPool)
        self._url = url
        self._pool = pool
        self._loop: asyncio.AbstractEventLoop | None = None

    async def find(self, token: str, *, at: datetime) -> WebUser | None:
        """Return the user of this token, seen at `at`. Raises DatabaseAway, SchemaBehind."""
        with _as_ours():
            pool = await self._open_pool()
            async with pool.connection(PATIENCE) as conn:
                cursor = conn.cursor(row_factory=class_row(WebUser))
                await cursor.execute(
                    """
                    SELECT id, foursquare_user_id, display_name, avatar_url
                      FROM authenticate(%(token)s, %(at)s)
                    """,
                    {"token": token, "at": at},
                )
                user: WebUser | None = await cursor.fetchone()
                return user

    async def close(self) -> None:
        """Close our own pool, if there is one; another is opened when it is needed again."""
        if self._url is not None and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def _open_pool(self) -> AsyncWebPool:
        if self._url is None:
            assert self._pool is not None
            return self._pool
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:  # a test client has a loop per request
            check = AsyncConnectionPool.check_connection
            self._loop = loop
            self._pool = AsyncConnectionPool(self._url, check=check, open=False, **_OURS)
        await self._pool.open()  # without effect after the first time
        return self._pool


_OURS: dict[str, Any] = {
    "kwargs": {
        "application_name": "checkinsync-web",
        "autocommit": True,  # one statement, one round trip
        "prepare_threshold": None,  # prepared statements fail behind a transaction-mode pooler
        "connect_timeout": int(PATIENCE),
    },
    "name": "checkinsync-web",
    "min_size": 0,
    "max_size": SIZE,
    "reconnect_timeout": PATIENCE,  # its pauses double, but exceed no request's patience
}


def _check(url: str | None, pool: object, *, kind: type) -> None:
    if bool(url) == (pool is not None):
        raise SettingsError("give either `url`, the address of the database, or `pool`")
    if pool is not None and not isinstance(pool, kind):
        raise SettingsError(f"`pool` has to be psycopg_pool's {kind.__name__}")
    try:
        conninfo_to_dict(url or "")
    except psycopg.Error:  # its text repeats the address
        raise SettingsError("the address of the database, `url`, can't be understood") from None


@contextmanager
def _as_ours() -> Iterator[None]:
    """Turn errors of the database into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error) from None


def _ours(error: psycopg.Error) -> CheckinsyncError:
    if isinstance(error, UndefinedFunction):
        return SchemaBehind(
            "cannot find the function `authenticate`; run `checkinsync migrate`, or put the schema "
            "of the application's table users on search_path"
        )
    if isinstance(error, PoolClosed):
        return DatabaseAway("the pool that was given is not open")
    if isinstance(error, PoolTimeout):
        return DatabaseAway(f"no connection to the database within {PATIENCE:.0f} seconds")
    said = error.diag.message_primary
    if said is None or is_away(error):
        return DatabaseAway("lost the connection to the database; the next request tries again")
    return DatabaseAway(f"the database refuses to look up the user: {said}")
