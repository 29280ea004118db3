"""Who uses the server: locks that the kernel lets go of at any death; no counting, no pid files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkinsync.errors import EmbeddedDatabaseError

PATIENCE = 600.0
"""Seconds to wait for another process that starts or stops the server: a recovery takes a while."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock that lets one process at a time start or stop the server."""
    fd = _open(path)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _try(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedDatabaseError(
                    f"another process has been starting or stopping the embedded database for"
                    f" {PATIENCE:.0f} seconds (it holds {path}): end it, then try again."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


class SharedUse:
    """That this process uses the server: a shared lock, from `__init__` until `leave`."""

    def __init__(self, path: Path) -> None:
        self._pid = os.getpid()
        self._fd = _open(path)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        _here.add(self._fd)

    def leave(self) -> bool:
        """Use it no more. True: nobody else does; to be asked while it is one's `turn`."""
        if os.getpid() != self._pid:  # a forked child never was a member
            return False
        try:
            return _try(self._fd, fcntl.LOCK_EX)
        finally:
            _here.discard(self._fd)
            os.close(self._fd)


_here: set[int] = set()
"""The open locks of this process: a forked child closes them, or it would keep them alive."""


def _let_go() -> None:
    for fd in _here:
        os.close(fd)
    _here.clear()


os.register_at_fork(after_in_child=_let_go)


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    folder = path.parent.stat()
    if os.fstat(fd).st_uid != folder.st_uid and os.geteuid() == 0:
        os.fchown(fd, folder.st_uid, folder.st_gid)  # root, in a user's folder: stays the user's
    return fd


def _try(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
