"""Group commit: each caller gets its own result; those who come together are served together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from checkinsync.sync.grouped import MOST, Grouped


class Doubling:
    """Doubles numbers; the first group waits until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.goes_on = threading.Event()
        self.begun = threading.Event()

    def __call__(self, numbers):
        self.groups.append(list(numbers))
        if len(self.groups) == 1:
            self.begun.set()
            assert self.goes_on.wait(10)
        if 13 in numbers:
            raise ValueError("unlucky")
        return [2 * number for number in numbers]


def together(numbers):
    """Call for the first number, and for all others while that call is at work."""
    work = Doubling()
    call = Grouped(work)
    with ThreadPoolExecutor(len(numbers)) as threads:
        answers = [threads.submit(call, numbers[0])]
        assert work.begun.wait(10)
        answers += [threads.submit(call, number) for number in numbers[1:]]
        while len(call._waiting) < len(numbers) - 1:
            threading.Event().wait(0.001)
        work.goes_on.set()
    return work, answers


def test_who_comes_while_others_are_at_work_is_served_in_one_group():
    work, answers = together([1, 2, 3, 4])

    assert [answer.result() for answer in answers] == [2, 4, 6, 8]
    assert [sorted(group) for group in work.groups] == [[1], [2, 3, 4]]


def test_a_group_has_its_limit_and_nobody_is_forgotten():
    numbers = [n for n in range(MOST + 3) if n != 13]
    work, answers = together(numbers)

    assert [answer.result() for answer in answers] == [2 * number for number in numbers]
    assert max(map(len, work.groups)) <= MOST


def test_an_error_reaches_each_of_its_group_and_no_other():
    _, answers = together([1, 13, 14])

    assert answers[0].result() == 2
    for answer in answers[1:]:
        with pytest.raises(ValueError, match="unlucky"):
            answer.result()
