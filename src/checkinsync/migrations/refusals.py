"""The reasons to refuse a migration, each a sentence that says what to do; pure.

`--plan` prints them, and `migrate` refuses by the same ones before its first statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from checkinsync.errors import MigrationRefused
from checkinsync.migrations.catalog import Column, Place, Server, Table
from checkinsync.migrations.expected import COLUMNS, REFERENCES, STATUSES, UNIQUE, Expected
from checkinsync.migrations.files import Migration

OLDEST = 140000
"""The oldest version of PostgreSQL whose SQL the migrations use."""

KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
"""By `pg_class.relkind`."""


def refused(reasons: Sequence[str]) -> MigrationRefused:
    """Return the error that tells all these reasons together."""
    if len(reasons) == 1:
        return MigrationRefused(f"nothing was changed: {reasons[0]}")
    listed = "\n".join(f"- {reason}" for reason in reasons)
    return MigrationRefused(f"nothing was changed, for {len(reasons)} reasons:\n{listed}")


def of_server(server: Server) -> Iterator[str]:
    """Yield what keeps this server or database from holding our tables."""
    database = server.database
    if server.version < OLDEST:
        yield f"PostgreSQL {server.version_text} is too old: move the database to 14 or newer"
    if server.encoding != "UTF8":
        yield (
            f"the database {database} has the encoding {server.encoding}, which does not hold all "
            "texts: create a database with ENCODING 'UTF8', and move the data there"
        )
    if server.standby:
        yield "the server is a read-only standby: set CHECKINSYNC_MIGRATE_URL to the primary"
    if server.pooled:
        yield (
            "the connection goes through a pooler in transaction mode, which may send each "
            "statement to another session: set CHECKINSYNC_MIGRATE_URL to the server's own "
            "address (usually port 5432)"
        )


def of_place(place: Place, *, role: str) -> Iterator[str]:
    """Yield what keeps our tables from being created in the application's schema."""
    if not place.may_create:
        yield (
            f"the role {role} may not create tables in the schema {place.schema}: "
            f"GRANT CREATE ON SCHEMA {place.schema} TO {role}"
        )


def of_tables(
    tables: Mapping[str, Table], *, schema: str, role: str, owned: Collection[str]
) -> Iterator[str]:
    """Yield what is wrong with the application's tables.

    `owned`: the tables that a migration alters, which only their owner may.
    """
    for table in tables.values():
        name = f"{schema}.{table.name}"
        problems = list(_of_kind(table, name)) or list(_of_shape(table, name))
        yield from problems
        if table.name in owned and not table.owned:
            yield (
                f"the role {role} does not own {name}, and only an owner may alter it: run "
                f"`checkinsync migrate` as {table.owner} (CHECKINSYNC_MIGRATE_URL), or "
                f"GRANT {table.owner} TO {role}"
            )
        if table.hides_rows:
            yield (
                f"row-level security hides rows of {name} from the role {role}: "
                f"ALTER ROLE {role} BYPASSRLS, or connect as a role that the policies do not bind"
            )


def of_names(pending: Sequence[Migration], *, schema: str, there: Collection[str]) -> Iterator[str]:
    """Yield what a file adds and is there already; `there`: every table, and `table.column`."""
    for file in pending:
        taken = [f"{schema}.{name}" for name in file.declared("adds") if name in there]
        if taken:
            yield (
                f"{file.name} adds {', '.join(taken)}, which exists already: rename what is there, "
                "or, if an earlier attempt made it, record the file as applied "
                f"(`checkinsync migrate --baseline {file.number}`)"
            )


def _of_kind(table: Table, name: str) -> Iterator[str]:
    """Yield why no column of this relation needs to be looked at."""
    if table.kind not in "rp":
        kind = KINDS.get(table.kind, "something else")
        yield (
            f"{name} is {kind}, and has to be a table: rename it, or let search_path begin with "
            "the schema that has the table"
        )
        return
    if table.kind == "p" or table.has_children:
        yield (
            f"{name} is partitioned or has child tables, and checkinsync needs unique keys over "
            "all its rows: make it one ordinary table"
        )
    known = COLUMNS[table.name].items()
    absent = [c for c, each in known if c not in table.columns and not each.added]
    if absent:
        yield (
            f"{name} is not the application's table, since it lacks {', '.join(absent)}: rename "
            "it, or let search_path begin with another schema"
        )


def _of_shape(table: Table, name: str) -> Iterator[str]:
    if not table.logged:
        yield f"{name} is unlogged, and a crash empties it: ALTER TABLE {name} SET LOGGED"
    known = COLUMNS[table.name]
    for column in table.columns.values():
        yield from _of_column(column, known.get(column.name), f"{name}.{column.name}", table)
    for key in UNIQUE.get(table.name, ()):
        if key not in table.unique:
            yield (
                f"{name}.{key} is not unique by itself, which checkinsync needs: "
                f"ALTER TABLE {name} ADD UNIQUE ({key})"
            )
    yield from _of_constraints(table, name)


def _of_column(column: Column, known: Expected | None, name: str, table: Table) -> Iterator[str]:
    alter = f"ALTER TABLE {name.rpartition('.')[0]} ALTER COLUMN {column.name}"
    if known is not None and not known.holds(column):
        yield (
            f"{name} has the type {column.type}, and checkinsync writes {known.writes}: change "
            f"its type ({alter} TYPE …)"
        )
    elif known is not None and column.generated and column.name != "id":
        yield f"{name} is generated, and checkinsync writes it: {alter} DROP EXPRESSION"
    elif known is not None and known.null and column.not_null:
        yield f"{name} is NOT NULL, and checkinsync writes NULL at times: {alter} DROP NOT NULL"
    elif _is_missed(column, known, table):
        yield (
            f"{name} is NOT NULL without a default, and checkinsync does not fill it: "
            f"{alter} SET DEFAULT …, or DROP NOT NULL"
        )


def _is_missed(column: Column, known: Expected | None, table: Table) -> bool:
    """Return True if a row of ours would lack this column."""
    filled = known is not None and known.filled
    by_trigger = column.name.lower() in table.triggers.lower()
    return column.not_null and not (filled or column.has_default or by_trigger)


def _of_constraints(table: Table, name: str) -> Iterator[str]:
    for column, other in table.references.items():
        wanted = REFERENCES.get((table.name, column))
        if column in COLUMNS[table.name] and other != wanted:
            yield (
                f"{name}.{column} refers to {other}, which checkinsync does not fill: drop that "
                "foreign key"
            )
    if table.name != "import_jobs":
        return
    for check, definition in table.checks.items():
        absent = [word for word in STATUSES if f"'{word}'" not in definition]
        if "status" in definition and absent and len(absent) < len(STATUSES):
            yield (
                f"the constraint {check} of {name} does not allow the status {', '.join(absent)}: "
                "let it allow these, too"
            )
