"""What is news in a run: failures that last for nights, and their end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checkinsync.errors import TokenRejected, UnsteadyList
from checkinsync.nightly.alerts import Streak, troubled
from checkinsync.nightly.summary import RunRecord
from checkinsync.sync.outcome import Imported
from support.environment import add_users
from support.factories import NOW

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ODD = UnsteadyList("the list shifts")


FINISHED = """
INSERT INTO sync_state (user_id, last_checked_at) VALUES (%s, %s)
ON CONFLICT (user_id) DO UPDATE
   SET last_checked_at = excluded.last_checked_at, consecutive_failures = 0
"""
"""What a finished import leaves behind, which here is not a real one."""


@pytest.fixture
def nights(conn, run, clock):
    """Return a night of several runs: the alerts of each; the next night is a day later."""

    def nights(*hours: int):
        found, begun = [], clock.at
        for hour in hours or (0,):
            clock.at = begun + hour * HOUR
            summary = run(retries=0)
            found.append(summary.alerts)
            for report in summary.reports:
                if isinstance(report.outcome, Imported):
                    conn.execute(FINISHED, [report.user.id, clock.at])
        clock.at = begun + DAY
        return found

    return nights


def failing(alerts) -> list[tuple[int, int]]:
    return [(user.id, nights) for user, nights in alerts.failing]


def test_a_user_is_told_after_three_nights_and_again_each_week_and_once_when_it_is_over(
    conn, imports, nights
):
    one, two = add_users(conn, 2)
    imports.endings[one] = [ODD] * 11

    told = [nights()[0] for _ in range(13)]

    assert [(night, failing(a)) for night, a in enumerate(told, 1) if a.failing] == [
        (3, [(one, 3)]),
        (10, [(one, 10)]),
    ]
    assert [(n, [u.id for u in a.recovered]) for n, a in enumerate(told, 1) if a.recovered] == [
        (12, [one])
    ]
    assert two not in {user.id for alerts in told for user, _ in alerts.failing}


def test_a_user_who_comes_back_sooner_is_never_told(conn, imports, nights):
    [one] = add_users(conn, 1)
    imports.endings[one] = [ODD] * 2

    told = [nights()[0] for _ in range(4)]

    assert not any(alerts.failing or alerts.recovered for alerts in told)


def test_the_runs_that_catch_up_in_one_night_count_as_one(conn, imports, nights):
    [one] = add_users(conn, 1)
    nights()
    imports.endings[one] = [ODD] * 20

    told = [failing(alerts) for _ in range(4) for alerts in nights(0, 1, 2, 3)]

    assert told == [*[[]] * 8, [(one, 3)], *[[]] * 7]


def test_a_rejected_token_is_no_lasting_failure(conn, imports, nights):
    users = add_users(conn, 3)
    imports.endings[users[0]] = [ODD, ODD, TokenRejected("no longer accepted")]

    told = [nights()[0] for _ in range(3)]

    assert not any(alerts.failing for alerts in told)


def test_the_run_before_is_known_and_so_is_its_kill(conn, nights):
    add_users(conn, 1)

    [first] = nights()
    [second] = nights()
    conn.execute("UPDATE sync_runs SET outcome = 'running', finished_at = NULL WHERE id = 2")
    [third] = nights()

    assert first.before is None
    assert (second.before.id, second.before.outcome) == (1, "ok")
    assert (third.before.id, third.before.outcome) == (2, "killed")


@pytest.mark.parametrize(
    ("since", "nights"),
    [
        (None, 9),
        (NOW - 3 * DAY + HOUR, 3),
        (NOW - 4 * HOUR, 0),
        (NOW - 400 * DAY, 9),
        (NOW + DAY, 9),  # by a wrong clock
    ],
)
def test_a_streak_has_no_more_nights_than_runs_or_days(since, nights):
    assert Streak(9, since).nights(NOW) == nights


RUN = RunRecord(1, NOW, NOW, "web1", 10, 10, 0, 0, 0, 0, 0, 0, "ok")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"outcome": "away"}, True),
        ({"outcome": "killed"}, True),
        ({"outcome": "partial", "synced": 9, "failed": 1}, False),
        ({"outcome": "partial", "synced": 4, "failed": 6}, True),  # most
        ({"outcome": "partial", "synced": 8, "failed": 1}, True),  # one was not tried
        ({"outcome": "partial", "due": 1, "synced": 0, "failed": 1}, False),  # the only one
    ],
)
def test_a_run_is_in_trouble_if_it_is_not_about_single_users(changes, expected):
    assert troubled(replace(RUN, **changes)) is expected
