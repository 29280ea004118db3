"""Who this process is, and whether another one still lives; knows processes, nothing else."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that can't be mistaken for another: a number is used again, a start time is not."""

    host: str
    """Host name, boot and process name space: containers may share all but the last."""
    pid: int
    started: int
    """Clock ticks since the host's boot."""

    def __str__(self) -> str:
        """As it stands in a lease: `host pid started`."""
        return f"{self.host} {self.pid} {self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """What `str` wrote; None where something else wrote it."""
        host, _, rest = text.partition(" ")
        numbers = rest.split()
        if len(numbers) != len(("pid", "started")) or not all(map(str.isdigit, numbers)):
            return None
        return cls(host, int(numbers[0]), int(numbers[1]))


def me() -> Owner:
    """This process."""
    return Owner(_host(), os.getpid(), _started(os.getpid()) or 0)


def is_dead(owner: str) -> bool:
    """Whether that owner was a process of this host and lives no more; False if it can't tell."""
    other = Owner.parse(owner)
    if other is None or other.host != _host() or not Path("/proc/self/stat").exists():
        return False
    return _started(other.pid) != other.started


@cache
def _host() -> str:
    name = socket.gethostname().replace(" ", "_") or "localhost"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # no Linux: a dead owner's lease then ends with its time
        return name
    return f"{name}/{boot}/{space}"


def _started(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
