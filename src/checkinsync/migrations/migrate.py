"""The schema brought up to date: forward only, file by file; never back, and never by guessing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checkinsync.errors import SchemaBehind
from checkinsync.migrations import files, ledger, locks, preflight, runner
from checkinsync.migrations.files import Applied, Migration, MigrationStatus
from checkinsync.migrations.locks import Footprint
from checkinsync.migrations.preflight import Preflight
from checkinsync.migrations.runner import Sleep
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Step:
    """A file that is pending, and what it will do to the tables that are there."""

    file: Migration
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` would find, and what it would do."""

    found: Preflight
    tokens: int
    """Stored ones."""
    undecryptable: tuple[int, ...] | None
    """The users whose tokens no key opens; None: there was no key to try."""
    steps: tuple[Step, ...]


def up(url: str, *, directory: Path | None = None, sleep: Sleep = time.sleep) -> list[Applied]:
    """Apply what is pending, and return that.

    `directory`: another folder than `sql/`; `sleep` takes seconds and may raise. Raises
    MigrationRefused, MigrationFailed, DatabaseAway, AtWork; what was applied before stays.
    """
    migrations = files.read(directory)
    with runner.connected(url) as conn, runner.only_runner(conn, sleep=sleep):
        pending = files.undone(migrations, ledger.rows(conn))
        ledger.make(conn)
        return [runner.apply(conn, file, sleep=sleep) for file in pending]


def plan(
    url: str, *, can_decrypt: Callable[[str], bool] | None = None, directory: Path | None = None
) -> Plan:
    """What `up` would find and do; writes nothing. `opens`: whether a key fits a stored token.

    Raises MigrationRefused, MigrationFailed, DatabaseAway.
    """
    migrations = files.read(directory)
    with runner.connected(url) as conn, runner.looking(conn):
        pending = files.undone(migrations, ledger.rows(conn))
        found = preflight.take(conn)
        tokens = preflight.encrypted_tokens(conn) if found.has_users else []
    there = {table.name for table in found.tables}
    return Plan(
        found,
        len(tokens),
        None
        if can_decrypt is None
        else tuple(user for user, encrypted in tokens if not can_decrypt(encrypted)),
        tuple(Step(file, locks.of(file, there=there)) for file in pending),
    )


def status(url: str, *, directory: Path | None = None) -> list[MigrationStatus]:
    """How each file stands, changed and missing ones too; writes nothing. Raises DatabaseAway."""
    migrations = files.read(directory)
    with runner.connected(url) as conn:
        return files.standings(migrations, ledger.rows(conn))


def check(url: str, *, directory: Path | None = None) -> None:
    """Raise SchemaBehind where something is pending, MigrationRefused where `up` would."""
    migrations = files.read(directory)
    with runner.connected(url) as conn:
        lacking = files.undone(migrations, ledger.rows(conn))
    if lacking:
        names = ", ".join(file.name for file in lacking)
        raise SchemaBehind(f"the schema lacks {names}; run `checkinsync migrate`")


def baseline(
    url: str, number: int, *, directory: Path | None = None, sleep: Sleep = time.sleep
) -> list[Applied]:
    """Note the files up to `number` as applied, on a database that has what they add already.

    Verifies nothing. Returns what was not noted before. Raises MigrationRefused for a number that
    no file has, DatabaseAway, AtWork.
    """
    migrations = files.up_to(files.read(directory), number)
    with runner.connected(url) as conn, runner.only_runner(conn, sleep=sleep):
        ledger.make(conn)
        noted = {row.name for row in ledger.rows(conn)}
        with conn.transaction():
            new = [file for file in migrations if file.name not in noted]
            return [ledger.note(conn, file, baseline=True) for file in new]


def pending(conn: Connection) -> list[str]:
    """The names of the files that this database lacks: what a command asks before it works.

    A database that is newer than this program lacks nothing.
    """
    applied = {row.name for row in ledger.rows(conn)}
    return [name for name in files.names() if name not in applied]
