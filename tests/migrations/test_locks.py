"""The locks that are foretold are those that the server says are held."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from checkinsync.migrations import files, locks
from checkinsync.migrations.files import Migration
from checkinsync.migrations.locks import Footprint, Lock, Mode
from support.webapp import database
from support.webapp.database import VARIANTS, WebApp

BESIDE = "SHARE UPDATE EXCLUSIVE"
THERE = {"users", "checkins", "import_jobs", "checkin_photos"}


def foretold(text: str, there: set[str] = THERE) -> Footprint:
    return locks.of(Migration("001_x.sql", text), there=there)


def held(conn: psycopg.Connection[Any], tables: set[str]) -> dict[str, Mode]:
    """The strongest lock of this session on each table that others wait for, or might."""
    rows = conn.execute(
        """
        SELECT c.relname, l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
         WHERE l.pid = pg_backend_pid() AND c.relkind = 'r'
        """
    ).fetchall()
    by_name = {mode.value.title().replace(" ", "") + "Lock": mode for mode in Mode}
    strongest: dict[str, Mode] = {}
    for table, name in rows:
        if table in tables and name in by_name:
            modes = (by_name[name], strongest.get(table, by_name[name]))
            strongest[table] = max(modes, key=lambda mode: mode.strength)
    return strongest


@pytest.mark.parametrize("app", [None, *VARIANTS], ids=str)
def test_every_file_of_ours_takes_the_locks_that_are_foretold(
    empty_url: str, app: WebApp | None
) -> None:
    if app is not None:
        database.build(empty_url, app)
    with psycopg.connect(empty_url, autocommit=True) as conn:
        there = {row[0] for row in conn.execute(database.ITS_TABLES)}
        for file in files.read():
            if file.alone:
                for statement in file.statements:
                    conn.execute(statement.text.encode())
                continue
            with conn.transaction():
                conn.execute(file.text.encode())
                taken = held(conn, there)

            told = {lock.table: lock.mode for lock in locks.of(file, there=there).locks}
            assert told == taken, file.name


def test_on_an_empty_database_nobody_waits() -> None:
    assert all(not locks.of(file, there=()).locks for file in files.read())


@pytest.mark.parametrize(
    ("text", "mode", "waits", "reads"),
    [
        ("ALTER TABLE users ADD COLUMN a int", "ACCESS EXCLUSIVE", "readers and writers", False),
        ("ALTER TABLE users\n  ALTER a TYPE text", "ACCESS EXCLUSIVE", "readers and writers", True),
        ("ALTER TABLE users ADD CHECK (a > 0);", "ACCESS EXCLUSIVE", "readers and writers", True),
        (
            "ALTER TABLE users ADD CHECK (a > 0) NOT VALID;",
            "ACCESS EXCLUSIVE",
            "readers and writers",
            False,
        ),
        ("alter table users validate constraint c", BESIDE, "nobody", True),
        ("CREATE INDEX i ON users (a)", "SHARE", "writers", True),
        ("CREATE UNIQUE INDEX CONCURRENTLY i\n ON users (a)", BESIDE, "nobody", True),
        ("CREATE TABLE x (u int REFERENCES users (id))", "SHARE ROW EXCLUSIVE", "writers", False),
        ("UPDATE users SET a = 1", "ROW EXCLUSIVE", "nobody", True),
    ],
)  # fmt: skip
def test_statements_are_known(text: str, mode: str, waits: str, reads: bool) -> None:
    footprint = foretold(text)

    assert [(lock.table, lock.mode) for lock in footprint.locks] == [("users", Mode(mode))]
    assert footprint.locks[0].by.split()[0] in text.upper()
    assert footprint.locks[0].mode.waits == waits
    assert footprint.reads == (("users",) if reads else ())


def test_the_strongest_lock_counts_and_all_that_is_read_takes_time() -> None:
    footprint = foretold("CREATE INDEX i ON users (a); ALTER TABLE users ADD COLUMN b int;")

    assert footprint.locks == (Lock("users", Mode.ACCESS_EXCLUSIVE, "ALTER TABLE"),)
    assert footprint.seconds({"users": locks.PACE}) == 1.0
    assert footprint.seconds({}) == 0.0


def test_comments_function_bodies_and_tables_that_stand_lock_nothing() -> None:
    text = """
        -- ALTER TABLE users ADD COLUMN a int;
        CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE users SET a = 1 $$;
        CREATE TABLE IF NOT EXISTS checkins (u int REFERENCES users (id));
        """

    assert foretold(text).locks == ()
    assert foretold(text, {"users"}).locks == (
        Lock("users", Mode.SHARE_ROW_EXCLUSIVE, "REFERENCES"),
    )
