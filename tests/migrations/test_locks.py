"""What a file declares is what the server says: the locks that are held, and what is added."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from checkinsync.errors import MigrationRefused
from checkinsync.migrations import files, locks
from checkinsync.migrations.files import Migration
from checkinsync.migrations.locks import Lock, Mode
from support.webapp import database
from support.webapp.database import VARIANTS, WebApp

HEAD = """\
-- no transaction
-- locks: users SHARE, checkins ACCESS EXCLUSIVE
-- Why; then the statements.
-- reads: users, checkins 3 times

-- locks: import_jobs SHARE
"""


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


def taken(conn: psycopg.Connection[Any], file: Migration, tables: set[str]) -> dict[str, Mode]:
    """The locks held at the end of a file; without CONCURRENTLY, which has no transaction."""
    with conn.transaction():
        conn.execute(file.text.replace(" CONCURRENTLY", "").encode())
        return held(conn, tables)


def names(conn: psycopg.Connection[Any]) -> set[str]:
    """Tables, columns as `table.column`, and what is not made with a table: sequences, indexes."""
    rows = conn.execute(
        """
        SELECT c.relname FROM pg_class AS c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S', 'i')
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i')
        UNION ALL
        SELECT c.relname || '.' || a.attname FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        """
    )
    return {row[0] for row in rows}


def test_every_file_of_ours_adds_what_it_declares(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    with psycopg.connect(empty_url, autocommit=True) as conn:
        for file in files.read():
            before = names(conn)
            taken(conn, file, set())
            added = names(conn) - before

            tables = {name for name in added if "." not in name}
            columns = {name for name in added - tables if name.split(".")[0] not in tables}
            if file.number > 2 and not file.no_transaction:  # those don't mind what is there
                assert {*file.declared("adds")} == tables | columns, file.name


@pytest.mark.parametrize("app", [None, *VARIANTS], ids=str)
def test_every_file_of_ours_takes_the_locks_that_it_declares(
    empty_url: str, app: WebApp | None
) -> None:
    if app is not None:
        database.build(empty_url, app)
    with psycopg.connect(empty_url, autocommit=True) as conn:
        there = {row[0] for row in conn.execute(database.ITS_TABLES)}
        for file in files.read():
            declared = {lock.table: lock.mode for lock in locks.of(file, there=there).locks}
            locked = taken(conn, file, there)

            if file.no_transaction:
                locked = dict.fromkeys(locked, Mode.SHARE_UPDATE_EXCLUSIVE)
            assert declared == locked, file.name


def test_on_an_empty_database_nobody_waits() -> None:
    assert all(not locks.of(file, there=()).locks for file in files.read())


def test_every_index_that_is_built_on_a_table_of_others_is_a_declared_read() -> None:
    there = {"users", "checkins", "import_jobs", "checkin_photos"}
    for file in files.read():
        if file.number > 2:
            built = re.findall(r"CREATE (?:UNIQUE )?INDEX \w* ?\w+\s+ON (\w+)", file.text)

            reads = [table for table in built if table in there]
            assert sorted(locks.of(file, there=there).reads) == sorted(reads), file.name


def test_a_head_is_read_up_to_the_first_line_that_is_no_comment() -> None:
    footprint = locks.of(Migration("001_x.sql", HEAD), there={"users", "checkins", "import_jobs"})

    assert footprint.locks == (
        Lock("users", Mode.SHARE),
        Lock("checkins", Mode.ACCESS_EXCLUSIVE),
    )
    assert footprint.reads == ("users", "checkins", "checkins", "checkins")
    assert footprint.no_transaction


def test_tables_that_are_not_there_are_neither_locked_nor_read() -> None:
    footprint = locks.of(Migration("001_x.sql", HEAD), there={"users"})

    assert footprint.locks == (Lock("users", Mode.SHARE),)
    assert footprint.seconds({"users": locks.PACE, "checkins": locks.PACE}) == 1.0
    assert footprint.seconds({}) == 0.0


@pytest.mark.parametrize(
    "line", ["-- locks: users HARD", "-- locks: users", "-- reads: users often"]
)
def test_a_declaration_that_can_not_be_read_is_refused(line: str) -> None:
    with pytest.raises(MigrationRefused, match=r"001_x\.sql: its head can't be read"):
        locks.of(Migration("001_x.sql", line), there={"users"})


@pytest.mark.parametrize(
    ("mode", "waits"),
    [
        (Mode.ROW_EXCLUSIVE, "nobody"),
        (Mode.SHARE_UPDATE_EXCLUSIVE, "nobody"),
        (Mode.SHARE, "writers"),
        (Mode.SHARE_ROW_EXCLUSIVE, "writers"),
        (Mode.ACCESS_EXCLUSIVE, "readers and writers"),
    ],
)
def test_a_mode_says_who_waits(mode: Mode, waits: str) -> None:
    assert mode.waits == waits
