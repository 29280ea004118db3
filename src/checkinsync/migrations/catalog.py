"""The server, the schema and the application's tables, as the catalog has them; only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkinsync.errors import DatabaseAway, MigrationRefused, SettingsError
from checkinsync.store import schema
from checkinsync.store.pool import Connection, direct

TABLES = ("users", "import_jobs", "checkins", "checkin_photos")
"""The application's tables that we read and write."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server, the database, and our role there."""

    version: int
    """As `server_version_num`: 150004 is 15.4."""
    version_text: str
    encoding: str
    database: str
    role: str
    standby: bool
    """It takes no writes."""
    pooled: bool
    """A pooler in transaction mode stands before it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The schema that everything of ours goes into."""

    schema: str
    """Of the application's `users`; on a database without it, where tables are created."""
    may_create: bool
    """This role may create tables there."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """As it is written in SQL."""
    base: str
    """The name of its type in the catalog; of a domain, that of the type beneath."""
    category: str
    """`pg_type.typcategory`: S text, N number, D date and time, E enum, …"""
    width: int | None
    """Characters at most."""
    not_null: bool
    has_default: bool
    generated: bool
    """The server computes it, and refuses other values."""


@dataclass(frozen=True, slots=True)
class Table:
    """A relation that has the name of one of the application's tables."""

    name: str
    kind: str
    """`pg_class.relkind`: r table, p partitioned table, v view, m materialized view, f foreign."""
    logged: bool
    has_children: bool
    """Partitions, or tables that inherit from it."""
    owner: str
    owned: bool
    """By this role, or by one that it is a member of."""
    readable: bool
    hides_rows: bool
    """Row-level security applies to this role."""
    size: int
    """Bytes, indexes included."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    unique: frozenset[str] = frozenset()
    """Columns that are unique, each by itself."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Foreign keys: column -> the other table, with its schema where that is another one."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """Check constraints: name -> definition."""
    triggers: str = ""
    """The texts of the functions that are called before a row is inserted."""


def server(conn: Connection, *, pooled: bool) -> Server:
    """Return the facts that decide whether our tables can be there at all."""
    row = conn.execute(
        """
        SELECT current_setting('server_version_num')::int,
               split_part(current_setting('server_version'), ' ', 1),
               current_setting('server_encoding'), current_database()::text, current_user::text,
               pg_is_in_recovery(), %(pooled)s::boolean
        """,
        {"pooled": pooled},
    ).fetchone()
    assert row is not None
    return Server(*row)


def behind_transaction_pooler(conn: Connection, url: str) -> bool:
    """Return True if a second connection is served by the same process, or this one by another.

    To be asked outside transactions; `url`: where `conn` was opened. Raises DatabaseAway.
    """
    first = _process(conn)
    if first == conn.info.backend_pid:  # a pooler greets with a number that it made up
        return False
    try:
        with direct(url) as other:
            return _process(other) == first or _process(conn) != first
    except DatabaseAway:  # in session mode, a pooler may have one connection and no more
        if _process(conn) == first:
            return False
        raise


def place(conn: Connection) -> Place:
    """Find the schema that everything of ours goes into. Raises MigrationRefused."""
    try:
        name = schema.find(conn)
    except SettingsError as error:
        raise MigrationRefused(str(error)) from None
    row = conn.execute(
        """
        SELECT n.nspname::text, has_schema_privilege(n.oid, 'CREATE')
          FROM pg_namespace AS n
         WHERE n.nspname = coalesce(%(name)s, current_schema()) AND n.nspname !~ '^pg_'
        """,
        {"name": name},
    ).fetchone()
    if row is None:
        raise MigrationRefused(_NO_SCHEMA)
    return Place(*row)


def pin(conn: Connection, name: str, *, in_transaction: bool) -> None:
    """Let every name mean the table in this schema, until the transaction or the session ends."""
    conn.execute(
        "SELECT set_config('search_path', %(path)s, %(local)s)",
        {"path": schema.path_of(conn, name), "local": in_transaction},
    )


