"""The surroundings of the benchmarks: a durable database, Foursquare's pages, users."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from checkinsync.embedded import Running, serving
from checkinsync.keys.keyring import Keyring
from checkinsync.migrations import migrate

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
PAGE = 250
KEY = "00" * 32
MIGRATED, IMPORTED = "bench_migrated", "bench_imported"
FORTY_MINUTES, EIGHTEEN_HOURS, A_FORTNIGHT = 2400, 18 * 3600, 14 * 86_400
"""Seconds between two check-ins of a history, of a caught-up user, and of one with older ones."""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Places:
    """The server, and a folder for everything that is made."""

    running: Running
    folder: Path
    _numbers: Iterator[int]

    @contextmanager
    def database(self, template: str | None = MIGRATED) -> Iterator[str]:
        """Yield the address of a new copy of a database, dropped afterwards."""
        name = f"bench_{next(self._numbers)}"
        self.copy(template or "template0", name)
        try:
            yield self.running.url_for(name)
        finally:
            with self.admin() as conn:
                conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def copy(self, template: str, name: str) -> None:
        """Make a database like another, on disk before anything is measured."""
        words = SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(Identifier, (name, template)))
        with self.admin() as conn:
            conn.execute(words)
            conn.execute("CHECKPOINT")

    def admin(self) -> Connection:
        """Return a connection to no database of ours."""
        return psycopg.connect(self.running.url_for("postgres"), autocommit=True)

    @property
    def version(self) -> str:
        """The version of PostgreSQL."""
        with self.admin() as conn:
            return conn.info.parameter_status("server_version") or "unknown"


@contextmanager
def places() -> Iterator[Places]:
    """Run an embedded server as users have it: on the disk, safe against power cuts.

    It has two databases to copy: `MIGRATED`, with a schema and one user, and later `IMPORTED`.
    """
    folder = Path(tempfile.mkdtemp(prefix="checkinsync-bench-"))
    folder.chmod(0o711)  # started by root, the server runs under another account
    try:
        with serving(folder / "home", allow_nobody=True) as running:
            found = Places(running, folder, itertools.count())
            found.copy("template0", MIGRATED)
            migrate.up(running.url_for(MIGRATED))
            with psycopg.connect(running.url_for(MIGRATED)) as conn:
                add_users(conn, 1)
            yield found
    finally:
        shutil.rmtree(folder)


def add_users(conn: Connection, count: int) -> None:
    """Add active users; each has a token of their own."""
    keyring = Keyring([KEY])
    tokens = [keyring.encrypt(f"token-{number}") for number in range(count)]
    conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token,
                           last_login_at)
        SELECT 'f' || s.next, 'user ' || s.next, t.token, 's' || s.next,
               now() AT TIME ZONE 'UTC'
          FROM unnest(%s::text[]) WITH ORDINALITY AS t (token, n),
               LATERAL (SELECT t.n + (SELECT count(*) FROM users)) AS s (next)
        """,
        [tokens],
    )


def clone(conn: Connection, count: int) -> None:
    """Add users until there are so many, each with what is stored of the first."""
    add_users(conn, count - 1)
    for table in _of_users(conn):
        names = columns(conn, table)
        conn.execute(
            SQL(
                "INSERT INTO {table} (user_id, {names}) SELECT u.id, {values} FROM {table} AS t, "
                "users AS u WHERE t.user_id = 1 AND u.id > 1 ORDER BY u.id"
            ).format(
                table=Identifier(table),
                names=SQL(", ").join(map(Identifier, names)),
                values=SQL(", ").join(Identifier("t", name) for name in names),
            )
        )
    names = columns(conn, "checkin_photos")
    conn.execute(
        SQL(
            "INSERT INTO checkin_photos (checkin_id, {names}) SELECT c.id, {values} FROM "
            "checkin_photos AS p JOIN checkins AS o ON o.id = p.checkin_id JOIN checkins AS c "
            "USING (foursquare_id) WHERE c.user_id > 1"
        ).format(
            names=SQL(", ").join(map(Identifier, names)),
            values=SQL(", ").join(Identifier("p", name) for name in names),
        )
    )
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


def _of_users(conn: Connection) -> list[str]:
    """Return the tables that say something of a user, but those that say what is at work."""
    rows = conn.execute(
        """
        SELECT c.table_name FROM information_schema.columns AS c
          JOIN information_schema.tables AS t USING (table_schema, table_name)
         WHERE c.table_schema = 'public' AND c.column_name = 'user_id'
           AND t.table_type = 'BASE TABLE'
           AND c.table_name NOT IN ('import_leases', 'import_jobs', 'verification_items')
         ORDER BY 1
        """
    )
    return [name for (name,) in rows]


def columns(conn: Connection, table: str) -> list[str]:
    """Return the columns of a table but its id and the one that says whose row it is."""
    rows = conn.execute(
        """
        SELECT column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = %s
           AND column_name NOT IN ('id', 'user_id', 'checkin_id')
         ORDER BY ordinal_position
        """,
        [table],
    )
    return [name for (name,) in rows]


@contextmanager
def pages(count: int, *, spacing: int = FORTY_MINUTES, latency: float = 0.0) -> Iterator[str]:
    """Serve a history in a process of its own; yield the address of the API."""
    command = [sys.executable, "-m", "bench.pages", str(count), str(spacing), str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def wal_meter(conn: Connection) -> Callable[[], int]:
    """Return a meter of the bytes of WAL that the server has written so far."""

    def read() -> int:
        row = conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return int(row[0])

    return read


def machine() -> str:
    """Return the number of cores, the memory and the system of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def commit() -> str:
    """Return the commit that was measured."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
