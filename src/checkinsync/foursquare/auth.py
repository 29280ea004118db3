"""Sends a token: in a header, or in the query where the header is not understood."""

from __future__ import annotations

from typing import Literal, get_args

from checkinsync.config.validators import is_word
from checkinsync.errors import SettingsError, TokenRejected, TokenUnreadable

Way = Literal["header", "query"]
"""`Authorization: Bearer`, which is documented, and no log on the way shows it; or `oauth_token=`,
the form that recorded clients send."""

WAYS: tuple[Way, ...] = get_args(Way)

CHECKINS = "users/self/checkins"
"""The endpoint whose way is kept from run to run."""


def placed(token: str, way: Way) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the parameters of a query that send the token."""
    if way == "header":
        return {"Authorization": f"Bearer {token}"}, {}
    return {}, {"oauth_token": token}


def sendable(token: str) -> str:
    """Return the token without blanks around it; raises TokenUnreadable where it can't be sent."""
    token = token.strip()
    if not is_word(token):
        raise TokenUnreadable(
            "the stored token is empty or holds characters that no Foursquare token has; "
            "the user must log in again"
        )
    return token


class TokenPlacement:
    """The way of sending a token that each endpoint takes: found out once, known to all threads.

    One endpoint's way says nothing of the next. Setting a name is atomic, and two threads that
    find out at once find the same.
    """

    def __init__(self, token_in: str, remembered: str | None) -> None:
        """Raises SettingsError for a `token_in` that is none of `auto`, `header`, `query`."""
        if token_in not in {"auto", *WAYS}:
            raise SettingsError("CHECKINSYNC_TOKEN_IN must be auto, header or query")
        self._given = _way(token_in)
        known = _way(remembered) if self._given is None else None
        self.worked: dict[str, Way] = {CHECKINS: known} if known else {}
        self.doubted: set[tuple[str, str]] = set()
        """Tokens, by the endpoint that refused them in the header before any way was known."""

    def candidates(self, path: str, token: str) -> tuple[Way, ...]:
        """Return the way that is given; else both, first the one that worked here, or for
        check-ins.

        None is left for a token that was refused in what turned out to be the way that works.
        """
        if self._given:
            return (self._given,)
        if (path, token) in self.doubted:
            return () if self.worked.get(path) == "header" else ("query",)
        likely = self.worked.get(path) or self.worked.get(CHECKINS)
        return ("query", "header") if likely == "query" else ("header", "query")

    def is_final(self, path: str, refusal: Exception) -> bool:
        """Return True if the way is known to work, so that the refusal is about the token."""
        return path in self.worked and isinstance(refusal, TokenRejected)

    def may_be_placement(self, path: str, token: str) -> bool:
        """Return True if a refusal may be about the way as well as the token; noted if so."""
        doubtful = not self._given and path not in self.worked
        if doubtful:
            self.doubted.add((path, token))
        return doubtful

    def remember(self, path: str, way: Way) -> None:
        """Note that a request sent this way got a good answer."""
        self.worked[path] = way


def _way(name: str | None) -> Way | None:
    return next((way for way in WAYS if way == name), None)
