"""Rows of `quarantined_checkins`: items that could not become a check-in, kept as received."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from checkinsync.model.checkin import Unreadable
from checkinsync.store.pool import Connection


def put(conn: Connection, user_id: int, items: Iterable[Unreadable], *, now: datetime) -> int:
    """Keep items with their problems, and return how many are new or have changed; any other
    writes nothing."""
    written = 0
    for item in items:
        done = conn.execute(
            """
            INSERT INTO quarantined_checkins AS q
                   (user_id, foursquare_id, item, problem, first_seen_at, last_tried_at)
            VALUES (%(user)s, %(key)s, %(item)b, %(problem)s, %(now)s, %(now)s)
            ON CONFLICT (user_id, foursquare_id) DO UPDATE
               SET item = excluded.item, problem = excluded.problem,
                   last_tried_at = excluded.last_tried_at
             WHERE (q.item, q.problem) IS DISTINCT FROM (excluded.item, excluded.problem)
            """,
            {
                "user": user_id,
                "key": item.key,
                "item": item.item,
                "problem": item.problem,
                "now": now,
            },
        )
        written += done.rowcount
    return written


def items(conn: Connection, user_id: int) -> list[tuple[str, bytes]]:
    """Everything in quarantine of this user: key and item, to be tried again."""
    rows = conn.execute(
        """
        SELECT foursquare_id, item FROM quarantined_checkins
         WHERE user_id = %(user)s ORDER BY foursquare_id
        """,
        {"user": user_id},
    )
    return [(key, bytes(item)) for key, item in rows]


def free(conn: Connection, user_id: int, keys: Sequence[str]) -> None:
    """They have become check-ins."""
    conn.execute(
        """
        DELETE FROM quarantined_checkins
         WHERE user_id = %(user)s AND foursquare_id = ANY (%(keys)s)
        """,
        {"user": user_id, "keys": list(keys)},
    )
