"""The limits: requests per token, moving hour and group, and per day for all tokens."""

from __future__ import annotations

import math
from collections import defaultdict, deque

from checkinsync.simulator.answers import ApiError
from checkinsync.simulator.switches import Switches

HOUR = 3600
DAY = 86_400
ABSURD = 99_999_999_999
"""A reset in the year 5138."""


class Limits:
    """Counts the requests that are let through; those that are refused do not count."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._passed: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._day = 0
        self._today = 0

    def let_through(self, token: str, group: str, *, now: float) -> dict[str, str]:
        """The rate-limit headers of a good answer; ApiError 403 or 429 when nothing is left."""
        self._count_day(now)
        passed = self._passed[token, group]
        while passed and passed[0] <= now - HOUR:
            passed.popleft()
        limit = self._switches.hourly_limit
        if len(passed) >= limit:
            reset = passed[0] + HOUR if passed else now + HOUR
            raise rate_limit_exceeded(self._switches, reset=reset, now=now)
        passed.append(now)
        self._today += 1
        return headers(self._switches, Limit=limit, Remaining=limit - len(passed))

    def _count_day(self, now: float) -> None:
        day = int(now // DAY)
        if day != self._day:
            self._day, self._today = day, 0
        quota = self._switches.daily_quota
        if quota is not None and self._today >= quota:
            raise quota_exceeded()


def rate_limit_exceeded(switches: Switches, *, reset: float, now: float) -> ApiError:
    """The hourly limit of a token is reached; `reset` in Unix seconds, if the header is true."""
    told = {
        "true": {"Reset": math.ceil(reset)},
        "absent": {},
        "past": {"Reset": int(now) - HOUR},
        "absurd": {"Reset": ABSURD},
    }[switches.reset_header]
    named = headers(switches, Limit=switches.hourly_limit, Remaining=0, **told)
    return ApiError(403, "rate_limit_exceeded", "Quota exceeded", named)


def quota_exceeded() -> ApiError:
    """The application's daily quota is used up; no header says until when."""
    return ApiError(429, "quota_exceeded", "Your application's daily quota is used up.")


def headers(switches: Switches, **values: int) -> dict[str, str]:
    """The rate-limit headers, spelt as the switch has it."""
    told = {f"X-RateLimit-{name}": str(value) for name, value in values.items()}
    match switches.header_case:
        case "lower":
            return {name.lower(): value for name, value in told.items()}
        case "upper":
            return {name.upper(): value for name, value in told.items()}
    return told
