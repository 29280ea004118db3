"""Findings about the tables that we use: privileges, policies, types, sequences; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from checkinsync.doctor.findings import DATABASE, SCHEMA, SETTINGS, Finding, problem, warning
from checkinsync.model.user import User

SELDOM = {("users", "INSERT"), ("users", "DELETE")}
"""Privileges that no import needs: they are for adding and removing users by hand."""

NEARLY_FULL = 0.9
"""The part of a sequence's numbers from which on a warning is due."""

DECIMALS = 8
"""Of degrees."""

TEXT = frozenset({"text", "varchar", "citext", "bpchar"})
NUMBER = frozenset({"int4", "int8"})
UTC_TIME = frozenset({"timestamp"})
TIME = frozenset({"timestamptz"})
DEGREES = frozenset({"numeric", "float8"})

WRITTEN: Mapping[str, Mapping[frozenset[str], str]] = {
    "users": {
        TEXT: "foursquare_user_id display_name avatar_url access_token_encrypted secret_token",
        UTC_TIME: "last_sync_at last_login_at created_at updated_at",
    },
    "import_jobs": {
        NUMBER: "user_id total_expected total_imported current_batch lease_token new_checkins "
        "changed_checkins requests",
        TEXT: "status error_message data_source",
        UTC_TIME: "started_at completed_at created_at retry_after",
    },
    "checkins": {
        NUMBER: "user_id time_zone_offset",
        TEXT: "venue_id venue_name venue_category city country timezone foursquare_id kind shout "
        "first_venue_id first_venue_name",
        DEGREES: "latitude longitude",
        UTC_TIME: "checkin_date created_at",
        TIME: "first_seen_at changed_at missing_since missing_again_at withheld_since deleted_at",
        frozenset({"bool"}): "is_private",
        frozenset({"bytea"}): "fingerprint",
        frozenset({"json"}): "raw",
    },
    "checkin_photos": {
        NUMBER: "checkin_id width height",
        TEXT: "photo_url foursquare_photo_id",
        UTC_TIME: "created_at",
    },
}
"""The types that take what we write, by their names in the catalog, and the columns."""

SETVAL = "SELECT setval('{0.name}', (SELECT max({0.column}) FROM {0.table}));"

PREFERRED = ("text", "int4", "numeric", "timestamp", "timestamptz", "bool", "bytea", "json")
"""The type to change a column to."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A privilege that the role lacks."""

    kind: str
    """`TABLE`, `SEQUENCE`, `SCHEMA` or `FUNCTION`."""
    name: str
    """As it is written in SQL, with its schema."""
    privilege: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its type."""

    table: str
    name: str
    type: str
    """As it is written in SQL."""
    base: str
    """The name of the type in the catalog; of a domain, that of the type beneath."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence that numbers the rows of a table."""

    name: str
    table: str
    column: str
    last: int | None
    """None: no number was taken yet."""
    most: int
    """Its own maximum."""
    column_most: int
    """The largest number that the column holds."""
    highest: int | None
    """In the table; None: the table is empty."""


@dataclass(frozen=True, slots=True)
class Future:
    """An instant that lies in the future and should not."""

    user: User
    what: str
    """Table and column."""
    at: datetime


def of_privileges(missing: Iterable[Missing], *, role: str) -> Iterator[Finding]:
    """One finding for each set of privileges, with the statement that grants them."""
    by_object: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        by_object.setdefault((one.kind, one.name), []).append(one.privilege)
    together: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, name), names_of in by_object.items():
        together[kind, ", ".join(names_of)].append(name)
    for (kind, privileges), names in together.items():
        listed = ", ".join(names)
        says = f"the role {role} lacks {privileges} on {listed}"
        what = "" if kind == "TABLE" else f"{kind} "
        grant = f"GRANT {privileges} ON {what}{listed} TO {role};"
        tables = [name.rpartition(".")[2] for name in names]
        if {(table, p) for table in tables for p in privileges.split(", ")} <= SELDOM:
            yield warning("privileges", f"{says}: users can't be added or removed by hand", grant)
        else:
            yield problem("privileges", says, grant, exit_code=SETTINGS)


def of_policies(tables: Iterable[str], *, role: str) -> Iterator[Finding]:
    """Row-level security would hide rows, which then would be taken for missing."""
    for table in tables:
        yield problem(
            "privileges",
            f"row-level security is in force on {table} for the role {role}, and would hide rows",
            f"ALTER ROLE {role} BYPASSRLS; or for the table's owner: "
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;",
            exit_code=SETTINGS,
        )


def of_columns(columns: Iterable[Column]) -> Iterator[Finding]:
    """Columns whose type does not take what we write."""
    wanted = {
        (table, name): types
        for table, groups in WRITTEN.items()
        for types, names in groups.items()
        for name in names.split()
    }
    for column in columns:
        types = wanted.get((column.table, column.name))
        if types is not None and not _takes(column, types):
            best = next(name for name in PREFERRED if name in types)
            using = " AT TIME ZONE 'UTC'" if column.base == "timestamptz" else f"::{best}"
            yield problem(
                "schema",
                f"{column.table}.{column.name} has the type {column.type}, which does not hold "
                "what is written there",
                f"ALTER TABLE {column.table} ALTER COLUMN {column.name} TYPE {best} "
                f"USING {column.name}{using};",
                exit_code=SCHEMA,
            )


def _takes(column: Column, types: frozenset[str]) -> bool:
    limits = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", column.type)
    return column.base in types and (limits is None or int(limits[2]) >= DECIMALS)


def of_sequences(sequences: Iterable[Sequence]) -> Iterator[Finding]:
    """Sequences that would give a number twice, or none any more."""
    for one in sequences:
        most = min(one.most, one.column_most)
        last, highest = one.last or 0, one.highest or 0
        if last < highest:
            says = f"the sequence {one.name} is behind its table: at {last}, and {one.table} has "
            yield problem("schema", f"{says}{highest}", SETVAL.format(one), exit_code=DATABASE)
        elif last >= most:
            says = f"the sequence {one.name} has no number left after {last}"
            yield problem("schema", says, _more_numbers(one), exit_code=DATABASE)
        elif last >= NEARLY_FULL * most:
            says = f"the sequence {one.name} is at {last} of {most}"
            yield warning("schema", says, _more_numbers(one))


def _more_numbers(one: Sequence) -> str:
    if one.most < one.column_most:
        return f"ALTER SEQUENCE {one.name} MAXVALUE {one.column_most};"
    if (one.highest or 0) < NEARLY_FULL * one.column_most:
        return f"{SETVAL.format(one)} -- the rows use fewer numbers than were given out"
    return f"the type of {one.table}.{one.column} is used up: the rows have to be renumbered"


def of_future(found: Iterable[Future], total: int) -> Iterator[Finding]:
    """Instants in the future: written by a machine whose clock was wrong."""
    named = [f"{one.user}: {one.what} {one.at.astimezone(UTC):%Y-%m-%d %H:%M}" for one in found]
    if named:
        more = f" and {total - len(named)} more" if total > len(named) else ""
        yield warning(
            "clock",
            f"instants in the future: {'; '.join(named)}{more}",
            "set the clocks of all machines by NTP; then `checkinsync import-user USER --full` "
            "sets those of sync_state right, and UPDATE those of users",
        )
