"""Group commit: what several threads ask for at the same time is done in one go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST = 100
"""Calls in one group."""


@dataclass(slots=True)
class _Call(Generic[T, R]):
    argument: T
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Released when the call is done, or is to work for those that wait."""
    done: bool = False
    result: R | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.turn.acquire()


class Grouped(Generic[T, R]):
    """A function of many arguments at once, to be called by each thread with one.

    A thread that comes while others are at work waits for them, and then one of those that came
    meanwhile works for all of them.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        *,
        patience: Callable[[], float] = lambda: 0,
    ) -> None:
        """`work` returns the results in the order of its arguments; `patience`: seconds to wait
        for company before it."""
        self._work = work
        self._patience = patience
        self._lock = threading.Lock()
        self._waiting: list[_Call[T, R]] = []
        self._at_work = False

    def __call__(self, argument: T) -> R:
        """Return this argument's result. Raises what `work` raises."""
        call: _Call[T, R] = _Call(argument)
        with self._lock:
            self._waiting.append(call)
            waits, self._at_work = self._at_work, True
        if waits:
            call.turn.acquire()
        if not call.done:
            self._do()
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # it is done

    def _do(self) -> None:
        """Work for those who wait, and hand on to those who came meanwhile."""
        if patience := self._patience():
            time.sleep(patience)
        with self._lock:
            calls, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            results = self._work([call.argument for call in calls])
        except BaseException as error:  # noqa: BLE001 - each caller raises it
            for call in calls:
                call.error, call.done = error, True
        else:
            for call, result in zip(calls, results, strict=True):
                call.result, call.done = result, True
        with self._lock:
            self._at_work = bool(self._waiting)
            following = self._waiting[:1]
        for call in following + calls:
            call.turn.release()
