"""Answers as they go over the wire: the envelope, the error table, and pages that are not JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, and how it is sent: at once, by and by, cut off, or not at all."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"
    delay: float = 0.0
    """Seconds between the first half of the body and the rest."""
    pieces: int = 2
    """In how many pieces a delayed body is sent."""
    missing: int = 0
    """Bytes that are announced but never sent."""
    reset: bool = False
    """Reset the connection instead of answering."""
    preliminary: tuple[int, ...] = ()
    """Statuses of responses that come before this one, such as 103 (Early Hints)."""


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal, as the API words it."""

    status: int
    error_type: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def param_error(detail: str, *, status: int = 400) -> ApiError:
    """Our request is wrong."""
    return ApiError(status, "param_error", detail)


def enveloped(
    response: bytes = b"{}", *, meta: dict[str, Any], headers: dict[str, str], bare: bool = False
) -> Answer:
    """An answer in the API's envelope; `meta` holds the code and what else there is to say."""
    parts = [b'"meta":' + compact(meta)]
    if not bare:
        parts.append(b'"notifications":[{"type":"notificationTray","item":{"unreadCount":0}}]')
    parts.append(b'"response":' + response)
    return Answer(meta["code"], b"{" + b",".join(parts) + b"}", headers)


def refused(error: ApiError, *, request_id: str | None = None) -> Answer:
    """An error in the API's envelope."""
    meta: dict[str, Any] = {
        "code": error.status,
        "errorType": error.error_type,
        "errorDetail": error.detail,
    }
    if request_id:
        meta["requestId"] = request_id
    return enveloped(meta=meta, headers=error.headers, bare=True)


def as_json(value: object, *, status: int = 200) -> Answer:
    """JSON without an envelope."""
    return Answer(status, compact(value))


def html(status: int, body: str) -> Answer:
    """A web page, as of a proxy, a bot wall, or the login."""
    page = (
        f"<!DOCTYPE html>\n<html><head><title>Foursquare</title></head><body>{body}</body></html>"
    )
    return Answer(status, page.encode(), content_type=HTML)


def redirect(address: str) -> Answer:
    """Send the browser elsewhere."""
    return Answer(302, b"", {"Location": address}, content_type=HTML)


def compact(value: object) -> bytes:
    """JSON without spaces, in ASCII."""
    return json.dumps(value, separators=(",", ":")).encode()