def tables(conn: Connection, name: str) -> dict[str, Table]:
    """Return the relations of this schema that have the names of the application's tables."""
    rows = conn.execute(
        """
        SELECT c.oid::bigint, c.relname::text, c.relkind::text, c.relpersistence = 'p',
               EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid),
               pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE'),
               has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid),
               pg_total_relation_size(c.oid)
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = %(schema)s AND c.relname = ANY (%(names)s)
         ORDER BY c.relname
        """,
        {"schema": name, "names": list(TABLES)},
    ).fetchall()
    oids = [row[0] for row in rows]
    columns, unique = _columns(conn, oids), _unique(conn, oids)
    references, checks = _references(conn, oids), _checks(conn, oids)
    triggers = _triggers(conn, oids)
    found = {}
    for oid, *facts in rows:
        by_name = {column.name: column for column in columns[oid]}
        details = (dict(references[oid]), dict(checks[oid]), "\n".join(triggers[oid]))
        table = Table(*[*facts, by_name, frozenset(unique[oid]), *details])
        found[table.name] = table
    return found


def names(conn: Connection, name: str) -> set[str]:
    """Return the names of everything in this schema: `table`, and `table.column`."""
    rows = conn.execute(
        """
        SELECT c.relname::text FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s
        UNION
        SELECT t.typname::text FROM pg_type AS t
          JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE n.nspname = %(schema)s
        UNION
        SELECT format('%%s.%%s', c.relname, a.attname) FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
         WHERE n.nspname = %(schema)s
        """,
        {"schema": name},
    )
    return {row[0] for row in rows}


def _columns(conn: Connection, oids: Sequence[int]) -> dict[int, list[Column]]:
    rows = conn.execute(
        """
        SELECT a.attrelid::bigint, a.attname::text, format_type(a.atttypid, a.atttypmod),
               b.typname::text, b.typcategory::text,
               CASE WHEN b.typname IN ('varchar', 'bpchar')
                    THEN nullif(greatest(a.atttypmod, t.typtypmod), -1) - 4 END,
               a.attnotnull OR t.typnotnull,
               a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
               a.attgenerated <> '' OR a.attidentity = 'a'
          FROM pg_attribute AS a
          JOIN pg_type AS t ON t.oid = a.atttypid
          JOIN pg_type AS b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
         WHERE a.attrelid = ANY (%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum
        """,
        {"oids": list(oids)},
    )
    return _by_table((row[0], Column(*row[1:])) for row in rows)


def _unique(conn: Connection, oids: Sequence[int]) -> dict[int, list[str]]:
    rows = conn.execute(
        """
        SELECT i.indrelid::bigint, a.attname::text
          FROM pg_index AS i
          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = ANY (%(oids)s::oid[]) AND i.indnkeyatts = 1
           AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
        """,
        {"oids": list(oids)},
    )
    return _by_table(rows)


def _references(conn: Connection, oids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    rows = conn.execute(
        """
        SELECT k.conrelid::bigint, a.attname::text, k.confrelid::regclass::text
          FROM pg_constraint AS k
          JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
         WHERE k.conrelid = ANY (%(oids)s::oid[]) AND k.contype = 'f'
        """,
        {"oids": list(oids)},
    )
    return _by_table((row[0], (row[1], row[2])) for row in rows)


def _checks(conn: Connection, oids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    rows = conn.execute(
        """
        SELECT conrelid::bigint, conname::text, pg_get_constraintdef(oid)
          FROM pg_constraint WHERE conrelid = ANY (%(oids)s::oid[]) AND contype = 'c'
        """,
        {"oids": list(oids)},
    )
    return _by_table((row[0], (row[1], row[2])) for row in rows)


def _triggers(conn: Connection, oids: Sequence[int]) -> dict[int, list[str]]:
    rows = conn.execute(
        """
        SELECT t.tgrelid::bigint, p.prosrc
          FROM pg_trigger AS t
          JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE t.tgrelid = ANY (%(oids)s::oid[]) AND NOT t.tgisinternal
           AND t.tgtype & 7 = 7  -- FOR EACH ROW, BEFORE, INSERT
        """,
        {"oids": list(oids)},
    )
    return _by_table(rows)


def _by_table(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Any]]:
    """Group the second values of rows by the first."""
    found: dict[int, list[Any]] = defaultdict(list)
    for oid, value in rows:
        found[oid].append(value)
    return found


def _process(conn: Connection) -> int:
    row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


_NO_SCHEMA = (
    "search_path names no schema that exists and that this role may use: create one, or name "
    "another (ALTER ROLE … SET search_path = …)"
)
