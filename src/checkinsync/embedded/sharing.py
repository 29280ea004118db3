"""The users of the server, by locks that the kernel releases at any death; nothing is counted.

Locks hold across containers that share the folder, where a process number would mean nothing.
"""

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
    """Hold the lock that lets one process at a time start or stop the server.

    Raises EmbeddedDatabaseError where another one does not release it.
    """
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
    """This process's use of the server: a shared lock, from `__init__` until `leave`."""

    def __init__(self, path: Path) -> None:
        self._pid = os.getpid()
        self._fd = _open(path)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        _here.add(self._fd)

    def leave(self) -> bool:
        """End the use. Returns True if no other process uses it; call it inside `exclusive`."""
        if os.getpid() != self._pid:  # a forked child never was a user of its own
            return False
        try:
            return _try(self._fd, fcntl.LOCK_EX)
        finally:
            _here.discard(self._fd)
            os.close(self._fd)


@contextmanager
def offered(path: Path) -> Iterator[int | None]:
    """Lend a lock to hand on to a process that is started, which then holds it until its end.

    Yields the file's number; None where a process holds the lock already.
    """
    fd = _open(path)
    try:
        yield fd if _try(fd, fcntl.LOCK_EX) else None
    finally:
        os.close(fd)


_here: set[int] = set()
"""The locks of this process: a forked child closes its copies, which would keep them alive."""


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
