"""A user's rows removed, a batch in each transaction, until nothing of his is left.

What an import writes goes by name and number; what the application keeps of him in tables of its
own goes with the row in `users`, as far as it said ON DELETE CASCADE there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from psycopg.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable, QueryCanceled

from checkinsync.errors import AtWork, UserFailed
from checkinsync.model.user import User
from checkinsync.store.pool import Connection


def begin(conn: Connection, user_id: int, *, at: datetime) -> None:
    """Nothing more comes in from now on: he is paused, and neither we nor the application have a
    token. A removal that is cut off stays so until the next one ends it."""
    conn.execute(
        "UPDATE users SET access_token_encrypted = NULL WHERE id = %(user)s", {"user": user_id}
    )
    conn.execute(
        """
        INSERT INTO sync_state (user_id, paused_at, reason)
        VALUES (%(user)s, %(at)s, format('is being removed; `checkinsync users remove %%s` ends it',
                                         %(user)s::int))
        ON CONFLICT (user_id) DO UPDATE
           SET paused_at = excluded.paused_at, reason = excluded.reason
        """,
        {"user": user_id, "at": at},
    )


def _photos(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM checkin_photos WHERE id IN (
               SELECT p.id FROM checkins AS c JOIN checkin_photos AS p ON p.checkin_id = c.id
                WHERE c.user_id = %(user)s LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _checkins(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM checkins WHERE id IN (
               SELECT id FROM checkins
                WHERE user_id = %(user)s ORDER BY checkin_date LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _jobs(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM import_jobs WHERE id IN (
               SELECT id FROM import_jobs WHERE user_id = %(user)s ORDER BY id LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _quarantined(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM quarantined_checkins WHERE user_id = %(user)s AND foursquare_id IN (
               SELECT foursquare_id FROM quarantined_checkins
                WHERE user_id = %(user)s ORDER BY foursquare_id LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _revisions(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM checkin_revisions WHERE id IN (
               SELECT id FROM checkin_revisions
                WHERE user_id = %(user)s ORDER BY id LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _spans(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM verified_spans WHERE user_id = %(user)s AND newest IN (
               SELECT newest FROM verified_spans
                WHERE user_id = %(user)s ORDER BY newest LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


def _verification_items(conn: Connection, user_id: int, most: int) -> int:
    return conn.execute(
        """
        DELETE FROM verification_items WHERE user_id = %(user)s AND foursquare_id IN (
               SELECT foursquare_id FROM verification_items
                WHERE user_id = %(user)s ORDER BY foursquare_id LIMIT %(most)s)
        """,
        {"user": user_id, "most": most},
    ).rowcount


Part = Callable[[Connection, int, int], int]

PARTS: dict[str, Part] = {
    "photos": _photos,
    "revisions": _revisions,
    "check-ins": _checkins,
    "jobs": _jobs,
    "items in quarantine": _quarantined,
    "verified stretches": _spans,
    "items of a verification": _verification_items,
}
"""What goes, in this order, and what removes at most so many rows of it and tells how many."""


def finish(conn: Connection, user_id: int) -> None:
    """The user himself, and what little refers to him still; his lease as well."""
    conn.execute("DELETE FROM users WHERE id = %(user)s", {"user": user_id})
    conn.execute("DELETE FROM import_leases WHERE user_id = %(user)s", {"user": user_id})


@contextmanager
def explained(user: User) -> Iterator[None]:
    """What stands in the way of a transaction, as a sentence. Raises AtWork, UserFailed."""
    try:
        yield
    except (LockNotAvailable, DeadlockDetected, QueryCanceled):
        raise AtWork(
            f"another program is at work on rows of {user}; run the command again when it has "
            "finished: it goes on from there"
        ) from None
    except ForeignKeyViolation as error:
        raise UserFailed(
            f"{user} is not removed altogether: rows of the application's table "
            f"{error.diag.table_name} refer to them and don't go along; remove those, then run "
            "the command again"
        ) from None
