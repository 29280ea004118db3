"""Brings the schema up to date: forward only, file by file; never back, and never by guessing.

Everything goes into the schema in which the application's `users` is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from checkinsync.errors import MigrationRefused, SchemaBehind
from checkinsync.migrations import catalog, files, ledger, locks, preflight, refusals, runner
from checkinsync.migrations.catalog import Table
from checkinsync.migrations.files import Applied, Migration, MigrationStatus
from checkinsync.migrations.locks import Footprint
from checkinsync.migrations.preflight import Preflight
from checkinsync.migrations.runner import Sleep
from checkinsync.store import schema
from checkinsync.store.pool import Connection, pin


@dataclass(frozen=True, slots=True)
class Step:
    """A pending file, and its effects on the tables that are there."""

    file: Migration
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Plan:
    """The state that `up` would find, and its steps."""

    schema: str
    """Everything goes there."""
    search_path: str
    """The one under which every name means the table there."""
    refusals: tuple[str, ...]
    """The reasons why `up` would refuse, a sentence each."""
    found: Preflight
    undecryptable: tuple[int, ...] | None
    """The users whose stored tokens no key decrypts; None: there was no key to try."""
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """The state before anything is done."""

    schema: str
    pending: Sequence[Migration]
    tables: Mapping[str, Table]
    refusals: tuple[str, ...]


def up(url: str, *, directory: Path | None = None, sleep: Sleep = time.sleep) -> list[Applied]:
    """Apply what is pending, and return that.

    `directory`: another folder than `sql/`; `sleep` takes seconds and may raise. Raises
    MigrationRefused, MigrationFailed, DatabaseAway, AtWork; what was applied before stays.
    """
    migrations = files.read(directory)
    with runner.connected(url) as conn:
        pooled = catalog.behind_transaction_pooler(conn, url)
        with nullcontext() if pooled else runner.only_runner(conn, sleep=sleep):
            with runner.looking(conn):
                look = _look(conn, migrations, pooled=pooled)
            if look.refusals:
                raise refusals.refused(look.refusals)
            if not look.pending:
                return []
            conn.read_only = False
            pin(conn, session=True)
            catalog.pin(conn, look.schema, in_transaction=False)
            ledger.create(conn)
            return [runner.apply(conn, file, sleep=sleep) for file in look.pending]


def plan(
    url: str, *, can_decrypt: Callable[[str], bool] | None = None, directory: Path | None = None
) -> Plan:
    """Return what `up` would find and do; writes nothing. `can_decrypt` tries a stored token.

    Raises MigrationRefused where the files do not fit the ledger, or where there is no schema;
    MigrationFailed, DatabaseAway.
    """
    migrations = files.read(directory)
    with runner.connected(url) as conn:
        pooled = catalog.behind_transaction_pooler(conn, url)
        with runner.looking(conn):
            look = _look(conn, migrations, pooled=pooled)
            found = preflight.take(conn, look.tables, countable=not look.refusals)
            path = schema.path_of(conn, look.schema)
    return Plan(
        schema=look.schema,
        search_path=path,
        refusals=look.refusals,
        found=found,
        undecryptable=None
        if can_decrypt is None
        else tuple(user for user, encrypted in found.tokens if not can_decrypt(encrypted)),
        steps=tuple(Step(file, locks.of(file, there=look.tables)) for file in look.pending),
    )


def status(url: str, *, directory: Path | None = None) -> list[MigrationStatus]:
    """Return the state of each file, changed and missing ones too; writes nothing.

    Raises MigrationRefused, DatabaseAway.
    """
    migrations = files.read(directory)
    with runner.connected(url) as conn, _in_schema(conn):
        return files.standings(migrations, ledger.rows(conn))


def check(url: str, *, directory: Path | None = None) -> None:
    """Raise SchemaBehind where something is pending, MigrationRefused where `up` would."""
    migrations = files.read(directory)
    with runner.connected(url) as conn, _in_schema(conn):
        lacking = files.undone(migrations, ledger.rows(conn))
    if lacking:
        raise schema_behind([file.name for file in lacking])


def baseline(
    url: str, number: int, *, directory: Path | None = None, sleep: Sleep = time.sleep
) -> list[Applied]:
    """Record the files up to `number` as applied, on a database that has what they add already.

    Checks nothing. Returns what was not recorded before. Raises MigrationRefused for a number that
    no file has, DatabaseAway, AtWork.
    """
    migrations = files.up_to(files.read(directory), number)
    with (
        runner.connected(url) as conn,
        runner.only_runner(conn, sleep=sleep),
        _in_schema(conn, read_only=False),
    ):
        ledger.create(conn)
        recorded = {row.name for row in ledger.rows(conn)}
        new = [file for file in migrations if file.name not in recorded]
        return [ledger.record(conn, file, baseline=True) for file in new]


def pending(conn: Connection) -> list[str]:
    """Return the names of the files that this database lacks; every command asks that first.

    A database that is newer than this program lacks nothing.
    """
    applied = {row.name for row in ledger.rows(conn)}
    return [name for name in files.names() if name not in applied]


def schema_behind(names: Sequence[str]) -> SchemaBehind:
    """Return the error for a database that lacks these files."""
    return SchemaBehind(f"{files.pending_text(names)}; run `checkinsync migrate`")


@contextmanager
def _in_schema(conn: Connection, *, read_only: bool = True) -> Iterator[None]:
    """A transaction in which every name means the application's schema. Raises MigrationRefused."""
    conn.read_only = read_only
    with conn.transaction():
        pin(conn)
        catalog.pin(conn, catalog.place(conn).schema, in_transaction=True)
        yield


def _look(conn: Connection, migrations: Sequence[Migration], *, pooled: bool) -> _Look:
    """Look at what is there, in the caller's transaction, and let every name mean our schema.

    Raises MigrationRefused where there is no schema, or where the files do not fit the ledger.
    """
    server = catalog.server(conn, pooled=pooled)
    reasons = [*refusals.of_server(server)]
    try:
        place = catalog.place(conn)
    except MigrationRefused as error:
        raise refusals.refused([*reasons, str(error)]) from None
    catalog.pin(conn, place.schema, in_transaction=True)
    pending = files.undone(migrations, ledger.rows(conn))
    tables, names = catalog.tables(conn, place.schema), catalog.names(conn, place.schema)
    reasons += refusals.of_place(place, role=server.role)
    reasons += refusals.of_tables(
        tables, schema=place.schema, role=server.role, owned=locks.altered(pending)
    )
    reasons += refusals.of_names(pending, schema=place.schema, there=names)
    return _Look(place.schema, pending, tables, tuple(reasons) if pending else ())
