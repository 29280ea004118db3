"""The nights' clock, shared by all processes through a file: whoever waits moves it on."""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

VALUES = struct.Struct("ddd")
"""Start of the night (Unix seconds), that moment on the machine's own clock, seconds skipped."""


class Clock:
    """Goes on with the machine's clock, and at once over every wait; `skew` is another host's."""

    def __init__(self, path: Path, *, skew: float = 0.0) -> None:
        """`skew`: by how many seconds this process sees it go fast."""
        self.skew = skew
        if not path.exists():
            path.write_bytes(VALUES.pack(0.0, 0.0, 0.0))
        with path.open("r+b") as file:
            self._values = mmap.mmap(file.fileno(), VALUES.size)

    def set(self, at: datetime) -> None:
        """A night begins."""
        self._values[:] = VALUES.pack(at.timestamp(), time.monotonic(), 0.0)

    def seconds(self) -> float:
        """Unix seconds, as this process sees them."""
        start, then, skipped = VALUES.unpack(self._values[:])
        return float(start + time.monotonic() - then + skipped + self.skew)

    def now(self) -> datetime:
        """The same: aware, UTC."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def skip(self, by: timedelta) -> None:
        """Nobody has anything to do for so long."""
        if by > timedelta():
            start, then, skipped = VALUES.unpack(self._values[:])
            self._values[:] = VALUES.pack(start, then, skipped + by.total_seconds())
