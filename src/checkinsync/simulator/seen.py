"""A request as it came in, and as the server's log remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

Way = Literal["header", "query"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request, taken apart; the token stands in `tokens`, by the way it was sent."""

    method: str
    path: str
    """Below `/v2/` for the API (`users/self/checkins`), else without the leading slash."""
    api: bool
    params: dict[str, str]
    headers: dict[str, str]
    """Names in lower case; without `authorization`."""
    tokens: dict[Way, str]
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Return a request from its line, its headers and its body."""
        address = urlsplit(target)
        params = dict(parse_qsl(address.query, keep_blank_values=True))
        named = {name.lower(): value for name, value in headers.items()}
        if named.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            params |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        tokens: dict[Way, str] = {}
        kind, _, bearer = named.pop("authorization", "").partition(" ")
        if kind.lower() == "bearer" and bearer:
            tokens["header"] = bearer.strip()
        if "oauth_token" in params:
            tokens["query"] = params.pop("oauth_token")
        path = address.path.strip("/")
        api = path.startswith("v2/")
        return cls(method, path.removeprefix("v2/"), api, params, named, tokens, body)

    @property
    def token(self) -> str | None:
        """The token, sent in either way."""
        return next(iter(self.tokens.values()), None)

    @property
    def way(self) -> Way | None:
        """The way in which the token was sent."""
        return next(iter(self.tokens), None)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request in the log, with the status that it was answered by (0: connection reset)."""

    token: str | None
    method: str
    path: str
    params: dict[str, str]
    """All parameters but `oauth_token`."""
    way: Way | None
    status: int
    at: float
    """The time by the server's clock (Unix seconds)."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case; without `authorization`."""

    @property
    def offset(self) -> int:
        """The `offset` asked for."""
        return int(self.params.get("offset", 0))

    @classmethod
    def of(cls, request: Request, *, status: int, at: float) -> Seen:
        """Return a request as the log keeps it."""
        return cls(
            token=request.token,
            method=request.method,
            path=request.path,
            params=request.params,
            way=request.way,
            status=status,
            at=at,
            headers=request.headers,
        )
