"""Being asked to stop: SIGINT and SIGTERM become an `Interrupted` at the next good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from checkinsync.errors import Interrupted

EXIT_BASE = 128
"""A process ended by signal N exits with 128 + N: 130 for SIGINT, 143 for SIGTERM."""


class Shutdown:
    """Whether somebody asked to stop. Work that can be cut anywhere is cut at once; a run or an
    import, inside `at_good_moments`, finishes its page first. Asked twice, all is cut at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._reason: Interrupted | None = None
        self._defer_retry = False

    def listen(self) -> None:
        """Take over both signals; in the main thread only."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    @contextmanager
    def gracefully(self) -> Iterator[None]:
        """Within the block a first signal waits for the next `check`."""
        self._defer_retry = True
        try:
            yield
        finally:
            self._defer_retry = False

    def check(self) -> None:
        """Raises Interrupted if somebody asked."""
        if self._reason is not None:
            raise self._reason

    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._asked.is_set()

    def sleep(self, seconds: float) -> None:
        """Sleep; raises Interrupted as soon as somebody asks."""
        if self._asked.wait(max(0.0, seconds)):
            self.check()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        first = self._reason is None
        name = signal.Signals(number).name
        self._reason = Interrupted(
            f"interrupted by {name}; what was committed stays, and the next run goes on from there",
            exit_code=EXIT_BASE + number,
        )
        self._asked.set()
        if not (first and self._defer_retry):
            raise self._reason
