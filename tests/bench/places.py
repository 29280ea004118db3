"""The surroundings of benchmarks: a durable database, a simulated Foursquare, made-up pages."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from msgspec.structs import replace

from checkinsync.embedded import Running, serving
from checkinsync.foursquare import parse
from checkinsync.migrations import migrate
from checkinsync.model.checkin import Checkin
from checkinsync.simulator.world import World
from checkinsync.store.pool import Connection

TESTS = Path(__file__).parent.parent
PAGE = 250
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
_numbers = itertools.count()


@contextmanager
def server() -> Iterator[Running]:
    """Run an embedded server as users have it: on the disk, safe against power cuts."""
    home = Path(tempfile.mkdtemp(prefix="checkinsync-bench-"))
    home.chmod(0o711)  # started by root, the server runs under another account
    try:
        with serving(home, allow_nobody=True) as running:
            yield running
    finally:
        shutil.rmtree(home)


def database(running: Running) -> str:
    """Create a database with the schema and no rows; return its address."""
    name = f"bench_{next(_numbers)}"
    with psycopg.connect(running.url_for("postgres"), autocommit=True) as conn:
        conn.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    url = running.url_for(name)
    migrate.up(url)
    return url


def version(running: Running) -> str:
    """Return the version of PostgreSQL."""
    with psycopg.connect(running.url_for("postgres")) as conn:
        return conn.info.parameter_status("server_version") or "unknown"


def add_user(conn: Connection, number: int) -> int:
    """Add a user; return the id."""
    row = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, secret_token)
        VALUES ('f' || %(number)s::int, 's' || %(number)s::int) RETURNING id
        """,
        {"number": number},
    ).fetchone()
    assert row is not None
    return row[0]


def wal_meter(conn: Connection) -> Callable[[], float]:
    """Return a meter of the bytes of WAL that the server has written so far."""

    def read() -> float:
        row = conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return float(row[0])

    return read


def response(count: int = PAGE, *, seed: int = 1) -> bytes:
    """Return the `response` of a page, as the simulator sends it."""
    items = World.generate(seed=seed, accounts=1, count=count).accounts["token-1"].items
    whole = {"checkins": {"count": count, "items": items}}
    return json.dumps(whole, separators=(",", ":")).encode()


def pages() -> Iterator[tuple[Checkin, ...]]:
    """Yield pages of new check-ins, each older than the one before."""
    page = parse.page(response(), offset=0, limit=PAGE)
    pattern = [item for item in page.items if isinstance(item, Checkin)]
    for number in itertools.count():
        back = timedelta(days=120 * number)
        yield tuple(_moved(checkin, back, number) for checkin in pattern)


def _moved(checkin: Checkin, back: timedelta, number: int) -> Checkin:
    at = checkin.created_at - back
    key = f"{int(at.timestamp()) % 2**32:08x}{number:04x}{checkin.id[12:]}"
    photos = tuple(replace(p, id=f"{number:04x}{p.id[4:]}") for p in checkin.photos)
    digest = number.to_bytes(2) + checkin.fingerprint[2:]
    return replace(checkin, id=key, created_at=at, photos=photos, fingerprint=digest)


@contextmanager
def foursquare(count: int) -> Iterator[str]:
    """Run a simulated Foursquare in a process of its own; yield its address."""
    command = [sys.executable, "-m", "bench.simulated", str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def machine() -> str:
    """Return the number of cores, the memory and the system of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {sys.platform}"
