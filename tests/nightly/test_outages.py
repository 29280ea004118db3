"""Outages: when a service counts as down, and how long a run waits for it."""

from __future__ import annotations

from datetime import timedelta

from checkinsync.nightly.outages import DATABASE, FOURSQUARE, CircuitBreaker
from support.factories import NOW


def test_three_users_in_a_row_without_an_answer_and_it_is_away():
    breaker = CircuitBreaker(FOURSQUARE)

    for user in (1, 2, 2, 1):
        breaker.unanswered(user, 1, now=NOW)
    assert breaker.away_since is None
    breaker.unanswered(3, 1, now=NOW)

    assert breaker.away_since == NOW


def test_one_answer_in_between_and_it_is_there():
    breaker = CircuitBreaker(FOURSQUARE)

    for user in range(10):
        breaker.unanswered(user, 1, now=NOW)
        if user % 2:
            breaker.answered()

    assert breaker.away_since is None


def test_the_attempts_before_the_outage_are_remembered():
    breaker = CircuitBreaker(FOURSQUARE)

    for user, attempt in ((1, 1), (1, 2), (2, 1), (3, 1)):
        breaker.unanswered(user, attempt, now=NOW)

    assert breaker.in_a_row == {1: 1, 2: 1, 3: 1}


def test_pauses_grow_and_never_reach_beyond_giving_up():
    breaker, at, pauses = CircuitBreaker(DATABASE), NOW, []
    while at < NOW + DATABASE.gives_up_after:
        breaker.away(at)
        pauses.append((breaker.next_probe - at).total_seconds())
        at = breaker.next_probe

    assert pauses[:5] == [1, 2, 4, 8, 15]
    assert at == NOW + timedelta(seconds=120)
