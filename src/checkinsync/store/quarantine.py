"""Rows of `quarantined_checkins`: items that could not become a check-in, kept as received."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from checkinsync.model.checkin import Unreadable
from checkinsync.model.user import User
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An item that could not be read or stored, without the item itself."""

    user: User
    foursquare_id: str
    """Without a usable id: `sha256:` and the item's hash."""
    problem: str
    first_seen_at: datetime
    last_tried_at: datetime


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
    """Return key and item of everything in quarantine of this user, to be tried again."""
    rows = conn.execute(
        """
        SELECT foursquare_id, item FROM quarantined_checkins
         WHERE user_id = %(user)s ORDER BY foursquare_id
        """,
        {"user": user_id},
    )
    return [(key, bytes(item)) for key, item in rows]


def free(conn: Connection, user_id: int, keys: Sequence[str]) -> None:
    """Remove items that have become check-ins."""
    conn.execute(
        """
        DELETE FROM quarantined_checkins
         WHERE user_id = %(user)s AND foursquare_id = ANY (%(keys)s)
        """,
        {"user": user_id, "keys": list(keys)},
    )


def forget(conn: Connection, *, before: datetime, most: int) -> int:
    """Delete items first met before then, and return how many; they are stored nowhere else."""
    return conn.execute(
        """
        DELETE FROM quarantined_checkins WHERE ctid IN (
               SELECT ctid FROM quarantined_checkins
                WHERE first_seen_at < %(before)s LIMIT %(most)s)
        """,
        {"before": before, "most": most},
    ).rowcount


def listing(conn: Connection, user_id: int | None = None) -> list[Quarantined]:
    """Return what is in quarantine, of one user or of all: by user, oldest first."""
    rows = conn.execute(
        """
        SELECT u.id, u.foursquare_user_id, u.display_name, NULL,
               q.foursquare_id, q.problem, q.first_seen_at, q.last_tried_at
          FROM quarantined_checkins AS q
          JOIN users AS u ON u.id = q.user_id
         WHERE %(user)s::int IS NULL OR q.user_id = %(user)s
         ORDER BY q.user_id, q.first_seen_at, q.foursquare_id
        """,
        {"user": user_id},
    )
    return [Quarantined(User(*row[:4]), *row[4:]) for row in rows]


def counts(conn: Connection) -> dict[int, int]:
    """Return the number of items in quarantine of each user who has any, by user id."""
    rows = conn.execute(
        "SELECT user_id, count(*) FROM quarantined_checkins GROUP BY user_id ORDER BY user_id"
    )
    return dict(rows.fetchall())
