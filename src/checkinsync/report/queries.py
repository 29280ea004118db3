"""What the operator's page shows that nothing else does."""

from __future__ import annotations

from datetime import date, datetime

from checkinsync.store.pool import Connection


def busiest_imports(conn: Connection, *, since: datetime) -> dict[date, int]:
    """Return the most requests of one user's import, by the day (UTC) on which it began."""
    rows = conn.execute(
        """
        SELECT started_at::date, max(requests)
          FROM import_jobs
         WHERE requests IS NOT NULL
           AND started_at >= %(since)s::timestamptz AT TIME ZONE 'UTC'
         GROUP BY 1
        """,
        {"since": since},
    )
    return dict(rows.fetchall())
