"""A process from its start to its end: its time, and the most memory that it held."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.places import KEY, TESTS

OURS = str(Path(sys.executable).with_name("checkinsync"))
LOOK = 0.02
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Ran:
    """What a process took."""

    seconds: float
    cpu: float
    """Seconds of the processor, without those of other processes such as the database."""
    peak: int
    """Bytes of memory held at most: `VmHWM` as last seen."""
    out: str


def run(*words: str, env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> Ran:
    """Run a command to its end. Raises RuntimeError where it ends with another exit code."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        **(env or {}),
    }
    start = time.perf_counter()
    with subprocess.Popen(
        words, env=environ, cwd=TESTS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        peak: list[int] = [0]
        looking = threading.Thread(target=_look, args=(process.pid, peak))
        looking.start()
        before = _used()
        out, err = process.communicate()
        seconds, cpu = time.perf_counter() - start, _used() - before
        looking.join()
    if process.returncode not in codes:
        raise RuntimeError(f"{' '.join(words)}: exit code {process.returncode}\n{err[-2000:]}")
    return Ran(seconds, cpu, peak[0], out)


def ours(
    *words: str, url: str, api: str = "http://127.0.0.1:9/v2", codes: tuple[int, ...] = (0,)
) -> Ran:
    """Run a command of ours against a database and a server of pages."""
    environ = {
        "CHECKINSYNC_DATABASE_URL": url,
        "CHECKINSYNC_ENCRYPTION_KEY": KEY,
        "CHECKINSYNC_API_URL": api,
    }
    return run(OURS, *words, env=environ, codes=codes)


def _used() -> float:
    """Return the seconds of the processor that all ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _look(pid: int, peak: list[int]) -> None:
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            found = status.read_text().partition("VmHWM:")[2].split()[:1]
        except OSError:
            return
        if not found:  # it has ended, and nobody has waited for it yet
            return
        peak[0] = max(peak[0], int(found[0]) * 1024)
        time.sleep(LOOK)
