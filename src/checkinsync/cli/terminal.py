"""Lines that somebody pastes, waited for no longer than was said."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TextIO

from checkinsync.users.loopback import nobody_came

CHUNK = 4096


def lines(*, within: timedelta) -> Iterator[str]:
    """The lines of standard input, as they come, to its end. Raises LoginFailed out of time.

    Read past Python's own buffer: what it holds back can't be waited for.
    """
    stdin: TextIO | None = sys.stdin
    if stdin is None:  # it was closed before we began
        return
    deadline = time.monotonic() + within.total_seconds()
    held = b""
    while chunk := _chunk(stdin.fileno(), deadline, within):
        *whole, held = (held + chunk).split(b"\n")
        yield from map(_text, whole)
    yield _text(held)


def _chunk(number: int, deadline: float, within: timedelta) -> bytes:
    """What is there, at the end nothing."""
    ready, _, _ = select.select([number], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise nobody_came(within)
    return os.read(number, CHUNK)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip()
