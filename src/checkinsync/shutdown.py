"""Graceful shutdown: signals that ask to end become an `Interrupted` at the next good moment."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

from checkinsync.errors import Interrupted

LOOK = 0.25
"""Seconds after which a sleeper looks for a signal: one that comes just before the system begins
to wait does not wake it."""

EXIT_BASE = 128
"""A process ended by signal N exits with 128 + N: 130 for SIGINT, 143 for SIGTERM."""

NAMES = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "XCPU", "PWR")
"""Signals that a terminal, a shell, a service manager, a batch system or a time limit sends to end
a process; each of them ends one that does not listen."""

ASKING = tuple(signal.Signals[f"SIG{name}"] for name in NAMES if hasattr(signal, f"SIG{name}"))
"""Those that this system has."""


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Deliver signals after the block: for imports, which an exception may cut anywhere."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Shutdown:
    """The request to stop. Work that can be cut anywhere is cut at once; a run or an import, inside
    `gracefully`, finishes its page first. Asked twice, all is cut at once."""

    def __init__(self) -> None:
        self._bell: SimpleQueue[None] = SimpleQueue()
        """Wakes who sleeps. Not an Event: a signal that comes as its own thread begins to wait for
        one would wait for that thread's lock, for ever."""
        self._reason: Interrupted | None = None
        self._graceful = False

    def listen(self) -> None:
        """Hear the signals, but those that our parent ignores (nohup); in the main thread only."""
        for number in ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    @contextmanager
    def gracefully(self) -> Iterator[None]:
        """Let a first signal within the block wait for the next `check`."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def check(self) -> None:
        """Raise Interrupted if a signal has asked to stop."""
        if self._reason is not None:
            raise self._reason

    def asked(self) -> bool:
        """Return True if a signal has asked to stop."""
        return self._reason is not None

    def sleep(self, seconds: float) -> None:
        """Sleep; raise Interrupted as soon as a signal asks to stop."""
        until = time.monotonic() + seconds
        while self._reason is None and (left := until - time.monotonic()) > 0:
            with suppress(Empty):
                self._bell.get(timeout=min(LOOK, left))
                self._bell.put(None)  # for others who sleep
        self.check()

    def ask(self, number: int) -> None:
        """Ask to stop, as that signal does, from any thread."""
        name = signal.Signals(number).name
        self._reason = Interrupted(
            f"interrupted by {name}; what was committed stays, and the next run goes on from there",
            exit_code=EXIT_BASE + number,
        )
        self._bell.put(None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        first = self._reason is None
        self.ask(number)
        assert self._reason is not None
        if not (first and self._graceful):
            raise self._reason
