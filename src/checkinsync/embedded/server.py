"""The server of a cluster: found or started, and stopped; by `pg_ctl`, not by signals of ours."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from checkinsync.embedded import configuration
from checkinsync.embedded.account import run
from checkinsync.embedded.binaries import Programs, forget_old_copies
from checkinsync.embedded.cluster import PORT, ROLE, Cluster, no_space
from checkinsync.errors import EmbeddedDatabaseError

DATABASE = "checkinsync"

PATIENCE = 600
"""Seconds for a start or a stop: a recovery after a crash writes again what was lost."""

ORPHANS = 30.0
"""Seconds for the processes of a killed server to notice, and to let go of its memory."""

NOBODYS_PID = 2**31 - 2
"""A process number that no system gives away."""

BIG_LOG = 2**20
"""Bytes after which the server's log starts anew."""

ACCEPTING, REJECTING = 0, 1
"""What pg_isready's exit codes mean: ready; there, but starting or stopping."""

MAKE_DATABASE = """
SELECT format('CREATE DATABASE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""


@dataclass(frozen=True, slots=True)
class Server:
    """What it takes to start, find and stop the server of a cluster."""

    cluster: Cluster
    clients: Programs
    """For this process."""
    service: Programs
    """For the account: the same, or a copy that it can reach."""

    def bring_up(self, *, for_tests: bool) -> None:
        """Find it running, or start it; wait while it is starting or stopping."""
        deadline = time.monotonic() + PATIENCE
        while (answer := self._ask()) != ACCEPTING:
            if answer != REJECTING and not self._is_there():
                self._start(for_tests=for_tests)
                return
            if time.monotonic() > deadline:
                raise EmbeddedDatabaseError(
                    f"the embedded database is there but not ready after {PATIENCE} seconds;"
                    f" its log is {self.cluster.log}"
                )
            time.sleep(0.05)

    def make_database(self) -> None:
        """Make our database unless it is there; also shows that this process can connect."""
        socket = self.cluster.socket_dir
        variables = ("-v", "ON_ERROR_STOP=1", "-v", f"name={DATABASE}")
        command = (self.clients["psql"], "-XqAt", *variables, "-h", socket)
        target = ("-p", str(PORT), "-U", ROLE, "-d", "postgres")
        said = run(*command, *target, text=MAKE_DATABASE)
        if said.returncode != 0:
            raise EmbeddedDatabaseError(f"the embedded database refuses us: {said.stderr.strip()}")

    def stop(self) -> str | None:
        """Stop it, ending what sessions there are. The complaint, if it does not stop."""
        data = self.cluster.data
        command = (self.service["pg_ctl"], "stop", "-s", "-w", "-m", "fast")
        said = self.cluster.account.run(*command, "-t", str(PATIENCE), "-D", data)
        if said.returncode != 0 and self._is_there():
            return said.stderr.strip()
        self.cluster.forget_socket_dir()
        return None

    def _ask(self) -> int:
        socket = self.cluster.socket_dir
        return run(
            *(self.clients["pg_isready"], "-q", "-t", "3", "-h", socket, "-p", str(PORT)),
            *("-U", ROLE, "-d", "postgres"),
        ).returncode

    def _is_there(self) -> bool:
        pid = _pid_in(self.cluster.data / "postmaster.pid")
        return pid is not None and _serves(pid, self.cluster.data)

    def _start(self, *, for_tests: bool) -> None:
        """Start it where none is. What a killed one left behind is recovered by PostgreSQL."""
        forget_old_copies(self.service, base=self.cluster.base)
        configuration.write(self.cluster, major=self.service.major, for_tests=for_tests)
        self._free_from_strangers()
        _start_anew(self.cluster.log)
        command = (self.service["pg_ctl"], "start", "-s", "-w", "-t", str(PATIENCE))
        where = ("-D", self.cluster.data, "-l", self.cluster.log)
        deadline = time.monotonic() + ORPHANS
        while True:
            said_before = _size(self.cluster.log)
            said = self.cluster.account.run(*command, *where)
            if said.returncode == 0:
                return
            why = _fatal(self.cluster.log, said_before) or said.stderr.strip()
            if "still in use" not in why or time.monotonic() > deadline:
                raise EmbeddedDatabaseError(
                    f"the embedded database in {self.cluster.data} does not start: {why}."
                    f"{no_space(self.cluster.base)} Its log is {self.cluster.log}"
                )
            time.sleep(0.2)

    def _free_from_strangers(self) -> None:
        """A killed server's lock files may name a process number that another program has now.

        The one in the data keeps the rest of its lines: by them PostgreSQL sees whether processes
        of the killed server still use its memory, and waits rather than spoil the data.
        """
        pid_file = self.cluster.data / "postmaster.pid"
        socket = self.cluster.socket_dir / f".s.PGSQL.{PORT}"
        lock = socket.with_name(f"{socket.name}.lock")
        for path in (pid_file, lock):
            pid = _pid_in(path)
            if pid is None:  # cut off by a power failure: PostgreSQL stops at it
                path.unlink(missing_ok=True)
            elif _is_taken(pid):
                _name_nobody(path)


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8", errors="replace").split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_taken(pid: int) -> bool:
    """Whether a process has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, data: Path) -> bool:
    """Whether that process is the server of these data, by its command line."""
    if Path("/proc/self/cmdline").exists():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"postgres") and os.fsencode(data) in words
    line = run("ps", "-p", str(pid), "-o", "command=").stdout
    return line.split(" -D ")[0].endswith("postgres") and str(data) in line


def _name_nobody(lock: Path) -> None:
    """Replace the process number, in place: root follows no link in the account's folders."""
    fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    with open(fd, "r+", encoding="utf-8", errors="surrogateescape") as file:
        rest = file.read().partition("\n")[2]
        file.seek(0)
        file.write(f"{NOBODYS_PID}\n{rest}")
        file.truncate()


def _start_anew(log: Path) -> None:
    if _size(log) > BIG_LOG:
        log.replace(log.with_name("server.log.old"))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _fatal(log: Path, since: int) -> str:
    """What the server said last before it gave up."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with open(fd, encoding="utf-8", errors="replace") as file:
        file.seek(since)
        lines = [line for line in file if "FATAL:" in line or "PANIC:" in line]
    return lines[-1].partition(":  ")[2].strip() if lines else ""
