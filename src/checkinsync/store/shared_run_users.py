"""The users of a run that several processes share: whose turn it is, and how it ended for whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from checkinsync.store.pool import Connection


@dataclass(slots=True)
class StoredUser:
    """A row of `users`, with what the application knows of the user; None if removed since."""

    user_id: int
    place: int
    turn: int
    attempt: int
    running: bool
    doubted: bool
    look_back: bool
    due_at: datetime | None
    saved: Any
    outcome: Any
    foursquare_user_id: str | None = None
    name: str | None = None
    encrypted_token: str | None = field(default=None, repr=False)
    """None as well if it is not the one with which the run began."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """A row of `users` to be inserted."""

    user_id: int
    place: int
    token_sha256: bytes
    due_at: datetime | None
    look_back: bool
    outcome: Any


def add_users(conn: Connection, run_id: int, users: Sequence[NewUser]) -> None:
    """Insert the users of a run: those to be imported, and those whose outcome is known."""
    conn.execute(
        """
        INSERT INTO checkinsync_queue.users
               (run_id, user_id, place, token_sha256, due_at, look_back, outcome)
        SELECT %(run)s, * FROM unnest(%(ids)s::bigint[], %(places)s::bigint[], %(hashes)s::bytea[],
                                      %(times)s::timestamptz[], %(look_back)s::bool[],
                                      %(outcomes)s::jsonb[])
        """,
        {
            "run": run_id,
            "ids": [user.user_id for user in users],
            "places": [user.place for user in users],
            "hashes": [user.token_sha256 for user in users],
            "times": [user.due_at for user in users],
            "look_back": [user.look_back for user in users],
            "outcomes": [None if u.outcome is None else Jsonb(u.outcome) for u in users],
        },
    )


def users(
    conn: Connection, run_id: int, ids: Collection[int] | None = None
) -> Iterator[StoredUser]:
    """Yield users of a run, in the order of the plan. `ids`: these; None: all."""
    rows = conn.execute(
        """
        SELECT s.user_id, s.place, s.turn, s.attempt, s.running, s.doubted, s.look_back, s.due_at,
               s.saved, s.outcome, u.foursquare_user_id, u.display_name,
               CASE WHEN sha256(convert_to(u.access_token_encrypted, 'UTF8')) = s.token_sha256
                    THEN u.access_token_encrypted END
          FROM checkinsync_queue.users AS s
          LEFT JOIN users AS u ON u.id = s.user_id
         WHERE s.run_id = %(run)s
           AND (%(ids)s::bigint[] IS NULL OR s.user_id = ANY (%(ids)s::bigint[]))
         ORDER BY s.place
        """,
        {"run": run_id, "ids": None if ids is None else list(ids)},
    )
    return (StoredUser(*row) for row in rows)


def set_running(conn: Connection, run_id: int, user_id: int) -> None:
    """Record that an attempt begins."""
    conn.execute(
        """
        UPDATE checkinsync_queue.users SET running = true
         WHERE run_id = %(run)s AND user_id = %(user)s
        """,
        {"run": run_id, "user": user_id},
    )


def set_user(conn: Connection, run_id: int, user: StoredUser) -> None:
    """Store what has become of a user."""
    conn.execute(
        """
        UPDATE checkinsync_queue.users
           SET turn = %(turn)s, attempt = %(attempt)s, running = %(running)s,
               doubted = %(doubted)s, due_at = %(due)s, saved = %(saved)s, outcome = %(outcome)s
         WHERE run_id = %(run)s AND user_id = %(user)s
        """,
        {
            "run": run_id,
            "user": user.user_id,
            "turn": user.turn,
            "attempt": user.attempt,
            "running": user.running,
            "doubted": user.doubted,
            "due": user.due_at,
            "saved": None if user.saved is None else Jsonb(user.saved),
            "outcome": None if user.outcome is None else Jsonb(user.outcome),
        },
    )


def start_is_due(conn: Connection, run_id: int, at: datetime) -> bool:
    """Return True if a user waits whose start had come by then."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM checkinsync_queue.users
                        WHERE run_id = %(run)s AND outcome IS NULL AND NOT running
                          AND due_at <= %(at)s)
        """,
        {"run": run_id, "at": at},
    ).fetchone()
    return row is not None and row[0]


def waiting(conn: Connection, run_id: int, *, most: int) -> list[tuple[int, int, datetime]]:
    """Return the users who wait for an attempt, the next one first, with its number and time."""
    rows = conn.execute(
        """
        SELECT user_id, attempt, due_at FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND NOT running AND due_at IS NOT NULL
         ORDER BY due_at, place LIMIT %(most)s
        """,
        {"run": run_id, "most": most},
    )
    return rows.fetchall()


def count_left(conn: Connection, run_id: int) -> int:
    """Count the users who are not done, and not being imported."""
    row = conn.execute(
        """
        SELECT count(*) FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND NOT running
        """,
        {"run": run_id},
    ).fetchone()
    return 0 if row is None else row[0]


def unqueued(
    conn: Connection, run_id: int, *, after: tuple[datetime | None, int | None], most: int
) -> list[tuple[datetime, int, int]]:
    """Return the next first starts after that one: time, place in the plan, user. None: all."""
    rows = conn.execute(
        """
        SELECT due_at, place, user_id FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND turn = 1
           AND (due_at, place) > (coalesce(%(at)s::timestamptz, '-infinity'),
                                  coalesce(%(place)s::bigint, -1))
         ORDER BY due_at, place LIMIT %(most)s
        """,
        {"run": run_id, "at": after[0], "place": after[1], "most": most},
    )
    return rows.fetchall()


def skip_left(conn: Connection, run_id: int, *, reason: str, running: bool) -> list[int]:
    """Store that the users who are not done were skipped, 100,000 of them at most, and return
    these. `running`: also those whose import is at work."""
    rows = conn.execute(
        """
        WITH unfinished AS (
            SELECT user_id FROM checkinsync_queue.users
             WHERE run_id = %(run)s AND outcome IS NULL AND (%(running)s OR NOT running)
             LIMIT 100000)
        UPDATE checkinsync_queue.users AS u
           SET outcome = jsonb_build_object('kind', 'skipped', 'attempts', u.attempt - 1,
                                            'reason', %(reason)s::text)
          FROM unfinished WHERE u.run_id = %(run)s AND u.user_id = unfinished.user_id
        RETURNING u.user_id
        """,
        {"run": run_id, "running": running, "reason": reason},
    )
    return [row[0] for row in rows]


def only_doubted(conn: Connection, run_id: int) -> list[int]:
    """Return the users whose tokens are in doubt, if nobody else is left; else nobody."""
    rows = conn.execute(
        """
        SELECT user_id FROM checkinsync_queue.users
         WHERE run_id = %(run)s AND outcome IS NULL AND due_at IS NULL
           AND NOT EXISTS (SELECT FROM checkinsync_queue.users
                            WHERE run_id = %(run)s AND outcome IS NULL AND due_at IS NOT NULL)
        """,
        {"run": run_id},
    )
    return [row[0] for row in rows]
