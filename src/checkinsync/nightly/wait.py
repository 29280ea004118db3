"""The one place where a run sleeps: until an attempt comes back, or a time has come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Protocol

from checkinsync.errors import Interrupted
from checkinsync.nightly.attempt import Ended

Inbox = SimpleQueue[list[Ended]]

LOOK = 0.25
"""Seconds between two looks for a request to stop, while a run waits."""


class Wait(Protocol):
    """Waits until something arrives or the time has come; the only place where a run sleeps."""

    def __call__(self, inbox: Inbox, *, until: datetime | None, running: int) -> list[Ended]:
        """Return what arrived, if anything. `running`: how many attempts may still arrive."""


def wait_for(
    inbox: Inbox,
    *,
    until: datetime | None,
    running: int,
    now: Callable[[], datetime],
    check_stop: Callable[[], None],
) -> list[Ended]:
    """Wait by a real clock, in short looks for a request to stop."""
    del running  # a real clock goes on by itself
    while True:
        left = LOOK if until is None else min(LOOK, (until - now()).total_seconds())
        with suppress(Empty):
            return inbox.get(timeout=max(0.0, left))
        if until is not None and now() >= until:
            return []
        try:
            check_stop()
        except Interrupted:
            return []  # the pages in hand come back soon
