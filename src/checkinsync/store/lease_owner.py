"""Names this process, and tells if another one is dead; knows processes, nothing else.

Dead is only what surely is: another host, another container and a process that can't be seen may
all be alive. Their leases end with their time.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")

NAMESPACES = ("pid", "time")
"""In another one a process has another number, or another start time. Kernels before 5.6 have one
of time only."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that can't be mistaken for another: a number is used again, a start time is not."""

    host: str
    """Host name, boot and name spaces: containers may share all but the last. The name alone where
    the kernel tells no more."""
    pid: int
    started: int
    """Clock ticks since the host's boot."""

    def __str__(self) -> str:
        """As it stands in a lease: `host pid started`."""
        return f"{self.host} {self.pid} {self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what `str` wrote; None where something else wrote it."""
        host, _, rest = text.partition(" ")
        numbers = rest.split()
        if len(numbers) != len(("pid", "started")) or not all(map(str.isdigit, numbers)):
            return None
        return cls(host, int(numbers[0]), int(numbers[1]))


def me(*, proc: Path = PROC) -> Owner:
    """Return this process. `proc`: where the kernel shows processes."""
    stat = _stat(proc / "self")
    return Owner("/".join((_name(), *_here(proc))), os.getpid(), stat.started if stat else 0)


def is_dead(owner: str, *, proc: Path = PROC) -> bool:
    """Return True if that owner was a process of this very host and surely lives no more.

    `proc`: as for `me`. What the kernel hides there (`hidepid`) may be alive.
    """
    other = Owner.parse(owner)
    if other is None or not _here(proc) or other.host != me(proc=proc).host:
        return False
    stat = _stat(proc / str(other.pid)) if _shows_us(proc) else None
    if stat is None:
        return not _exists(other.pid)
    return stat.zombie or stat.started != other.started


def _name() -> str:
    return socket.gethostname().replace(" ", "_") or "localhost"


@cache
def _here(proc: Path) -> tuple[str, ...]:
    """This boot and these name spaces of processes; nothing where the kernel does not tell."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        spaces = {path.name: path.stat().st_ino for path in (proc / "self/ns").iterdir()}
    except OSError:
        return ()
    found = [str(spaces[name]) for name in NAMESPACES if name in spaces]
    return (boot, *found) if "pid" in spaces else ()


def _shows_us(proc: Path) -> bool:
    """Return False where it shows the processes of another name space by other numbers."""
    try:
        return (proc / "self").readlink() == Path(str(os.getpid()))
    except OSError:
        return False


def _exists(pid: int) -> bool:
    """Return False only if there is no process of this number; one may exist and be hidden."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@dataclass(frozen=True, slots=True)
class _Stat:
    started: int
    zombie: bool


def _stat(folder: Path) -> _Stat | None:
    """Read when a process started, and if it only waits for its parent; None: not to be seen."""
    try:
        stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    return _Stat(started, zombie=state in "ZX" and threads <= 1)
