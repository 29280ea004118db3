"""Turns in which users ask Foursquare, a few at a time; and how many users are begun ahead of
them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from queue import SimpleQueue

MOST_AHEAD = 64
"""Users begun ahead of the turns, at most: each holds a page for a while, up to 0.2 MB."""

LATELY = timedelta(seconds=1)
"""Users are begun ahead for so long: nobody's lease is held for much longer than their import."""

BUSY = 20
"""From so many ends within `LATELY` on, users come fast enough to wait for each other."""

COMPANY = 0.02
"""Seconds that they wait then."""


class Turns:
    """A context manager that few threads are in at a time; the others wait their turn."""

    def __init__(self, count: int | None = None, *, now: Callable[[], datetime]) -> None:
        """`count`: None: no limit; `now`: aware, UTC."""
        self._free: SimpleQueue[None] | None = None if count is None else SimpleQueue()
        for _ in range(count or 0):
            self._leave()
        self._now = now
        self._ends: deque[datetime] = deque(maxlen=MOST_AHEAD)

    def __enter__(self) -> None:
        if self._free is not None:
            self._free.get()

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._free is not None:
            self._free.put(None)

    def note_end(self) -> None:
        """Note that a user is done."""
        self._ends.append(self._now())

    @property
    def ahead(self) -> int:
        """How many users more than there are turns may be begun: as many as were done lately."""
        since = self._now() - LATELY
        with suppress(IndexError):  # empty
            while self._ends[0] <= since:
                self._ends.popleft()
        return len(self._ends)

    @property
    def patience(self) -> float:
        """Seconds to wait for company: the turns have enough to do meanwhile."""
        return COMPANY if self.ahead >= BUSY else 0
