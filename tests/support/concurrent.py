"""Other processes that use the embedded database at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from checkinsync.embedded.account import Account

PROGRAM = """
import os, pathlib, signal, sys, time
from checkinsync.embedded import serving

home, then, careless = sys.argv[1:]
with serving(pathlib.Path(home), allow_nobody=True, for_tests=bool(careless)) as running:
    print(running.url, flush=True)
    exec(then)
"""


@dataclass
class Other:
    """A process inside `serving`."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start(
    home: Path,
    then: str = "sys.stdin.read()",
    *,
    careless: bool = True,
    python: str = sys.executable,
    within: Sequence[str] = (),
    **popen: object,
) -> subprocess.Popen[str]:
    """Start a process that uses the server, prints its address and does something.

    A careless server (`for_tests`) would lose commits in a crash. `within`: a command that starts
    it somewhere else, such as `unshare`.
    """
    command = [*within, python, "-c", PROGRAM, str(home), then, "careless" if careless else ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes, **popen)


@contextmanager
def another(home: Path, then: str = "sys.stdin.read()", **options: object) -> Iterator[Other]:
    """Run a process inside `serving` until the block ends."""
    with start(home, then, **options) as process:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield Other(process, url)
        process.stdin.close()
        process.wait(timeout=30)


def as_ordinary(user: Account) -> dict[str, object]:
    """Return how root starts a process as that user; skips if no Python can be reached."""
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        if user.can_run(Path(python)) and user.run(python, "-c", new_enough).returncode == 0:
            whose = {"user": user.uid, "group": user.gid, "extra_groups": [], "cwd": "/"}
            return {"python": python, "env": {"PYTHONPATH": ":".join(sys.path)}, **whose}
    pytest.skip("no Python that an ordinary user can reach")


def server_of(home: Path) -> int | None:
    """Return the process id of the running server, or None."""
    try:
        pid = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has ended, or is just ending
        return None
    return pid if b"postgres" in words else None


def kill_server(home: Path) -> None:
    """Kill all its processes with SIGKILL, as a crash of the machine would."""
    postmaster = server_of(home)
    for pid in (postmaster, *_children(postmaster)):
        with suppress(ProcessLookupError):  # a session that is just ending
            os.kill(pid, 9)
    while server_of(home):
        time.sleep(0.01)


def _children(parent: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(folder.name)
