"""The schedule of a run: slots within the window, and retries in between; pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from checkinsync.model.user import User


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A user's next attempt."""

    at: datetime
    order: int
    """Place in the plan; breaks ties."""
    user: User = field(compare=False)


def stagger_within(window: timedelta, stagger: timedelta, *, starts: int) -> timedelta:
    """Return the time between two starts: `stagger`, or less so that the last is in the window."""
    return min(stagger, window / (starts - 1)) if starts > 1 else stagger


def plan(
    users: Sequence[tuple[User, datetime | None]],
    *,
    now: datetime,
    stagger: timedelta,
    window: timedelta,
) -> list[Entry]:
    """Return each user's first attempt, one slot after the other.

    `users`: with the time before which each must not start, or None.
    """
    step = stagger_within(window, stagger, starts=len(users))
    return [
        Entry(start(number, earliest, now=now, step=step), number, user)
        for number, (user, earliest) in enumerate(users)
    ]


def start(number: int, earliest: datetime | None, *, now: datetime, step: timedelta) -> datetime:
    """Return the start of the attempt that is `number` in the plan, from 0 on."""
    slot = now + number * step
    return slot if earliest is None else max(slot, earliest)


class Queue:
    """The attempts still to be made: first starts in their slots, and retries.

    A retry never takes the last free worker while first starts wait, so it delays none of them.
    """

    def __init__(self, starts: Iterable[Entry], *, workers: int) -> None:
        self._starts = list(starts)
        self._again: list[Entry] = []
        self._workers = workers
        heapq.heapify(self._starts)

    def plan(self, starts: Iterable[Entry]) -> None:
        """Queue first starts."""
        self._starts += starts
        heapq.heapify(self._starts)

    def __bool__(self) -> bool:
        """Return True if anything is left."""
        return bool(self._starts or self._again)

    def __len__(self) -> int:
        """Return how many are left."""
        return len(self._starts) + len(self._again)

    def first(self, most: int) -> list[Entry]:
        """Return the next attempts, whatever they are."""
        return heapq.nsmallest(most, [*self._starts, *self._again])

    @property
    def again_first(self) -> list[Entry]:
        """The retries, the next one first."""
        return sorted(self._again)

    def take(self, now: datetime, *, running: int, ahead: int = 0) -> Entry | None:
        """Remove and return the next attempt that is due and has a worker, or None. `ahead`: as
        many as may be begun before they have one."""
        if running >= self._workers + ahead:
            return None
        if self._starts and self._starts[0].at <= now:
            return heapq.heappop(self._starts)
        if self._again and self._again[0].at <= now and self._room_for_again(running):
            return heapq.heappop(self._again)
        return None

    def start_is_due(self, now: datetime) -> bool:
        """Return True if a first start that was due then waits for a worker; thread-safe."""
        return any(entry.at <= now for entry in self._starts[:1])

    def take_any(self) -> Entry | None:
        """Remove and return the first attempt, due or not: a probe while a service is away."""
        heap = min((h for h in (self._starts, self._again) if h), key=lambda h: h[0], default=None)
        return heapq.heappop(heap) if heap else None

    def next_at(self, *, running: int, ahead: int = 0) -> datetime | None:
        """Return the time from which `take` returns something, if no worker becomes free before."""
        if running >= self._workers + ahead:
            return None
        heaps = [self._starts, self._again if self._room_for_again(running) else []]
        return min((heap[0].at for heap in heaps if heap), default=None)

    def again(self, entry: Entry, at: datetime) -> None:
        """Queue one more attempt, at `at`."""
        heapq.heappush(self._again, replace(entry, at=at))

    def postpone(self, by: timedelta) -> None:
        """Postpone the first starts that wait, so that they keep their distance after a pause."""
        self._starts = [replace(entry, at=entry.at + by) for entry in self._starts]

    def rest(self) -> list[Entry]:
        """Remove and return everything left, in the plan's order."""
        left = sorted([*self._starts, *self._again], key=lambda entry: entry.order)
        self._starts, self._again = [], []
        return left

    def _room_for_again(self, running: int) -> bool:
        return not self._starts or self._workers == 1 or running < self._workers - 1
