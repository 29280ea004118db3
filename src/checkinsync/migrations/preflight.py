"""Counts the application's tables before a migration, and what is wrong in them.

Only reads. Any column may be absent, since on real installations some of the application's own
migrations failed half way; those that came later are asked for through the row as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkinsync.migrations import catalog
from checkinsync.store.pool import Connection

BASIS: Mapping[str, frozenset[str]] = {
    "users": frozenset({"id", "foursquare_user_id", "display_name", "access_token_encrypted",
                        "secret_token", "created_at"}),
    "import_jobs": frozenset({"id", "user_id", "status", "started_at", "created_at"}),
    "checkins": frozenset({"id", "user_id", "venue_id", "venue_name", "checkin_date"}),
    "checkin_photos": frozenset({"id", "checkin_id", "photo_url"}),
}  # fmt: skip
"""The tables that we share; a table without these columns is not the application's."""

LATER = (
    ("users", "last_sync_at"),
    ("users", "last_login_at"),
    ("import_jobs", "data_source"),
    ("import_jobs", "sync_cursor"),
    ("import_jobs", "retry_after"),
    ("checkins", "timezone"),
)
"""Columns that the application's later migrations add, and some installations lack."""

UNIQUE = "checkins_user_venue_date_unique"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that we share with the application."""

    name: str
    rows: int
    size: int
    """Bytes, indexes included."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The application's tables and what is wrong in them; numbers of rows are by user id."""

    tables: tuple[Table, ...] = ()
    strange: tuple[str, ...] = ()
    """Tables of these names that are not the application's: they lack its oldest columns."""
    absent: tuple[str, ...] = ()
    """Everything that the application's later migrations should have added, and did not."""
    stale_jobs: Mapping[int, int] = field(default_factory=dict)
    """Its imports that are pending or running for more than an hour."""
    double_checkins: Mapping[int, int] = field(default_factory=dict)
    """Rows without an id, of one user, venue and second, beyond the first."""
    double_photos: Mapping[int, int] = field(default_factory=dict)
    """Photos of one check-in and address, beyond the first."""
    location: str | None = None
    """The type of `checkins.location`, which the application has where it has PostGIS."""
    triggers: tuple[str, ...] = ()
    """On `checkins`, not ours: they fire for our rows as well."""
    tokens: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    """The stored tokens, encrypted, by user id."""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by table."""
        return {table.name: table.size for table in self.tables}


def take(
    conn: Connection, tables: Mapping[str, catalog.Table], *, countable: bool = True
) -> Preflight:
    """Return what is in these tables, as far as this role may read them.

    `countable`: their columns have the types that the counts need; else only rows are counted.
    """
    columns = {name: set(table.columns) for name, table in tables.items()}
    ours = {name for name, there in columns.items() if there >= BASIS[name]}
    readable = [t.name for t in tables.values() if t.readable and not t.hides_rows]
    known = ours.intersection(readable) if countable else set()
    photos = {"checkins", "checkin_photos"} <= known
    location = tables["checkins"].columns.get("location") if "checkins" in tables else None
    return Preflight(
        tables=tuple(Table(name, _rows(conn, name), tables[name].size) for name in readable),
        strange=tuple(sorted(set(columns) - ours)),
        absent=_absent(conn, columns),
        stale_jobs=_stale_jobs(conn) if "import_jobs" in known else {},
        double_checkins=_doubles(conn, columns["checkins"]) if "checkins" in known else {},
        double_photos=_double_photos(conn) if photos else {},
        location=location.type if location else None,
        triggers=_triggers(conn) if "checkins" in tables else (),
        tokens=_encrypted_tokens(conn) if "users" in known else (),
    )


def _encrypted_tokens(conn: Connection) -> tuple[tuple[int, str], ...]:
    rows = conn.execute(
        """
        SELECT id, access_token_encrypted FROM users
         WHERE access_token_encrypted IS NOT NULL ORDER BY id
        """
    )
    return tuple(rows.fetchall())


def _rows(conn: Connection, table: str) -> int:
    """Count the rows: the server's estimate may be years old."""
    match table:
        case "users":
            counted = conn.execute("SELECT count(*) FROM users")
        case "import_jobs":
            counted = conn.execute("SELECT count(*) FROM import_jobs")
        case "checkins":
            counted = conn.execute("SELECT count(*) FROM checkins")
        case _:
            counted = conn.execute("SELECT count(*) FROM checkin_photos")
    return int(next(counted)[0])


def _absent(conn: Connection, columns: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return tables first, then columns of existing tables, then the constraint."""
    if not columns:
        return ()
    tables = [name for name in BASIS if name not in columns]
    lacking = [
        f"{table}.{name}"
        for table, name in LATER
        if table in columns and name not in columns[table]
    ]
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_constraint
                        WHERE conrelid = to_regclass('checkins')
                          AND conname = 'checkins_user_venue_date_unique')
        """
    ).fetchone()
    unique = row is not None and row[0]
    return (*tables, *lacking, *([] if unique or "checkins" not in columns else [UNIQUE]))


def _stale_jobs(conn: Connection) -> dict[int, int]:
    rows = conn.execute(
        """
        SELECT user_id, count(*)
          FROM import_jobs AS j
         WHERE status IN ('pending', 'running') AND user_id IS NOT NULL
           AND coalesce(started_at, created_at) < now() AT TIME ZONE 'UTC' - interval '1 hour'
           AND coalesce(to_jsonb(j) ->> 'data_source', 'foursquare') = 'foursquare'
           AND to_jsonb(j) ->> 'lease_token' IS NULL
         GROUP BY user_id ORDER BY user_id
        """
    )
    return dict(rows.fetchall())


def _doubles(conn: Connection, columns: set[str]) -> dict[int, int]:
    """Count by user; two rows of one venue and second that both have ids are two check-ins."""
    if "foursquare_id" in columns:
        rows = conn.execute(
            """
            SELECT user_id, sum(double)::bigint
              FROM (SELECT user_id, count(*) - greatest(count(foursquare_id), 1) AS double
                      FROM checkins WHERE user_id IS NOT NULL
                     GROUP BY user_id, venue_id, date_trunc('second', checkin_date)) AS each
             WHERE double > 0 GROUP BY user_id ORDER BY user_id
            """
        )
    else:
        rows = conn.execute(
            """
            SELECT user_id, sum(double)::bigint
              FROM (SELECT user_id, count(*) - 1 AS double
                      FROM checkins WHERE user_id IS NOT NULL
                     GROUP BY user_id, venue_id, date_trunc('second', checkin_date)) AS each
             WHERE double > 0 GROUP BY user_id ORDER BY user_id
            """
        )
    return dict(rows.fetchall())


def _double_photos(conn: Connection) -> dict[int, int]:
    rows = conn.execute(
        """
        SELECT c.user_id, sum(p.double)::bigint
          FROM (SELECT checkin_id, count(*) - 1 AS double
                  FROM checkin_photos GROUP BY checkin_id, photo_url HAVING count(*) > 1) AS p
          JOIN checkins AS c ON c.id = p.checkin_id
         WHERE c.user_id IS NOT NULL
         GROUP BY c.user_id ORDER BY c.user_id
        """
    )
    return dict(rows.fetchall())


def _triggers(conn: Connection) -> tuple[str, ...]:
    rows = conn.execute(
        """
        SELECT tgname::text FROM pg_trigger
         WHERE tgrelid = to_regclass('checkins') AND NOT tgisinternal ORDER BY tgname
        """
    )
    return tuple(row[0] for row in rows)
