"""Middleware for web applications: finds the user of a request by their login token.

It also records that the user was seen, which keeps them active. `TokenAuth` is for WSGI (Flask,
Django, …), `AsyncTokenAuth` for ASGI (Starlette, FastAPI, …). The application finds the user, or
None, in the environ or scope under USER. Tokens are never logged.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from checkinsync.errors import CheckinsyncError
from checkinsync.web.queries import AsyncLogins, AsyncWebPool, Logins, WebPool, WebUser

__all__ = ["USER", "AsyncTokenAuth", "TokenAuth", "WebUser"]

USER = "checkinsync.user"
"""The key of the WebUser in the environ or scope; None there if no user is logged in."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("checkinsync.web")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request's answer, in JSON as the application's own."""

    status: HTTPStatus
    message: str
    close_code: int
    """For a websocket, if the server can't answer it in HTTP."""

    @property
    def body(self) -> bytes:
        """`{"error", "message"}`."""
        return json.dumps({"error": self.status.phrase, "message": self.message}).encode()


MISSING = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "A token is needed: in the query as ?token= or in the header X-Auth-Token",
    1008,
)
WRONG = Refusal(HTTPStatus.UNAUTHORIZED, "The token is not valid", 1008)
AWAY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "Users can't be authenticated now; try again later", 1013
)

_TOKEN = re.compile(r"[!-~]{1,64}")
"""The column holds no longer ones, and the application makes them of hex digits: any other text is
refused without asking the database."""


class TokenAuth:
    """WSGI middleware: refuses requests without a valid token, or hands them on without a user."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        url: str | None = None,
        pool: WebPool | None = None,
        required: bool = True,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Over the database at `url`, or through `pool`, a psycopg_pool.ConnectionPool.

        `required=False` hands on requests without a valid token, too. `now`: another clock; aware.
        Raises SettingsError.
        """
        self._app = app
        self._logins = Logins(url=url, pool=pool)
        self._required = required
        self._now = now or utc_now
        self._outage = Outage()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        method = environ["REQUEST_METHOD"]
        user = None if method == "OPTIONS" else self._whose(environ)
        if isinstance(user, Refusal):
            if self._required:
                headers = [(name.decode(), value.decode()) for name, value in _headers(user)]
                start_response(f"{user.status.value} {user.status.phrase}", headers)
                return [] if method == "HEAD" else [user.body]
            user = None
        environ[USER] = user
        return self._app(environ, start_response)

    def close(self) -> None:
        """Close our own connections, not those of a pool that was given."""
        self._logins.close()

    def _whose(self, environ: WSGIEnvironment) -> WebUser | Refusal:
        token = token_of(environ.get("QUERY_STRING", ""), environ.get("HTTP_X_AUTH_TOKEN", ""))
        if (refusal := refusal_of(token)) is not None:
            return refusal
        try:
            user = self._logins.find(token, at=self._now())
        except CheckinsyncError as error:
            return self._outage.failed(error)
        self._outage.succeeded()
        return user or WRONG


class AsyncTokenAuth:
    """ASGI middleware for HTTP and websockets; queries do not block the event loop."""

    def __init__(
        self,
        app: AsgiApplication,
        *,
        url: str | None = None,
        pool: AsyncWebPool | None = None,
        required: bool = True,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Over the database at `url`, or through `pool`, a psycopg_pool.AsyncConnectionPool.

        `required=False` hands on requests without a valid token, too. `now`: another clock; aware.
        Raises SettingsError.
        """
        self._app = app
        self._logins = AsyncLogins(url=url, pool=pool)
        self._required = required
        self._now = now or utc_now
        self._outage = Outage()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing_at_the_end(send))
            return
        user = None if scope.get("method") == "OPTIONS" else await self._whose(scope)
        if isinstance(user, Refusal):
            if self._required:
                await _refuse(user, scope, receive, send)
                return
            user = None
        await self._app({**scope, USER: user}, receive, send)

    def _closing_at_the_end(self, send: Send) -> Send:
        """Close our connections before the server hears that the shutdown is complete.

        It ends its event loop then.
        """

        async def closing(message: MutableMapping[str, Any]) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._logins.close()
            await send(message)

        return closing

    async def _whose(self, scope: Scope) -> WebUser | Refusal:
        headers = [v for name, v in scope.get("headers", ()) if name.lower() == b"x-auth-token"]
        query, header = scope.get("query_string", b""), b",".join(headers)
        token = token_of(query.decode("latin-1"), header.decode("latin-1"))
        if (refusal := refusal_of(token)) is not None:
            return refusal
        try:
            user = await self._logins.find(token, at=self._now())
        except CheckinsyncError as error:
            return self._outage.failed(error)
        self._outage.succeeded()
        return user or WRONG


class Outage:
    """Times in which users can't be authenticated; logs when one begins and when it ends."""

    def __init__(self) -> None:
        self._going_on = False

    def failed(self, error: CheckinsyncError) -> Refusal:
        """Return the answer for a request that failed with `error`."""
        if not self._going_on:
            self._going_on = True
            log.error("users can't be authenticated: %s", error)
        return AWAY

    def succeeded(self) -> None:
        """Note that a user was looked up successfully."""
        if self._going_on:
            self._going_on = False
            log.warning("users can be authenticated again")


def token_of(query: str, header: str) -> str:
    """Return a request's token, empty if there is none; the query takes precedence.

    Several tokens are joined by commas, as repeated headers are: that is never a valid token.
    """
    return ",".join(value for name, value in parse_qsl(query) if name == "token") or header


def refusal_of(token: str) -> Refusal | None:
    """Refuse what can't be a token, without asking the database; None: it may be one."""
    if not token:
        return MISSING
    return None if _TOKEN.fullmatch(token) else WRONG


def utc_now() -> datetime:
    """Return the time: aware, UTC."""
    return datetime.now(UTC)


def _headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    length = str(len(refusal.body)).encode()
    return [(b"content-type", b"application/json"), (b"content-length", length)]


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in HTTP, also a websocket if the server can do that; else close it."""
    answer = "http.response"
    if scope["type"] == "websocket":
        if (await receive())["type"] != "websocket.connect":  # it was closed meanwhile
            return
        answer = "websocket.http.response"
        if answer not in (scope.get("extensions") or {}):
            reason = refusal.message
            await send({"type": "websocket.close", "code": refusal.close_code, "reason": reason})
            return
    headers = _headers(refusal)
    await send({"type": f"{answer}.start", "status": refusal.status.value, "headers": headers})
    await send({"type": f"{answer}.body", "body": refusal.body})
