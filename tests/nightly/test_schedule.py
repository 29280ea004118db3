"""The schedule of a run: slots, retries, pauses."""

from __future__ import annotations

from datetime import timedelta

from checkinsync.model.user import User
from checkinsync.nightly.schedule import Queue, plan, stagger_within
from support.factories import NOW

MINUTE = timedelta(minutes=1)


def users(count: int) -> list[tuple[User, None]]:
    return [(User(n + 1, str(n), None, None), None) for n in range(count)]


def entries(count: int, stagger: timedelta = 2 * MINUTE):
    return plan(users(count), now=NOW, stagger=stagger, window=timedelta(hours=4))


def test_starts_are_two_minutes_apart():
    assert [entry.at - NOW for entry in entries(3)] == [0 * MINUTE, 2 * MINUTE, 4 * MINUTE]


def test_the_stagger_shrinks_so_that_the_last_one_starts_inside_the_window():
    many = entries(1000)

    assert many[-1].at <= NOW + timedelta(hours=4)
    assert stagger_within(timedelta(hours=4), 2 * MINUTE, starts=1000) < 15 * timedelta(seconds=1)


def test_the_stagger_shrinks_no_more_than_it_has_to():
    four_hours = timedelta(hours=4)

    assert stagger_within(four_hours, 2 * MINUTE, starts=241) == MINUTE
    assert stagger_within(four_hours, 2 * MINUTE, starts=121) == 2 * MINUTE
    assert stagger_within(MINUTE, 2 * MINUTE, starts=1) == 2 * MINUTE


def test_a_rate_limited_user_starts_after_his_reset():
    [(first, _), second] = users(2)

    slots = plan([(first, NOW + 50 * MINUTE), second], now=NOW, stagger=MINUTE, window=60 * MINUTE)

    assert [entry.at - NOW for entry in slots] == [50 * MINUTE, MINUTE]


def test_nothing_is_taken_before_its_time_or_without_a_worker():
    queue = Queue(entries(2), workers=1)

    assert queue.take(NOW, running=1) is None
    assert queue.take(NOW, running=2) is None
    assert queue.next_at(running=1) is None
    assert queue.take(NOW, running=0).user.id == 1
    assert queue.take(NOW, running=0) is None
    assert queue.next_at(running=0) == NOW + 2 * MINUTE


def test_a_first_start_is_due_from_its_slot_on_until_it_is_taken():
    queue = Queue(entries(2)[1:], workers=1)
    queue.again(entries(1)[0], NOW)

    assert not queue.start_is_due(NOW + 2 * MINUTE - timedelta(seconds=1))
    assert queue.start_is_due(NOW + 2 * MINUTE)
    assert queue.start_is_due(NOW + 9 * MINUTE)
    queue.take(NOW + 9 * MINUTE, running=0)
    assert not queue.start_is_due(NOW + 9 * MINUTE)


def test_a_retry_leaves_the_last_worker_to_first_starts():
    first, second = entries(2)
    queue = Queue([second], workers=2)
    queue.again(first, NOW)

    assert queue.take(NOW, running=1) is None
    assert queue.take(NOW, running=0).user == first.user


def test_a_retry_takes_any_worker_when_no_first_start_is_left():
    queue = Queue([], workers=2)
    queue.again(entries(1)[0], NOW)

    assert queue.take(NOW, running=1) is not None


def test_after_a_pause_starts_keep_their_distance():
    queue = Queue(entries(3), workers=9)

    queue.postpone(10 * MINUTE)

    starts = [queue.take(NOW + 60 * MINUTE, running=0).at - NOW for _ in range(3)]
    assert starts == [10 * MINUTE, 12 * MINUTE, 14 * MINUTE]


def test_what_is_left_is_told_in_the_plan_s_order():
    one, two, three = entries(3)
    queue = Queue([three, two], workers=1)
    queue.again(one, NOW + 99 * MINUTE)

    assert [entry.user.id for entry in queue.rest()] == [1, 2, 3]
    assert not queue
