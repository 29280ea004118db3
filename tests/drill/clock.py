"""The clock of the nights, shared by all processes through a file: a wait moves it on."""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

VALUES = struct.Struct("ddd")
"""Start of the night (Unix seconds), the same moment on the machine's clock, seconds skipped."""


class Clock:
    """Runs with the machine's clock, and skips every wait; `skew` stands for another host."""

    def __init__(self, path: Path, *, skew: float = 0.0) -> None:
        """`skew`: seconds by which the clock is ahead for this process."""
        self.skew = skew
        if not path.exists():
            path.write_bytes(VALUES.pack(0.0, 0.0, 0.0))
        with path.open("r+b") as file:
            self._values = mmap.mmap(file.fileno(), VALUES.size)

    def set(self, at: datetime) -> None:
        """Set the start of a night."""
        self._values[:] = VALUES.pack(at.timestamp(), time.monotonic(), 0.0)

    def seconds(self) -> float:
        """Return the time in Unix seconds, as this process sees it."""
        start, then, skipped = VALUES.unpack(self._values[:])
        return float(start + time.monotonic() - then + skipped + self.skew)

    def now(self) -> datetime:
        """Return the same time: aware, UTC."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def skip(self, by: timedelta) -> None:
        """Move the clock on."""
        if by > timedelta():
            start, then, skipped = VALUES.unpack(self._values[:])
            self._values[:] = VALUES.pack(start, then, skipped + by.total_seconds())
