"""Reads a user's rows for an export, and deletes them in batches.

Exported rows come through a server-side cursor, so that memory does not grow with the history.
What the application stores about a user in tables of its own is not exported, and is deleted where
its foreign keys say ON DELETE CASCADE.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable, QueryCanceled
from psycopg.types.json import set_json_loads

from checkinsync.errors import AtWork, UserFailed
from checkinsync.model.user import User
from checkinsync.store.pool import Connection

Row = dict[str, Any]

EXPORT = {
    "checkins": """
        SELECT c.*, c.deleted_at IS NOT NULL AS deleted FROM checkins AS c
         WHERE c.user_id = %(user)s ORDER BY c.checkin_date, c.id
        """,
    "photos": """
        SELECT p.*, c.foursquare_id AS checkin_foursquare_id
          FROM checkin_photos AS p JOIN checkins AS c ON c.id = p.checkin_id
         WHERE c.user_id = %(user)s ORDER BY p.checkin_id, p.id
        """,
    "revisions": """
        SELECT r.*, c.foursquare_id AS checkin_foursquare_id
          FROM checkin_revisions AS r JOIN checkins AS c ON c.id = r.checkin_id
         WHERE r.user_id = %(user)s ORDER BY r.id
        """,
    "quarantined": """
        SELECT * FROM quarantined_checkins WHERE user_id = %(user)s ORDER BY foursquare_id
        """,
    "jobs": "SELECT * FROM import_jobs WHERE user_id = %(user)s ORDER BY id",
    "sync_state": "SELECT * FROM sync_state WHERE user_id = %(user)s",
    "verified": "SELECT * FROM verified_spans WHERE user_id = %(user)s ORDER BY newest DESC",
}
"""Everything but the profile, by name; every column, the application's own included."""

SECRET = {"lease_token", "rejected_token_sha256"}
"""Columns of these tables that are not exported."""

PROFILE = (
    "id", "foursquare_user_id", "display_name", "avatar_url", "created_at", "updated_at",
    "last_login_at", "last_sync_at",
)  # fmt: skip
"""Columns of `users` that are exported: no tokens, and nothing the application adds there."""

FETCHED = 200
"""Rows fetched at a time: check-ins have some kilobytes."""

REMOVAL = {
    "photos": """
        DELETE FROM checkin_photos WHERE id IN (
               SELECT p.id FROM checkins AS c JOIN checkin_photos AS p ON p.checkin_id = c.id
                WHERE c.user_id = %(user)s LIMIT %(most)s)
        """,
    "revisions": """
        DELETE FROM checkin_revisions WHERE id IN (
               SELECT id FROM checkin_revisions
                WHERE user_id = %(user)s ORDER BY id LIMIT %(most)s)
        """,
    "check-ins": """
        DELETE FROM checkins WHERE id IN (
               SELECT id FROM checkins
                WHERE user_id = %(user)s ORDER BY checkin_date LIMIT %(most)s)
        """,
    "jobs": """
        DELETE FROM import_jobs WHERE id IN (
               SELECT id FROM import_jobs WHERE user_id = %(user)s ORDER BY id LIMIT %(most)s)
        """,
    "items in quarantine": """
        DELETE FROM quarantined_checkins WHERE user_id = %(user)s AND foursquare_id IN (
               SELECT foursquare_id FROM quarantined_checkins
                WHERE user_id = %(user)s ORDER BY foursquare_id LIMIT %(most)s)
        """,
    "verified stretches": """
        DELETE FROM verified_spans WHERE user_id = %(user)s AND newest IN (
               SELECT newest FROM verified_spans
                WHERE user_id = %(user)s ORDER BY newest LIMIT %(most)s)
        """,
    "items of a verification": """
        DELETE FROM verification_items WHERE user_id = %(user)s AND foursquare_id IN (
               SELECT foursquare_id FROM verification_items
                WHERE user_id = %(user)s ORDER BY foursquare_id LIMIT %(most)s)
        """,
}
"""Everything but the rows that cascade from `users`, by name, in the order of deletion."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON as it was received, not to be parsed and written again."""

    text: str


# --- export ---------------------------------------------------------------------------------------


def profile(conn: Connection, user_id: int) -> Row | None:
    """Return the user's own row without its secrets; None if there is no such user."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT * FROM users WHERE id = %(user)s", {"user": user_id})
        names = [column.name for column in cursor.description or ()]
        values = cursor.fetchone()
    if values is None:
        return None
    found = dict(zip(names, map(_zoned, values), strict=True))
    return {name: found[name] for name in PROFILE if name in found}


def export(conn: Connection, user_id: int, kind: str) -> Iterator[Row]:
    """Yield the user's rows of one kind of `EXPORT`, through a cursor on the server."""
    with conn.cursor(name="export") as cursor:
        cursor.itersize = FETCHED
        set_json_loads(_as_received, cursor)
        cursor.execute(EXPORT[kind], {"user": user_id})
        names = [column.name for column in cursor.description or ()]
        for values in cursor:
            named = zip(names, map(_zoned, values), strict=True)
            row = {name: value for name, value in named if name not in SECRET}
            yield _with_text(row) if kind == "quarantined" else row


def _as_received(data: str | bytes) -> JsonText:
    return JsonText(data if isinstance(data, str) else bytes(data).decode())


def _zoned(value: Any) -> Any:
    """Return times in UTC, with their zone; columns without zone hold UTC."""
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _with_text(row: Row) -> Row:
    """Return the row with its item as text, or as base64 if it is not UTF-8."""
    item = bytes(row.pop("item"))
    try:
        return row | {"item": item.decode()}
    except UnicodeDecodeError:
        return row | {"item_base64": base64.b64encode(item).decode()}


# --- removal --------------------------------------------------------------------------------------


def begin_removal(conn: Connection, user_id: int, *, at: datetime) -> None:
    """Pause the user and delete their token, so that neither we nor the application import more.

    If the removal is interrupted, that stays so until the next one completes it.
    """
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


def remove_batch(conn: Connection, user_id: int, kind: str, *, most: int) -> int:
    """Delete at most `most` rows of one kind of `REMOVAL`; returns the number."""
    return conn.execute(REMOVAL[kind], {"user": user_id, "most": most}).rowcount


def finish_removal(conn: Connection, user_id: int) -> None:
    """Delete the user's own row, with what cascades from it, and their lease."""
    conn.execute("DELETE FROM users WHERE id = %(user)s", {"user": user_id})
    conn.execute("DELETE FROM import_leases WHERE user_id = %(user)s", {"user": user_id})
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a deferred one would fail in the commit


@contextmanager
def explained(user: User) -> Iterator[None]:
    """Raise AtWork or UserFailed for locks and foreign keys that prevent a removal."""
    try:
        yield
    except (LockNotAvailable, DeadlockDetected, QueryCanceled):
        raise AtWork(
            f"another program is at work on rows of {user}; run the command again when it has "
            "finished: it continues from there"
        ) from None
    except ForeignKeyViolation as error:
        raise UserFailed(
            f"{user} is not removed completely: rows of the application's table "
            f"{error.diag.table_name} refer to them and are not deleted with them; delete those, "
            "then run the command again"
        ) from None
