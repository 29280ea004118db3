"""The server of a cluster: found or started, and stopped; by `pg_ctl`, not by signals of ours.

A running server holds a lock beside its data: by that no second one is started on them, even where
its process number and its socket can't be seen, in another container or under systemd's PrivateTmp.
"""

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
from checkinsync.embedded.sharing import offered
from checkinsync.errors import EmbeddedDatabaseError

DATABASE = "checkinsync"

PATIENCE = 600
"""Seconds for a start or a stop: a recovery after a crash writes again what was lost."""

ORPHANS = 30.0
"""Seconds for the processes of a killed server to notice, and to release its memory."""

UNUSED_PID = 2**31 - 2
"""A process number that no system assigns."""

BIG_LOG = 2**20
"""Bytes after which the server's log is rotated."""

ACCEPTING, REJECTING = 0, 1
"""Exit codes of pg_isready: ready; there, but starting or stopping."""

STATUS_LINE = 7
"""Of postmaster.pid, from 0: `starting`, `ready`, `stopping`."""

MAKE_DATABASE = """
SELECT format('CREATE DATABASE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Starts, finds and stops the server of a cluster."""

    cluster: Cluster
    clients: Programs
    """For this process."""
    service: Programs
    """For the account: the same, or a copy that it can reach."""

    def bring_up(self, *, for_tests: bool) -> None:
        """Find it running, or start it; wait while it is starting or stopping."""
        began = heard = time.monotonic()
        while (answer := self._ask()) != ACCEPTING:
            now = time.monotonic()
            if answer == REJECTING:
                heard = now
            elif self._started(for_tests=for_tests):
                return
            else:
                self._check_visible(silent_for=now - heard)
            if now - began > PATIENCE:
                raise EmbeddedDatabaseError(
                    f"the embedded database is running but not ready after {PATIENCE} seconds;"
                    f" its log is {self.cluster.log}"
                )
            time.sleep(0.05)

    def _started(self, *, for_tests: bool) -> bool:
        """Start it and return True, unless a server has these data already, wherever it runs."""
        with offered(self.cluster.server_lock) as lock:
            if lock is None or self._is_there():
                return False
            self._start(lock, for_tests=for_tests)
            return True

    def _check_visible(self, *, silent_for: float) -> None:
        """Raise EmbeddedDatabaseError where a server has these data that can't be reached here."""
        lines = _lines_of(self.cluster.data / "postmaster.pid")
        ready = [line.strip() for line in lines[STATUS_LINE : STATUS_LINE + 1]] == ["ready"]
        hidden = ready and not os.path.lexists(self.cluster.socket)
        if hidden or silent_for > ORPHANS:
            raise EmbeddedDatabaseError(
                f"a server is running on {self.cluster.data}, but it can't be reached at"
                f" {self.cluster.socket}: it was started in another container, or by a service"
                " that has a /tmp of its own (systemd's PrivateTmp), or /tmp was cleaned up. Wait"
                " until it has stopped and try again. With a short path in CHECKINSYNC_HOME the"
                " socket lies beside the data."
            )

    def make_database(self) -> None:
        """Create our database unless it exists; also shows that this process can connect."""
        socket = self.cluster.socket_dir
        variables = ("-v", "ON_ERROR_STOP=1", "-v", f"name={DATABASE}")
        command = (self.clients["psql"], "-XqAtw", *variables, "-h", socket)
        target = ("-p", str(PORT), "-U", ROLE, "-d", "postgres")
        said = run(*command, *target, text=MAKE_DATABASE)
        if said.returncode != 0:
            raise EmbeddedDatabaseError(f"the embedded database refuses us: {said.stderr.strip()}")

    def stop(self) -> str | None:
        """Stop it, ending its sessions. Returns the complaint, if it does not stop.

        One that runs in another container is left running: its process number means nothing here.
        """
        data = self.cluster.data
        if not self._is_there():
            self._forget_socket_dir()
            return None
        command = (self.service["pg_ctl"], "stop", "-s", "-w", "-m", "fast")
        said = self.cluster.account.run(*command, "-t", str(PATIENCE), "-D", data)
        if said.returncode != 0 and self._is_there():
            return said.stderr.strip()
        self.cluster.forget_socket_dir()
        return None

    def _forget_socket_dir(self) -> None:
        """Leave nothing in /tmp, unless a server elsewhere has its socket there."""
        if self.cluster.exists:
            with offered(self.cluster.server_lock) as lock:
                if lock is None:
                    return
        self.cluster.forget_socket_dir()

    def _ask(self) -> int:
        socket = self.cluster.socket_dir
        return run(
            *(self.clients["pg_isready"], "-q", "-t", "3", "-h", socket, "-p", str(PORT)),
            *("-U", ROLE, "-d", "postgres"),
        ).returncode

    def _is_there(self) -> bool:
        pid = _pid_in(self.cluster.data / "postmaster.pid")
        return pid is not None and _serves(pid, self.cluster.data)

    def _start(self, lock: int, *, for_tests: bool) -> None:
        """Start it where none is. PostgreSQL recovers what a killed one left behind."""
        forget_old_copies(self.service, base=self.cluster.base)
        configuration.write(self.cluster, major=self.service.major, for_tests=for_tests)
        self._disown_lock_files()
        _rotate(self.cluster.log)
        command = (self.service["pg_ctl"], "start", "-s", "-w", "-t", str(PATIENCE))
        where = ("-D", self.cluster.data, "-l", self.cluster.log)
        deadline = time.monotonic() + ORPHANS
        while True:
            said_before = _size(self.cluster.log)
            said = self.cluster.account.run(*command, *where, pass_fds=(lock,))
            if said.returncode == 0:
                return
            why = _fatal(self.cluster.log, said_before) or said.stderr.strip()
            if "still in use" not in why or time.monotonic() > deadline:
                raise EmbeddedDatabaseError(
                    f"the embedded database in {self.cluster.data} does not start: {why}."
                    f"{no_space(self.cluster.base)} Its log is {self.cluster.log}"
                )
            time.sleep(0.2)

    def _disown_lock_files(self) -> None:
        """Free a killed server's lock files from a process number that another program has now.

        The one in the data keeps the rest of its lines: by them PostgreSQL sees that processes of
        the killed server still use its memory, and waits rather than damage the data.
        """
        pid_file = self.cluster.data / "postmaster.pid"
        socket = self.cluster.socket
        lock = socket.with_name(f"{socket.name}.lock")
        for path in (pid_file, lock):
            pid = _pid_in(path)
            if pid is None:  # cut off by a power failure: PostgreSQL stops at it
                path.unlink(missing_ok=True)
            elif _is_taken(pid):
                _disown(path)


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return [""]


