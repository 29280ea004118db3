"""A PostgreSQL for the tests, started by the program's own launcher; a new database per test.

One server and one migrated template per session; a test's database is a clone of it. Asking for
one of these fixtures marks the test `db`.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from checkinsync.embedded import Running, serving
from checkinsync.migrations import migrate

SHARED_MEMORY = Path("/dev/shm")
ROOM = 512 * 2**20
"""Bytes that must be free there: containers often give 64 MB."""

LONG = {"long", "ninety_seconds"}
"""Marks of tests that begin before the others."""


@dataclass
class Databases:
    """Databases for the tests of one session; each is dropped while a later test begins.

    Not at once: a server process whose connection was just closed is still there, and DROP
    DATABASE then waits for a tenth of a second.
    """

    postgres: Running
    administrator: psycopg.Connection
    numbers: Iterator[int] = field(default_factory=itertools.count)
    done_with: list[str] = field(default_factory=list)

    @contextmanager
    def lent(self, template: str) -> Iterator[str]:
        """Yield the address of a copy, for one test."""
        name = self.copy_of(template)
        try:
            yield self.postgres.url_for(name)
        finally:
            self.done_with.append(name)

    def copy_of(self, template: str) -> str:
        """Return the name of a copy. Copying files is faster where the disk is no bottleneck."""
        while self.done_with:
            self._do("DROP DATABASE {} WITH (FORCE)", self.done_with.pop())
        name = f"test_{next(self.numbers)}"
        self._do("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return name

    def _do(self, statement: str, *names: str) -> None:
        self.administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"postgres", "made_once"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.db)
    items.sort(key=lambda item: not LONG & {mark.name for mark in item.iter_markers()})


@pytest.fixture(scope="session")
def postgres() -> Iterator[Running]:
    """A server for the session, its data in memory if there is enough."""
    with open_folder() as home, serving(home, allow_nobody=True, for_tests=True) as running:
        yield running


@pytest.fixture(scope="session")
def databases(postgres: Running) -> Iterator[Databases]:
    """Makes and drops databases on that server."""
    with psycopg.connect(postgres.url_for("postgres"), autocommit=True) as administrator:
        yield Databases(postgres, administrator)


@pytest.fixture(scope="session")
def template_database(databases: Databases) -> str:
    """Name of a database with the schema and without connections."""
    name = databases.copy_of("template0")
    migrate.up(databases.postgres.url_for(name))
    return name


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """Address of a database without any table."""
    with databases.lent("template0") as url:
        yield url


@pytest.fixture
def db(databases: Databases, template_database: str) -> Iterator[str]:
    """Address of a database with the schema and no rows."""
    with databases.lent(template_database) as url:
        yield url


@pytest.fixture
def conn(db: str) -> Iterator[psycopg.Connection]:
    """A connection to `db` that commits each statement."""
    with psycopg.connect(db, autocommit=True) as connection:
        yield connection


@pytest.fixture
def home() -> Iterator[Path]:
    """A CHECKINSYNC_HOME: pytest's folders are not accessible to the account that root's server
    runs under."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A home with a stopped database: copying it costs a tenth of making another one."""
    with open_folder() as folder:
        with serving(folder, allow_nobody=True, for_tests=True):
            pass
        yield folder


@pytest.fixture
def used_home(home: Path, made_once: Path) -> Path:
    """A CHECKINSYNC_HOME with an empty database of an earlier night."""
    subprocess.run(["cp", "-a", made_once / "postgres", home], check=True)
    return home


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter, in memory if there is room."""
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= ROOM
    folder = Path(tempfile.mkdtemp(prefix="checkinsync-", dir=SHARED_MEMORY if roomy else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        removed(folder)


@retry(retry=retry_if_exception_type(OSError), stop=stop_after_delay(30), wait=wait_fixed(0.1))
def removed(folder: Path) -> None:
    """Remove a folder; again where a server that was killed is just writing its last files."""
    shutil.rmtree(folder)
