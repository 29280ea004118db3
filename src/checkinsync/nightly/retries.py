"""Each user's attempts in a run, under one policy: what is tried again, when, and how often."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from tenacity import (
    DoSleep,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from tenacity.wait import wait_base

from checkinsync.errors import (
    DatabaseBusy,
    DatabaseExhausted,
    FoursquareAway,
    LeaseLost,
    UnsteadyList,
)

RETRIED = (DatabaseBusy, DatabaseExhausted, FoursquareAway, LeaseLost, UnsteadyList)
"""Errors that may be over in a minute; any other ends the user's import for tonight."""


def retry_policy(*, retries: int, delay: timedelta) -> Retrying:
    """The policy of a run. `retries`: after the first attempt; `delay`: before the first retry."""
    return Retrying(
        stop=stop_after_attempt(retries + 1),
        wait=delays(delay),
        retry=retry_if_exception_type(RETRIED),
        reraise=True,
    )


def delays(delay: timedelta) -> wait_base:
    """Seconds before each retry: doubled each time, plus a little jitter (60, 120, 240)."""
    seconds = delay.total_seconds()
    return wait_exponential(multiplier=seconds) + wait_random(0, seconds / 20)


class Attempts:
    """The number of each user's current attempt, and whether another one follows a failure.

    Used by one thread only.
    """

    def __init__(self, policy: Retrying) -> None:
        self._policy = policy
        self._policy.begin()
        self._states: dict[int, RetryCallState] = {}

    def number(self, user_id: int) -> int:
        """Return the number of the user's attempt, from 1 on."""
        state = self._states.get(user_id)
        return state.attempt_number if state else 1

    def delay_after(self, user_id: int, error: Exception) -> timedelta | None:
        """Return the time before the next attempt, and count it; None where there is none."""
        state = self._state(user_id)
        state.set_exception((type(error), error, error.__traceback__))
        with suppress(type(error)):  # raised again where it is not, or no longer, to be retried
            decision = self._policy.iter(state)
            if isinstance(decision, DoSleep):
                state.prepare_for_next_attempt()
                return timedelta(seconds=decision)
        return None

    def restore(self, user_id: int, number: int) -> None:
        """Go back to an earlier attempt: the failures since then were not the user's."""
        self._state(user_id).attempt_number = number

    def _state(self, user_id: int) -> RetryCallState:
        if user_id not in self._states:
            self._states[user_id] = RetryCallState(self._policy, fn=None, args=(), kwargs={})
        return self._states[user_id]
