"""Marks of missing check-ins: when one counts as missed again, and how many are too many."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checkinsync.model.changes import RecentDeletions, Stored, Unseen
from checkinsync.model.span import VerifiedSpan
from checkinsync.sync.confirm_deletions import compared_since
from checkinsync.sync.deletions import AGAIN_AFTER, LIST_ALONE, OWN_WORD, is_due, judge
from support.factories import NOW

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def missed(count: int, expected: int, **marks) -> Unseen:
    rows = tuple(Stored(n, str(n), b"", None, NOW - DAY, **marks) for n in range(count))
    return Unseen(rows, expected, frozenset(range(count)))


# --- marks ----------------------------------------------------------------------------------------


def test_the_second_look_counts_twenty_hours_after_the_first():
    early = missed(2, 100, missing_since=NOW - AGAIN_AFTER + SECOND)
    late = missed(2, 100, missing_since=NOW - AGAIN_AFTER)
    unsure = Unseen(late.rows, late.expected)

    assert judge(early, RecentDeletions(100, 2), now=NOW).again == ()
    assert judge(late, RecentDeletions(100, 2), now=NOW).again == (0, 1)
    assert judge(unsure, RecentDeletions(100, 2), now=NOW).again == ()


def test_one_that_is_held_back_keeps_its_date_and_is_missed_again_like_any_other():
    marks = judge(missed(9, 10, missing_since=NOW - DAY), RecentDeletions(100, 9), now=NOW)

    assert marks.missing == ()
    assert marks.again == marks.held_back == tuple(range(9))


def test_what_is_marked_already_is_not_counted_twice():
    marked = missed(5, 100, missing_since=NOW - DAY)

    assert not judge(marked, RecentDeletions(100, 5), now=NOW).held_back
    assert judge(marked, RecentDeletions(100, 6), now=NOW).held_back


def test_a_mark_in_the_future_is_made_anew_counts_once_and_proves_nothing():
    future = missed(5, 100, missing_since=NOW + 900 * DAY)

    marks = judge(future, RecentDeletions(100, 5), now=NOW)

    assert marks.missing == tuple(range(5))
    assert marks.again == marks.held_back == ()


@pytest.mark.parametrize(
    ("days", "due"),
    [(-900, True), (0, True), (1, True), (6, True), (7, True), (8, False), (13, False), (14, True)],
)
@pytest.mark.parametrize("minutes", [-20, 0, 20])
def test_after_a_week_one_night_in_seven_is_spent_on_a_missing_one(days, due, minutes):
    at = NOW - days * DAY + timedelta(minutes=minutes)
    [row] = missed(1, 1, missing_since=at).rows

    assert is_due(row, now=NOW) == due


# --- the brake ------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 300), st.integers(1, 6000))
@example(4, 58, 0, 58)
@example(5, 58, 0, 58)
@example(6, 58, 0, 58)
@example(6, 29, 0, 5000)
@example(6, 30, 0, 5000)
@example(1, 1, 0, 1)
def test_more_than_five_and_more_than_their_share_are_held_back(count, expected, lately, total):
    marks = judge(missed(count, expected), RecentDeletions(total, lately), now=NOW)

    of_user = lately + count
    too_many = (
        (count > 5 and count > 0.2 * expected)
        or (of_user > 5 and of_user > 0.05 * total)
        or of_user > 0.5 * total
    )
    assert bool(marks.held_back) == too_many
    assert marks.missing == tuple(range(count))


@pytest.mark.parametrize(("lately", "released"), [(5, True), (6, False)])
def test_it_is_released_once_no_more_than_a_few_are_missing_in_all(lately, released):
    held = missed(2, 80, missing_since=NOW - DAY, held_back_since=NOW - DAY)

    marks = judge(held, RecentDeletions(300, lately), now=NOW)

    assert marks.held_back == ()
    assert marks.released == ((0, 1) if released else ())


def test_four_deletions_of_fifty_eight_are_nothing_unusual():
    assert not judge(missed(4, 58), RecentDeletions(58, 0), now=NOW).held_back


@pytest.mark.parametrize("brake", [LIST_ALONE, OWN_WORD])
def test_half_a_history_of_any_size_is_too_much_to_be_believed(brake):
    sizes = [14 if brake is LIST_ALONE else 26, 60, 400, 70_000]

    assert all(brake.holds(RecentDeletions(size, size // 2 + 1)) for size in sizes)


def test_the_brake_lets_users_delete_and_stops_faults():
    """The figures behind the brake's numbers: how often it holds, by what happened."""
    ordinary = [held(size, count) for size in SIZES for count in A_MONTH]
    cleared = [held(size, size // 10) for size in SIZES]
    cut = [held(size, -(-size * part // 100)) for size in SIZES for part in range(1, 101)]

    assert share(alone for alone, _ in ordinary) < 0.10
    assert share(alone for alone, _ in cut) > 0.95
    assert share(own for _, own in [*ordinary, *cleared]) == 0.0
    assert share(own for _, own in cut) > 0.79


SIZES = (58, 120, 300, 800, 2500, 8000)

A_MONTH = (1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12)
"""Deletions of ordinary months in which there are any."""


def held(size: int, count: int) -> tuple[bool, bool]:
    """Return True if so many are held back on the list's word alone, and on Foursquare's own."""
    marks = judge(missed(min(count, 250), min(size, 250)), RecentDeletions(size, 0), now=NOW)
    recent = RecentDeletions(size, count)
    return bool(marks.held_back) or LIST_ALONE.holds(recent), OWN_WORD.holds(recent)


def share(held) -> float:
    all_of_them = list(held)
    return sum(all_of_them) / len(all_of_them)


# --- compared since -------------------------------------------------------------------------------

TOP, MIDDLE, BOTTOM = NOW - DAY, NOW - 100 * DAY, None
SINCE = NOW - 40 * DAY


@pytest.mark.parametrize(
    ("ats", "met"),
    [
        ((-39, -1), True),
        ((-39, -41), False),  # one part was compared before only
        ((-39, 900), False),  # a wrong clock dated it
    ],
)
def test_all_the_history_has_to_have_been_compared_since(ats, met):
    upper, lower = (NOW + days * DAY for days in ats)
    known = [VerifiedSpan(TOP, MIDDLE, upper), VerifiedSpan(MIDDLE, BOTTOM, lower)]

    assert compared_since(known, SINCE, now=NOW) == met


@pytest.mark.parametrize(
    "known",
    [
        [],
        [VerifiedSpan(TOP, MIDDLE, NOW)],
        [VerifiedSpan(TOP, MIDDLE, NOW), VerifiedSpan(MIDDLE - DAY, BOTTOM, NOW)],
        [VerifiedSpan(SINCE - DAY, BOTTOM, NOW)],
    ],
)
def test_a_gap_in_what_was_compared_proves_nothing(known):
    assert not compared_since(known, SINCE, now=NOW)
