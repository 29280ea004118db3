"""Rows of `verified_spans`: when each stretch of a history was last compared with Foursquare."""

from __future__ import annotations

from collections.abc import Iterable

from checkinsync.model.span import VerifiedSpan
from checkinsync.store.pool import Connection


def load(conn: Connection, user_id: int) -> list[VerifiedSpan]:
    """Return a user's spans, newest first."""
    rows = conn.execute(
        """
        SELECT newest, oldest, verified_at FROM verified_spans
         WHERE user_id = %(user)s ORDER BY newest DESC
        """,
        {"user": user_id},
    )
    return [VerifiedSpan(*row) for row in rows]


def keep(conn: Connection, user_id: int, spans: Iterable[VerifiedSpan]) -> None:
    """Replace a user's spans by these; rows that stay the same are not written."""
    listed = list(spans)
    columns = {
        "user": user_id,
        "newest": [span.newest for span in listed],
        "oldest": [span.oldest for span in listed],
        "at": [span.at for span in listed],
    }
    conn.execute(
        """
        WITH dropped AS (
            DELETE FROM verified_spans
             WHERE user_id = %(user)s AND newest <> ALL (%(newest)b::timestamptz[]))
        INSERT INTO verified_spans AS v (user_id, newest, oldest, verified_at)
        SELECT %(user)s, s.newest, s.oldest, s.at
          FROM unnest(%(newest)b::timestamptz[], %(oldest)b::timestamptz[], %(at)b::timestamptz[])
            AS s (newest, oldest, at)
        ON CONFLICT (user_id, newest) DO UPDATE
           SET oldest = excluded.oldest, verified_at = excluded.verified_at
         WHERE (v.oldest, v.verified_at) IS DISTINCT FROM (excluded.oldest, excluded.verified_at)
        """,
        columns,
    )
