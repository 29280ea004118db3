"""The hourly limit and the application's plan, as answers tell of them; also the time there; pure.

Each limit is reported in several forms: by an `errorType`, by a status and headers, or in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from checkinsync.errors import PlanExhausted, RateLimited
from checkinsync.foursquare.envelope import in_brackets

HOUR = timedelta(hours=1)
"""The limit is per token and moving hour, so after one hour without requests all of it is back."""

_DIGITS = re.compile(r"[0-9]{1,10}")
"""Up to the year 2286 in Unix seconds: more is absurd, and no datetime holds much more."""

_CREDITS = re.compile(r"\bcredits?\b", re.IGNORECASE)
"""The newer gateway's word for the plan (seen)."""

REFUSED = {403, 429}
"""Statuses of a limit that is used up."""


def rate_limited(headers: Mapping[str, str], words: str, *, now: datetime) -> RateLimited:
    """Return the error of an hourly limit that is used up."""
    until = back_at(headers, now=now)
    return RateLimited(
        f"this user's requests for the hour are used up{in_brackets(words)}; "
        f"Foursquare answers again at {until:%H:%M:%S} UTC",
        until=until,
    )


def plan_exhausted(words: str) -> PlanExhausted:
    """Return the error of a plan that is used up."""
    return PlanExhausted(
        f"the application's plan at Foursquare is used up{in_brackets(words)}; "
        "no user can be imported until it is renewed there"
    )


def is_about_plan(status: int, words: str) -> bool:
    """Return True for 402, and for a refusal without an `errorType` that speaks of credits."""
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return True
    return status in REFUSED and bool(_CREDITS.search(words))


def is_used_up(status: int, headers: Mapping[str, str], *, bare: bool, now: datetime) -> bool:
    """Return True if an answer without an `errorType` reports the hourly limit all the same.

    403 or 429 with `X-RateLimit-Remaining: 0`, or where that is not told, with a reset that can be
    true; also 429 with a `Retry-After`, and 403 with one if it is `bare`: with no body, or JSON.
    Source: documented, and seen with an empty body.
    """
    if status not in REFUSED:
        return False
    left = remaining(headers)
    if left == 0 or (left is None and reset(headers, now=now) is not None):
        return True
    is_asked_to_wait = retry_after(headers, now=now) is not None
    return is_asked_to_wait and (bare or status == HTTPStatus.TOO_MANY_REQUESTS)


def back_at(headers: Mapping[str, str], *, now: datetime) -> datetime:
    """Return when a used-up limit is back: at the reset that is told, else after `Retry-After`.

    One hour from now where neither is told: longer it can't last.
    """
    latest = now + HOUR
    return reset(headers, now=now) or min(retry_after(headers, now=now) or latest, latest)


def reset(headers: Mapping[str, str], *, now: datetime) -> datetime | None:
    """Return `X-RateLimit-Reset` (Unix seconds) if it can be true: ahead, by an hour at most."""
    seconds = _number(headers, "X-RateLimit-Reset")
    if seconds is None:
        return None
    at = datetime.fromtimestamp(seconds, UTC)
    return at if now < at <= now + HOUR else None


def retry_after(headers: Mapping[str, str], *, now: datetime) -> datetime | None:
    """Return when `Retry-After` says to come back, in seconds or as a date, if that is ahead."""
    seconds = _number(headers, "Retry-After")
    at = _date(headers, "Retry-After") if seconds is None else now + timedelta(seconds=seconds)
    return at if at is not None and at > now else None


def remaining(headers: Mapping[str, str]) -> int | None:
    """Return `X-RateLimit-Remaining`: requests left in this token's moving hour, where told."""
    return _number(headers, "X-RateLimit-Remaining")


def date(headers: Mapping[str, str]) -> datetime | None:
    """Return `Date`: what time it is there, to the second; aware, UTC. None where not told."""
    return _date(headers, "Date")


def _date(headers: Mapping[str, str], name: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(headers.get(name, ""))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _number(headers: Mapping[str, str], name: str) -> int | None:
    digits = headers.get(name, "").strip()
    return int(digits) if _DIGITS.fullmatch(digits) else None