def _pid_in(path: Path) -> int | None:
    try:
        return int(_lines_of(path)[0])
    except ValueError:
        return None


def _is_taken(pid: int) -> bool:
    """Return True if a process has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, data: Path) -> bool:
    """Return True if that process is the server of these data, by its command line and folder."""
    process = Path("/proc", str(pid))
    if Path("/proc/self/cmdline").exists():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            named = os.fsencode(data) in words
            return words[0].endswith(b"postgres") and (named or (process / "cwd").samefile(data))
        except OSError:
            return False
    line = run("ps", "-p", str(pid), "-o", "command=").stdout
    return line.split(" -D ")[0].endswith("postgres") and str(data) in line


def _disown(lock: Path) -> None:
    """Replace the process number, in place: root follows no link in the account's folders."""
    fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    with open(fd, "r+", encoding="utf-8", errors="surrogateescape") as file:
        rest = file.read().partition("\n")[2]
        file.seek(0)
        file.write(f"{UNUSED_PID}\n{rest}")
        file.truncate()


def _rotate(log: Path) -> None:
    if _size(log) > BIG_LOG:
        log.replace(log.with_name("server.log.old"))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _fatal(log: Path, since: int) -> str:
    """Return what the server logged last before it gave up."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with open(fd, encoding="utf-8", errors="replace") as file:
        file.seek(since)
        lines = [line for line in file if "FATAL:" in line or "PANIC:" in line]
    return lines[-1].partition(":  ")[2].strip() if lines else ""
