"""An answer of Foursquare -> its `response`, or the error it means; pure.

Read by `meta.errorType` first and by the HTTP status last: 403 means two opposite things, and a
proxy's HTML has statuses too. Only JSON with an `errorType` speaks about a token.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from checkinsync.errors import (
    AccountSuspended,
    ApiGone,
    ApplicationSuspended,
    CheckinsyncError,
    FoursquareAway,
    QuotaExceeded,
    RequestRefused,
    TokenRejected,
)
from checkinsync.foursquare import envelope as envelopes
from checkinsync.foursquare import limits, unexpected
from checkinsync.foursquare.envelope import Answer, Envelope

WRONG_REQUEST = {400, 404, 405, 410, 413, 414, 422}
"""Statuses that say our request is wrong. The other 4xx (401, 403, 407, 408, 429, 451, …) may come
from whatever stands between us and Foursquare, and pass: without an `errorType` that we know they
prove nothing about the token."""

OF_APPLICATION = ("app", "client", "consumer", "developer", "project")
"""Beginnings of a `…_suspended` that is about the application; any other is about the user."""

REJECTED = "Foursquare says the token is invalid or was revoked{words}; the user must log in again"


class InvalidAuth(TokenRejected):
    """401 `invalid_auth`: the token is invalid or revoked, or was sent in a way not understood."""


class CredentialsNotSeen(RequestRefused):
    """400 `invalid_auth`: Foursquare found no credentials in the request."""


def opened(answer: Answer, *, token: str, now: datetime) -> Envelope:
    """Return the envelope of an answer, `token` masked in its words; `now`: aware, UTC.

    Raises the error that an answer without an envelope means: FoursquareAway, or one of those
    that a bare status and its headers tell of (RateLimited, PlanExhausted, ApiGone).
    """
    outer = envelopes.decoded(answer.body)
    words = envelopes.words_of(outer, token)
    is_ours = outer is not None and isinstance(outer.meta, dict)
    if outer is not None and is_ours and not unexpected.is_redirect(answer.status):
        return Envelope(outer.meta, bytes(outer.response), words)
    raise unexpected.without_envelope(answer, outer, words, now=now)


def response(answer: Answer, envelope: Envelope, *, now: datetime) -> bytes:
    """Return the envelope's `response` as JSON, or raise the error that the answer means.

    InvalidAuth and TokenRejected, AccountSuspended, CredentialsNotSeen and RequestRefused,
    RateLimited, QuotaExceeded and PlanExhausted, ApiGone, FoursquareAway. `now`: aware, UTC.
    """
    status = _status(answer, envelope)
    match envelope.error_type:
        case "invalid_auth" | "not_authorized" as error_type:
            raise _token_refused(error_type, status, envelope)
        case "rate_limit_exceeded":
            raise limits.rate_limited(answer.headers, envelope.words, now=now)
        case "credits_exhausted":
            raise limits.plan_exhausted(envelope.words)
        case "quota_exceeded":
            raise QuotaExceeded(
                f"the application's daily quota at Foursquare is used up{envelope.detail}; "
                "it clears at midnight UTC"
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
            return envelope.response
        case "deprecated" if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ApiGone(
                "Foursquare has switched this API off for the application"
                f"{envelope.detail}: nothing can be imported by it any more",
                error_type="deprecated",
                status=status,
                sure=not _is_success(status),
            )
        case str() as error_type if error_type.endswith("_suspended"):
            raise _suspended(error_type, envelope)
        case _:
            return _by_status(status, answer, envelope, now=now)


def _token_refused(error_type: str, status: int, envelope: Envelope) -> CheckinsyncError:
    if error_type == "not_authorized":
        return TokenRejected(
            f"Foursquare says access is not allowed or was revoked{envelope.detail}; "
            "the user must log in again"
        )
    if status == HTTPStatus.BAD_REQUEST:
        return CredentialsNotSeen(
            f"Foursquare found no credentials in our request{envelope.detail}: "
            "a bug of ours, please report it"
        )
    return InvalidAuth(REJECTED.format(words=envelope.detail))


def _suspended(error_type: str, envelope: Envelope) -> CheckinsyncError:
    if error_type.startswith(OF_APPLICATION):
        return ApplicationSuspended(
            f"Foursquare has suspended the application{envelope.detail}: no user can be imported "
            "until that is settled with Foursquare",
            error_type=envelope.name_of_error,
            sure=True,
        )
    return AccountSuspended(
        f"Foursquare has suspended this user's account{envelope.detail}: nothing can be imported "
        "until the user has settled that with Foursquare"
    )


def _status(answer: Answer, envelope: Envelope) -> int:
    """The HTTP status, but for a 2xx that carries another `meta.code`."""
    code = envelope.meta.get("code")
    says_more = _is_success(answer.status) and isinstance(code, int) and not _is_success(code)
    return int(code) if says_more and code is not None else answer.status


def _by_status(status: int, answer: Answer, envelope: Envelope, *, now: datetime) -> bytes:
    """Without an `errorType`, or with one that is unknown: by the class of the status."""
    if _is_success(status):
        return envelope.response
    unnamed = envelope.error_type is None
    if limits.is_about_plan(status, envelope.words):
        raise limits.plan_exhausted(envelope.words)
    told = unnamed or status == HTTPStatus.TOO_MANY_REQUESTS
    if told and limits.is_used_up(status, answer.headers, bare=unnamed, now=now):
        raise limits.rate_limited(answer.headers, envelope.words, now=now)
    said = f"HTTP {status}, {envelope.name_of_error}{envelope.detail}"
    if status in unexpected.GONE and unnamed:
        raise ApiGone(
            f"Foursquare has no such API any more: {said}; or CHECKINSYNC_API_URL names another "
            "address",
            status=status,
        )
    if status in WRONG_REQUEST:
        raise RequestRefused(f"Foursquare calls our request wrong: {said}", status=status)
    raise FoursquareAway(f"Foursquare did not answer our question: {said}; try again later")


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
