"""The ledger of migrations: rows of `checkinsync_migrations`, in the first schema of search_path.

Nothing here depends on the session's time zone.
"""

from __future__ import annotations

from checkinsync.migrations.files import Applied, Migration
from checkinsync.store.pool import Connection


def make(conn: Connection) -> None:
    """Our own: the application has tables named `migrations` and `schema_migrations`."""
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS checkinsync_migrations (
            name       TEXT PRIMARY KEY,
            sha256     TEXT NOT NULL,
            applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            baseline   BOOLEAN NOT NULL DEFAULT false    -- noted as applied, not run
        )
        """
    )


def rows(conn: Connection) -> list[Applied]:
    """What was applied, in order; nothing where there is no ledger yet."""
    there = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_class AS c
                         JOIN pg_namespace AS n ON n.oid = c.relnamespace
                        WHERE c.relname = 'checkinsync_migrations'
                          AND n.nspname = current_schema())
        """
    ).fetchone()
    if there is None or not there[0]:
        return []
    found = conn.execute(
        "SELECT name, sha256, applied_at, baseline FROM checkinsync_migrations ORDER BY name"
    )
    return [Applied(*row) for row in found]


def note(conn: Connection, file: Migration, *, baseline: bool = False) -> Applied:
    """A row of the ledger."""
    row = conn.execute(
        """
        INSERT INTO checkinsync_migrations (name, sha256, baseline)
        VALUES (%(name)s, %(sha256)s, %(baseline)s)
        RETURNING name, sha256, applied_at, baseline
        """,
        {"name": file.name, "sha256": file.sha256, "baseline": baseline},
    )
    return Applied(*next(row))
