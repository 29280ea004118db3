"""Who is fresh, who is stale, and when nobody is served at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checkinsync.model.standing import Standing, counted, none_active, none_fresh
from support.factories import NOW

DAY = timedelta(days=1)
OLD = NOW - 300 * DAY
FINE = Standing(1, "f1", "Ada", "ok", True, OLD, NOW - timedelta(hours=3))
NEW = replace(FINE, state="new", last_checked_at=None)


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(), True),
        (DAY, True),
        (DAY + timedelta(seconds=1), False),
        (-timedelta(minutes=5), True),  # clocks of two machines
        (-timedelta(minutes=5, seconds=1), False),
        (-300 * DAY, False),
    ],
)
def test_an_instant_is_fresh_if_it_is_young_and_not_in_the_future(age, fresh):
    user = replace(FINE, last_checked_at=NOW - age)

    assert user.is_fresh(NOW, DAY) is fresh
    assert user.is_stale(NOW, DAY) is not fresh
    assert user.group(at=NOW, max_age=DAY) == ("ok" if fresh else "stale")
    assert none_fresh([user], at=NOW, max_age=DAY) is not fresh


@pytest.mark.parametrize(
    ("created", "stale"),
    [(NOW, False), (NOW - DAY, False), (OLD, True), (None, True), (NOW + 300 * DAY, True)],
)
def test_a_user_who_connected_lately_awaits_the_first_run(created, stale):
    user = replace(NEW, created_at=created)

    assert user.is_stale(NOW, DAY) is stale
    assert user.group(at=NOW, max_age=DAY) == "new"
    assert none_fresh([user], at=NOW, max_age=DAY) is stale


@pytest.mark.parametrize(
    ("changes", "stale", "strict"),
    [
        ({}, True, True),
        ({"state": "failing"}, True, True),
        ({"state": "rate_limited"}, True, True),
        ({"state": "needs_reauth"}, False, True),
        ({"state": "needs_reauth", "last_checked_at": NOW}, False, True),
        ({"state": "needs_reauth", "active": False}, False, False),
        ({"state": "paused"}, False, False),
        ({"active": False}, False, False),
    ],
)
def test_who_can_not_be_imported_is_stale_only_if_asked_for_strictly(changes, stale, strict):
    user = replace(FINE, **{"last_checked_at": OLD, **changes})

    assert user.is_stale(NOW, DAY) is stale
    assert user.is_stale(NOW, DAY, strict=True) is strict


@pytest.mark.parametrize("change", [{"state": "paused"}, {"state": "needs_reauth"}])
def test_with_nobody_fresh_nobody_is_served_whatever_the_reason(change):
    users = [replace(FINE, last_checked_at=OLD, **change)] * 2

    assert none_fresh(users, at=NOW, max_age=DAY)
    assert not none_fresh([*users, FINE], at=NOW, max_age=DAY)


def test_with_nobody_active_nobody_is_served_however_fresh():
    assert none_active([replace(FINE, active=False)] * 2)
    assert not none_active([replace(FINE, active=False), FINE])


def test_without_users_nobody_has_to_be_served():
    assert not none_active([])
    assert not none_fresh([], at=NOW, max_age=DAY)
    assert counted([], at=NOW, max_age=DAY) == {}


def test_each_user_is_counted_once():
    users = [
        FINE,
        NEW,
        replace(FINE, active=False),
        replace(FINE, state="paused", active=False),
        replace(FINE, state="needs_reauth"),
        replace(FINE, last_checked_at=OLD),
        FINE,
    ]

    assert counted(users, at=NOW, max_age=DAY) == {
        "ok": 2, "new": 1, "stale": 1, "needs_reauth": 1, "paused": 1, "inactive": 1,
    }  # fmt: skip
