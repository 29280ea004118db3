"""How a token travels: in a header, or in the query where the header is not understood.

As `AuthBase`, since `requests` lets a `.netrc` replace an `Authorization` header given as a header.
"""

from __future__ import annotations

from typing import Literal

from requests import PreparedRequest
from requests.auth import AuthBase

from checkinsync.errors import SettingsError, TokenUnreadable

Way = Literal["header", "query"]


class InHeader(AuthBase):
    """`Authorization: Bearer`: documented, and no log on the way shows it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class InQuery(AuthBase):
    """`oauth_token=`: what recorded clients send."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.prepare_url(request.url, {"oauth_token": self._token})
        return request


WAYS: dict[Way, type[InHeader] | type[InQuery]] = {"header": InHeader, "query": InQuery}


def sendable(token: str) -> str:
    """The token without blanks around it; raises TokenUnreadable where it can't be sent at all."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenUnreadable(
            "the stored token is empty or holds characters that no Foursquare token has; "
            "the user must log in again"
        )
    return token


class Ways:
    """Which way of sending a token Foursquare takes: found out once, known to all threads.

    Setting a name is atomic, and two threads that find out at once find the same.
    """

    def __init__(self, token_in: str, remembered: str | None) -> None:
        """Raises SettingsError for a `token_in` that is none of `auto`, `header`, `query`."""
        if token_in not in {"auto", *WAYS}:
            raise SettingsError("CHECKINSYNC_TOKEN_IN must be auto, header or query")
        self._given = _way(token_in)
        self.worked = _way(remembered) if self._given is None else None

    @property
    def to_try(self) -> tuple[Way, ...]:
        """One way where it is given or known, else both: the header first."""
        known = self._given or self.worked
        return (known,) if known else ("header", "query")

    def remember(self, way: Way) -> None:
        """A request sent this way was answered as we like it."""
        self.worked = way


def _way(name: str | None) -> Way | None:
    return next((way for way in WAYS if way == name), None)
