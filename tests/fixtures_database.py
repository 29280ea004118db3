"""A PostgreSQL for the tests, by the program's own launcher; a fresh database for each test.

One server and one migrated template per session; a test's database is a clone of it. Asking for
one of these fixtures marks the test `db`.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from checkinsync.local_postgres import Running, serving

SHARED_MEMORY = Path("/dev/shm")
ROOM = 512 * 2**20
"""Bytes that must be free there: containers often give 64 MB."""

SQL = Path(__file__).parent.parent / "sql"

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.db)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Running]:
    """A server with data in memory where there is room, gone when the session ends."""
    with _home() as home, serving(home, allow_nobody=True, for_tests=True) as running:
        yield running


@pytest.fixture(scope="session")
def template_database(postgres: Running) -> str:
    """Name of a database that has the schema and nobody is connected to."""
    name = "migrated"
    _administer(postgres, "CREATE DATABASE {} TEMPLATE template0", name)
    _migrate(postgres.url_for(name))
    return name


@pytest.fixture
def empty_url(postgres: Running) -> Iterator[str]:
    """Address of a database without any table."""
    with _clone(postgres, "template0") as url:
        yield url


@pytest.fixture
def db(postgres: Running, template_database: str) -> Iterator[str]:
    """Address of a database with the schema and no rows."""
    with _clone(postgres, template_database) as url:
        yield url


@pytest.fixture
def conn(db: str) -> Iterator[psycopg.Connection]:
    """A connection to `db` that commits each statement."""
    with psycopg.connect(db, autocommit=True) as connection:
        yield connection


@contextmanager
def _home() -> Iterator[Path]:
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= ROOM
    home = Path(tempfile.mkdtemp(prefix="checkinsync-", dir=SHARED_MEMORY if roomy else None))
    home.chmod(0o711)  # as root the server runs under another account, which has to pass
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def _clone(postgres: Running, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _administer(postgres, "CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log", name, template)
    try:
        yield postgres.url_for(name)
    finally:
        _administer(postgres, "DROP DATABASE {} WITH (FORCE)", name)


def _administer(postgres: Running, statement: str, *names: str) -> None:
    with psycopg.connect(postgres.url_for("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _migrate(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for file in sorted(SQL.glob("*.sql")):
            text = file.read_text(encoding="utf-8")
            alone = text.startswith("-- no transaction")
            for statement in re.split(r";\n", text) if alone else [text]:
                connection.execute(statement)
