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
def administrator(postgres: Running) -> Iterator[psycopg.Connection]:
    """One connection that makes and drops the others' databases."""
    with psycopg.connect(postgres.url_for("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template_database(postgres: Running, administrator: psycopg.Connection) -> str:
    """Name of a database that has the schema and nobody is connected to."""
    name = "migrated"
    _administer(administrator, "CREATE DATABASE {} TEMPLATE template0", name)
    _migrate(postgres.url_for(name))
    return name


@pytest.fixture
def empty_url(postgres: Running, administrator: psycopg.Connection) -> Iterator[str]:
    """Address of a database without any table."""
    with _clone(administrator, "template0") as name:
        yield postgres.url_for(name)


@pytest.fixture
def db(
    postgres: Running, administrator: psycopg.Connection, template_database: str
) -> Iterator[str]:
    """Address of a database with the schema and no rows."""
    with _clone(administrator, template_database) as name:
        yield postgres.url_for(name)


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
def _clone(administrator: psycopg.Connection, template: str) -> Iterator[str]:
    """Name of a copy; copying files is the faster way where nothing waits for the disk."""
    name = f"test_{next(_numbers)}"
    _administer(administrator, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
    try:
        yield name
    finally:
        _administer(administrator, "DROP DATABASE {} WITH (FORCE)", name)


def _administer(administrator: psycopg.Connection, statement: str, *names: str) -> None:
    administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _migrate(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for file in sorted(SQL.glob("*.sql")):
            text = file.read_text(encoding="utf-8")
            alone = text.startswith("-- no transaction")
            for statement in re.split(r";\n", text) if alone else [text]:
                connection.execute(statement)
