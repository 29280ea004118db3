"""The hours of the nightly run, for where neither cron nor systemd keeps them: in a container."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

HOURS = range(2, 13)
"""The nightly run at 02:00 UTC, and each hour until noon for who is not imported yet."""

A_WHILE = timedelta(minutes=10)
"""The longest sleep: a machine may be suspended, or its clock be set."""


def next_start(now: datetime) -> datetime:
    """Return the first of these hours after `now` (aware, UTC)."""
    start = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while start.hour not in HOURS:
        start += timedelta(hours=1)
    return start


def keep(
    start_run: Callable[[], object],
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> None:
    """Start a run at each of these hours, and at once within them, until `sleep` raises."""
    start = now() if now().hour in HOURS else next_start(now())
    while True:
        while (left := start - now()) > timedelta(0):
            sleep(min(left, A_WHILE).total_seconds())
        start_run()
        start = next_start(now())
