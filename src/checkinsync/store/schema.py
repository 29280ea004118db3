"""The schema of the application's `users`, in which all our tables are, and the way to find it.

Looked up in the catalog, since a role or a database may have any `search_path`: one that leads to
another table of that name, or to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from checkinsync.errors import SettingsError

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schema that has a `users` with the application's column `foursquare_user_id`."""

    schema: str
    is_table: bool
    """False: a view, or a table on another server."""
    empty: bool
    """It takes no room, so that it has no rows; False where it is the only one."""
    usable: bool
    """This role may use the schema."""
    place: int | None
    """Its position in the search_path, from 1; None: it is not there."""


def use(conn: Connection) -> str | None:
    """Let each name mean the application's table, or ours, until the transaction ends.

    Returns the search_path, None where the application's `users` does not exist. Raises
    SettingsError where it is not clear which one that is.
    """
    schema = find(conn)
    if schema is None:
        return None
    path = path_of(conn, schema)
    conn.execute("SELECT set_config('search_path', %(path)s, true)", {"path": path})
    return path


def path_of(conn: Connection, schema: str) -> str:
    """Return a search_path that begins with this schema.

    The session's own and those of extensions follow: triggers of the application run in our
    statements, and may name PostGIS without its schema. Temporary tables come last.
    """
    row = conn.execute(
        """
        SELECT ARRAY(SELECT quote_ident(name)
                       FROM unnest(ARRAY[%(schema)s::name] || current_schemas(false)
                                   || ARRAY(SELECT n.nspname
                                              FROM pg_extension AS e
                                              JOIN pg_namespace AS n ON n.oid = e.extnamespace
                                             ORDER BY n.nspname)) AS name
                      WHERE name !~ '^pg_')
        """,
        {"schema": schema},
    ).fetchone()
    assert row is not None
    return ", ".join([*dict.fromkeys(row[0]), "pg_temp"])


def find(conn: Connection) -> str | None:
    """Return the schema of the application's `users`, None where there is no such table.

    Raises SettingsError where it is not clear which one it is, or where this role may not use it.
    """
    rows = conn.execute(
        """
        SELECT current_user::text, n.nspname::text, c.relkind IN ('r', 'p'),
               CASE WHEN count(*) OVER () > 1 AND c.relkind = 'r'  -- asking for a size needs a lock
                    THEN pg_relation_size(c.oid) = 0 ELSE false END,
               has_schema_privilege(n.oid, 'USAGE'),
               array_position(current_schemas(false), n.nspname)
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
         WHERE c.relname = 'users' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND a.attname = 'foursquare_user_id' AND n.nspname !~ '^pg_'
         ORDER BY n.nspname
        """
    ).fetchall()
    role = rows[0][0] if rows else ""
    return choose([Candidate(*row[1:]) for row in rows], role=role)


def choose(candidates: Sequence[Candidate], *, role: str) -> str | None:
    """Return the schema that the search_path means, or the only one there is.

    Raises SettingsError where an empty table would be taken before one that has rows, where
    several schemas are left, or where this role may not use the one that is left.
    """
    candidates = [c for c in candidates if c.is_table] or candidates
    candidates = [c for c in candidates if c.usable] or candidates
    visible = sorted((c for c in candidates if c.place), key=lambda c: c.place or 0)
    if visible:
        with_rows = [c.schema for c in visible[1:] if not c.empty]
        if visible[0].empty and with_rows:
            raise SettingsError(_SHADOWED.format(visible[0].schema, with_rows[0], role))
        return visible[0].schema
    if len(candidates) > 1:
        raise SettingsError(_SEVERAL.format(", ".join(c.schema for c in candidates), role))
    if candidates and not candidates[0].usable:
        raise SettingsError(_NOT_USABLE.format(candidates[0].schema, role))
    return candidates[0].schema if candidates else None


_SHADOWED = (
    "the table users is empty in the schema {0}, which comes first in search_path, and has rows in "
    "{1}: drop the wrong one, or leave its schema out (ALTER ROLE {2} SET search_path = {1})"
)
_SEVERAL = (
    "the application's table users is in several schemas ({0}), none of which is in search_path: "
    "name the right one (ALTER ROLE {1} SET search_path = …)"
)
_NOT_USABLE = (
    "the role {1} may not use the schema {0}, which has the application's table users: "
    "GRANT USAGE ON SCHEMA {0} TO {1}"
)
