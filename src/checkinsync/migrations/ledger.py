"""The ledger of migrations: rows of `checkinsync_migrations`, in the first schema of search_path.

Nothing here depends on the session's time zone.
"""

from __future__ import annotations

from checkinsync.migrations.files import Applied, Migration
from checkinsync.store.pool import Connection


def create(conn: Connection) -> None:
    """Create it; the application has tables named `migrations` and `schema_migrations`."""
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS checkinsync_migrations (
            name       TEXT PRIMARY KEY,
            sha256     TEXT NOT NULL,
            applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            baseline   BOOLEAN NOT NULL DEFAULT false    -- recorded, not run
        )
        """
    )


def rows(conn: Connection) -> list[Applied]:
    """Return what was applied, in order; nothing where there is no ledger yet."""
    exists = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_class AS c
                         JOIN pg_namespace AS n ON n.oid = c.relnamespace
                        WHERE c.relname = 'checkinsync_migrations'
                          AND n.nspname = current_schema())
        """
    ).fetchone()
    if exists is None or not exists[0]:
        return []
    found = conn.execute(
        "SELECT name, sha256, applied_at, baseline FROM checkinsync_migrations ORDER BY name"
    )
    return [Applied(*row) for row in found]


def record(conn: Connection, file: Migration, *, baseline: bool = False) -> Applied:
    """Record a file as applied, and return its row."""
    row = conn.execute(
        """
        INSERT INTO checkinsync_migrations (name, sha256, baseline)
        VALUES (%(name)s, %(sha256)s, %(baseline)s)
        RETURNING name, sha256, applied_at, baseline
        """,
        {"name": file.name, "sha256": file.sha256, "baseline": baseline},
    )
    return Applied(*next(row))
