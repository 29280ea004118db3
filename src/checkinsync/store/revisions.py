"""Rows of `checkin_revisions`: edits at Foursquare, each part before and after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from checkinsync.model.changes import Revision
from checkinsync.store.pool import Connection


def add(conn: Connection, user_id: int, revisions: Sequence[Revision], *, at: datetime) -> None:
    """Store edits seen at `at`."""
    for revision in revisions:
        conn.execute(
            """
            INSERT INTO checkin_revisions
                   (checkin_id, user_id, what, old_values, new_values, seen_at)
            VALUES (%(row)s, %(user)s, %(what)s, %(before)s, %(after)s, %(at)s)
            """,
            {
                "row": revision.row,
                "user": user_id,
                "what": list(revision.what),
                "before": Jsonb(revision.before),
                "after": Jsonb(revision.after),
                "at": at,
            },
        )
