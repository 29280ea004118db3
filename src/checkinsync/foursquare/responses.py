"""An answer of Foursquare -> its `response`, or the error it means; pure.

Read by `meta.errorType` first and by the HTTP status last: 403 means two opposite things, and a
proxy's HTML has statuses too. Only JSON with an `errorType` speaks about a token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from checkinsync.errors import (
    FoursquareAway,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
    TokenRejected,
)
from checkinsync.foursquare import sanitize

HOUR = timedelta(hours=1)
"""The limit is per token and moving hour, so after one hour without requests all of it is back."""

WRONG_REQUEST = {400, 404, 405, 410, 413, 414, 422}
"""Statuses that say our request is wrong. The other 4xx (401, 403, 407, 408, 429, 451, …) may come
from whatever stands between us and Foursquare, and pass: without an `errorType` that we know they
prove nothing about the token."""

LONGEST_DETAIL = 200
"""Characters of Foursquare's own words in a sentence of ours."""

_NAME = re.compile(r"[a-z_]{1,40}")
"""What Foursquare's error types look like; anything else is not repeated in a message."""

_DIGITS = re.compile(r"[0-9]{1,10}")
"""Up to the year 2286 in Unix seconds: more is absurd, and no datetime holds much more."""


REJECTED = "Foursquare says the token is invalid or was revoked; the user must log in again"


class InvalidAuth(TokenRejected):
    """401 `invalid_auth`: the token is invalid or revoked, or was sent in a way not understood."""


class CredentialsNotSeen(RequestRefused):
    """400 `invalid_auth`: Foursquare found no credentials in the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names are looked up in any case."""
    body: bytes = field(repr=False)


class Envelope(msgspec.Struct, frozen=True):
    """`{"meta": …, "response": …}`; both may be missing or of a wrong type."""

    meta: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def error_type(self) -> str | None:
        """`meta.errorType`, where there is one."""
        return _text(self.meta, "errorType")

    @property
    def name_of_error(self) -> str:
        """The error type for a message."""
        name = self.error_type or ""
        return name if _NAME.fullmatch(name) else "no known error type"

    @property
    def detail(self) -> str:
        """What Foursquare says in words; in brackets behind a sentence of ours."""
        words = _text(self.meta, "errorDetail") or _text(self.meta, "errorMessage")
        return f" ({' '.join(words.split())[:LONGEST_DETAIL]})" if words else ""

    @property
    def has_response(self) -> bool:
        """Whether `response` is an object with something in it."""
        inside = bytes(self.response).strip()
        return inside.startswith(b"{") and bool(inside[1:-1].strip())


_envelope = msgspec.json.Decoder(Envelope).decode


def opened(answer: Answer, *, token: str) -> Envelope:
    """The envelope of an answer; raises FoursquareAway where it has none.

    Should Foursquare repeat `token` in its words about an error, they are left out.
    """
    envelope = _decoded(answer.body)
    if envelope is None:
        raise FoursquareAway(f"{_came(answer)} that is not JSON, or is cut off; try again later")
    if not isinstance(envelope.meta, dict):  # of the envelope only other parts may be absent
        raise FoursquareAway(
            f"{_came(answer)} that is not of Foursquare's form; try again later, "
            "and if it stays so, check CHECKINSYNC_API_URL"
        )
    if token in envelope.detail:
        return Envelope({**envelope.meta, "errorDetail": None, "errorMessage": None})
    return envelope


def _came(answer: Answer) -> str:
    return f"Foursquare's address answered HTTP {answer.status} with something"


def _decoded(body: bytes) -> Envelope | None:
    try:
        return _envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = sanitize.fit(body)
    try:
        return _envelope(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        value = sanitize.lenient(text)
        if not isinstance(value, dict):
            return None
        response = sanitize.dumped(value.get("response")).encode()
    except sanitize.NotJsonError:
        return None
    return Envelope(value.get("meta"), msgspec.Raw(response))


def response(answer: Answer, envelope: Envelope, *, now: datetime) -> bytes:
    """The envelope's `response` as JSON, or the error the answer means, raised.

    InvalidAuth and TokenRejected, CredentialsNotSeen and RequestRefused, RateLimited,
    QuotaExceeded, FoursquareAway. `now`: aware, UTC.
    """
    status = _status(answer, envelope)
    match envelope.error_type:
        case "invalid_auth" if status == HTTPStatus.BAD_REQUEST:
            raise CredentialsNotSeen(
                "Foursquare found no credentials in our request: a bug of ours, please report it"
            )
        case "invalid_auth":
            raise InvalidAuth(REJECTED)
        case "not_authorized":
            raise TokenRejected(
                "Foursquare says access is not allowed or was revoked; the user must log in again"
            )
        case "rate_limit_exceeded":
            until = reset(answer.headers, now=now)
            raise RateLimited(
                "this user's requests for the hour are used up; "
                f"Foursquare answers again at {until:%H:%M:%S} UTC",
                until=until,
            )
        case "quota_exceeded":
            raise QuotaExceeded(
                "the application's daily quota at Foursquare is used up; it clears at midnight UTC"
            )
        case "param_error" | "endpoint_error" as error_type:
            raise RequestRefused(
                f"Foursquare calls our request wrong: {error_type}{envelope.detail}",
                error_type=error_type,
                status=status,
            )
        case "server_error":
            raise FoursquareAway(
                f"Foursquare has an error of its own{envelope.detail}; try again later"
            )
        case "deprecated" if envelope.has_response:
            return bytes(envelope.response)
        case _:
            return _by_status(status, envelope)


def _status(answer: Answer, envelope: Envelope) -> int:
    """The HTTP status, but for a 2xx that carries another `meta.code`."""
    code = envelope.meta.get("code") if isinstance(envelope.meta, dict) else None
    says_more = _is_success(answer.status) and isinstance(code, int) and not _is_success(code)
    return int(code) if says_more and code is not None else answer.status


def _by_status(status: int, envelope: Envelope) -> bytes:
    """No `errorType`, or one we don't know: by the class of the status."""
    said = f"HTTP {status}, {envelope.name_of_error}{envelope.detail}"
    if _is_success(status):
        return bytes(envelope.response)
    if status in WRONG_REQUEST:
        raise RequestRefused(f"Foursquare calls our request wrong: {said}", status=status)
    raise FoursquareAway(f"Foursquare did not answer our question: {said}; try again later")


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def reset(headers: Mapping[str, str], *, now: datetime) -> datetime:
    """When a used-up limit is back: `X-RateLimit-Reset` (Unix seconds), if it can be true.

    Absent, unreadable, past or more than an hour ahead: one hour from now, since the limit is per
    moving hour and can't last longer.
    """
    latest = now + HOUR
    seconds = _number(headers, "X-RateLimit-Reset")
    if seconds is None:
        return latest
    until = datetime.fromtimestamp(seconds, UTC)
    return until if now < until <= latest else latest


def remaining(headers: Mapping[str, str]) -> int | None:
    """`X-RateLimit-Remaining`: requests left in this token's moving hour, where it is told."""
    return _number(headers, "X-RateLimit-Remaining")


def date(headers: Mapping[str, str]) -> datetime | None:
    """`Date`: what time it is there, to the second; aware, UTC. None where it is not told."""
    try:
        at = parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    digits = headers.get(name, "").strip()
    return int(digits) if _DIGITS.fullmatch(digits) else None


def _text(value: object, key: str) -> str | None:
    text = value.get(key) if isinstance(value, dict) else None
    return text if isinstance(text, str) and text else None
