"""A world's own PostgreSQL, and its failures; on a small disk, if one may be mounted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from checkinsync.embedded import serving
from checkinsync.errors import EmbeddedDatabaseError
from checkinsync.migrations import migrate
from support.concurrent import kill_server, server_of

DISK = 420
"""MB of the small disk: enough for a world and its write-ahead log."""

SETTINGS = (
    "ALTER SYSTEM SET synchronous_commit = on",  # what was committed survives a killed server
    "ALTER SYSTEM SET min_wal_size = '32MB'",
    "ALTER SYSTEM SET max_wal_size = '64MB'",
    "SELECT pg_reload_conf()",
)
OURS = "application_name = 'checkinsync' AND datname = current_database()"

STUCK = 20.0
"""Seconds after which a server that does not answer counts as stuck; it takes less than one."""


@dataclass
class Database:
    """A server that can be broken and repaired, and one database with the schema."""

    home: Path
    url: str
    small_disk: bool
    """The disk is one of its own that can be filled up."""
    programs: Path
    """Where pg_dump is."""

    # --- looking ----------------------------------------------------------------------------------

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """Open a connection of the drill's own that commits each statement."""
        with psycopg.connect(self.url, autocommit=True, application_name="drill") as conn:
            yield conn

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connected() as conn:
            return conn.execute(query.encode(), values or None).fetchall()

    def do(self, statement: str, *values: object) -> None:
        """Execute a statement."""
        with self.connected() as conn:
            conn.execute(statement.encode(), values or None)

    def has(self, table: str) -> bool:
        """Return True if the table exists."""
        [(there,)] = self.rows("SELECT to_regclass(%s) IS NOT NULL", table)
        return bool(there)

    def dump(self, file: Path) -> None:
        """Write everything into a file, for `pg_restore`."""
        pg_dump = [self.programs / "pg_dump", "--format=custom", f"--file={file}", self.url]
        subprocess.run(pg_dump, check=True, capture_output=True)

    # --- harm -------------------------------------------------------------------------------------

    def cut_off(self) -> None:
        """End all the program's sessions."""
        self.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")

    def stop(self) -> None:
        """Stop the server at once (`immediate`)."""
        postmaster = server_of(self.home)
        if postmaster is not None:
            os.kill(postmaster, signal.SIGQUIT)
        while server_of(self.home) is not None:
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        kill_server(self.home)

    def fill(self, *, log_too: bool) -> None:
        """Fill its disk to the last byte; with `log_too` until it can't write its log, either."""
        ballast = self.home / "ballast"
        with ballast.open("ab") as file, suppress(OSError):
            while True:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, 2**16)
        if log_too:
            with suppress(psycopg.Error), self.connected() as conn:
                for _ in range(12):
                    conn.execute("SELECT pg_logical_emit_message(false, 'drill', 'a line')")
                    conn.execute("SELECT pg_switch_wal()")

    # --- healing ----------------------------------------------------------------------------------

    def heal(self) -> None:
        """Free the disk, and start the server unless it answers; one that was killed while it
        recovered may wait for ever for a process that is gone, and is killed again."""
        (self.home / "ballast").unlink(missing_ok=True)
        patience = time.monotonic() + STUCK
        while not self._answers():
            if time.monotonic() > patience:
                self.kill()
                patience += STUCK
            with (
                suppress(EmbeddedDatabaseError),  # it has stopped again
                serving(self.home, allow_nobody=True, for_tests=True),
            ):
                time.sleep(0.02)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            return bool(self.rows("SELECT 1"))
        return False

    def let_go_of_the_stopped(self) -> None:
        """End all sessions in a transaction, as the server's time-outs do within a minute."""
        while self.rows(
            f"""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE {OURS} AND state <> 'idle'
            """
        ):
            time.sleep(0.01)

    def age_leases(self) -> None:
        """Let all leases expire, as after 90 seconds."""
        self.do(
            """
            UPDATE import_leases SET expires_at = now() - interval '1 second'
             WHERE expires_at > now()
            """
        )


@contextmanager
def open_database() -> Iterator[Database]:
    """Start a server with the schema in a folder of its own; remove both in the end."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="checkinsync-drill-", dir=_roomy()))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        small_disk = _mount(home)
        if small_disk:
            stack.callback(subprocess.run, ["umount", "-l", home], check=False)
        home.chmod(0o711)  # started by root, the server runs under another account
        running = stack.enter_context(serving(home, allow_nobody=True, for_tests=True))
        database = Database(home, running.url, small_disk, running.bindir)
        stack.callback(database.heal)  # it may be down, and `serving` has to stop it
        for setting in SETTINGS:
            database.do(setting)
        migrate.up(running.url)
        yield database


def _roomy() -> str | None:
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free >= DISK * 2**21
    return str(shared) if roomy else None


def _mount(folder: Path) -> bool:
    """Mount a small disk in memory; return False if this user may not."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    how = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "checkinsync-drill", str(folder)]
    return subprocess.run(how, capture_output=True, check=False).returncode == 0
