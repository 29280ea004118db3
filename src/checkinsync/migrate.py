"""The schema brought up to date: forward only, file by file; never back, and never by guessing."""

from __future__ import annotations

import time
from pathlib import Path

from checkinsync import schema, sql_files
from checkinsync.errors import SchemaBehind
from checkinsync.schema import Applied, SqlFile, Standing
from checkinsync.store import ledger, migrations
from checkinsync.store.migrations import Sleep
from checkinsync.store.pool import Connection


def up(url: str, *, directory: Path | None = None, sleep: Sleep = time.sleep) -> list[Applied]:
    """Apply what is pending, and return that.

    `directory`: another folder than `sql/`; `sleep` takes seconds and may raise. Raises
    MigrationRefused, MigrationFailed, DatabaseAway, AtWork; what was applied before stays.
    """
    files = sql_files.read(directory)
    with migrations.connected(url) as conn, migrations.only_runner(conn, sleep=sleep):
        pending = schema.undone(files, ledger.rows(conn))
        ledger.make(conn)
        return [migrations.apply(conn, file, sleep=sleep) for file in pending]


def plan(url: str, *, directory: Path | None = None) -> list[SqlFile]:
    """What `up` would apply, in order; writes nothing. Raises MigrationRefused, DatabaseAway."""
    files = sql_files.read(directory)
    with migrations.connected(url) as conn:
        return schema.undone(files, ledger.rows(conn))


def status(url: str, *, directory: Path | None = None) -> list[Standing]:
    """How each file stands, changed and missing ones too; writes nothing. Raises DatabaseAway."""
    files = sql_files.read(directory)
    with migrations.connected(url) as conn:
        return schema.standings(files, ledger.rows(conn))


def check(url: str, *, directory: Path | None = None) -> None:
    """Raise SchemaBehind where something is pending, MigrationRefused where `up` would."""
    if lacking := plan(url, directory=directory):
        names = ", ".join(file.name for file in lacking)
        raise SchemaBehind(f"the schema lacks {names}; run `checkinsync migrate`")


def baseline(
    url: str, number: int, *, directory: Path | None = None, sleep: Sleep = time.sleep
) -> list[Applied]:
    """Note the files up to `number` as applied, on a database that has what they add already.

    Verifies nothing. Returns what was not noted before. Raises MigrationRefused for a number that
    no file has, DatabaseAway, AtWork.
    """
    files = schema.up_to(sql_files.read(directory), number)
    with migrations.connected(url) as conn, migrations.only_runner(conn, sleep=sleep):
        ledger.make(conn)
        noted = {row.name for row in ledger.rows(conn)}
        with conn.transaction():
            new = [file for file in files if file.name not in noted]
            return [ledger.note(conn, file, baseline=True) for file in new]


def pending(conn: Connection) -> list[str]:
    """The names of the files that this database lacks: what a command asks before it works.

    A database that is newer than this program lacks nothing.
    """
    applied = {row.name for row in ledger.rows(conn)}
    return [name for name in sql_files.names() if name not in applied]
