"""Retries in a run: which errors, after which time, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checkinsync.errors import (
    DatabaseBusy,
    DatabaseExhausted,
    FoursquareAway,
    LeaseLost,
    UnsteadyList,
    UserFailed,
    ValueRefused,
)
from checkinsync.nightly.retries import Attempts, retry_policy

USER, OTHER = 7, 8
MINUTE = timedelta(minutes=1)


@pytest.fixture
def attempts() -> Attempts:
    return Attempts(retry_policy(retries=3, delay=MINUTE))


@pytest.mark.parametrize(
    "kind", [DatabaseBusy, DatabaseExhausted, FoursquareAway, LeaseLost, UnsteadyList]
)
def test_what_may_pass_is_tried_again_after_one_two_and_four_minutes(attempts, kind):
    delays = [attempts.delay_after(USER, kind("it")) for _ in range(4)]

    jitter = MINUTE / 20
    for delay, least in zip(delays[:3], (MINUTE, 2 * MINUTE, 4 * MINUTE), strict=True):
        assert least <= delay <= least + jitter
    assert delays[3] is None
    assert attempts.number(USER) == 4


@pytest.mark.parametrize("error", [UserFailed("it"), ValueRefused("it"), KeyError("it")])
def test_what_stays_is_not_tried_again(attempts, error):
    assert attempts.delay_after(USER, error) is None
    assert attempts.number(USER) == 1


def test_each_user_has_attempts_of_their_own(attempts):
    attempts.delay_after(USER, FoursquareAway("it"))

    assert (attempts.number(USER), attempts.number(OTHER)) == (2, 1)


def test_restored_attempts_can_be_used_again(attempts):
    for _ in range(4):
        attempts.delay_after(USER, FoursquareAway("it"))

    attempts.restore(USER, 1)

    assert attempts.delay_after(USER, FoursquareAway("it")) is not None


def test_without_retries_the_first_failure_is_the_last():
    attempts = Attempts(retry_policy(retries=0, delay=MINUTE))

    assert attempts.delay_after(USER, FoursquareAway("it")) is None
