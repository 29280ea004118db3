"""Everything that is stored of one user, row by row, to be handed to him; nothing secret.

Rows come through a cursor of the server's, so that memory does not grow with the history. Times
of columns without zone, which hold UTC, say so here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import ServerCursor
from psycopg.types.json import set_json_loads

from checkinsync.store.pool import Connection

Row = dict[str, Any]

FETCHED = 200
"""Rows at a time: check-ins have some kilobytes."""

PROFILE = (
    "id", "foursquare_user_id", "display_name", "avatar_url", "created_at", "updated_at",
    "last_login_at", "last_sync_at",
)  # fmt: skip
"""What of `users` is told: neither token, nor whatever the application adds to that table."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON as it was received, not to be read and written anew."""

    text: str


def profile(conn: Connection, user_id: int) -> Row | None:
    """The user himself; None where he is no more."""
    with _cursor(conn) as rows:
        rows.execute("SELECT * FROM users WHERE id = %(user)s", {"user": user_id})
        found = next(_named(rows), None)
    return None if found is None else {name: found[name] for name in PROFILE if name in found}


def _checkins(conn: Connection, user_id: int) -> Iterator[Row]:
    """Every column, those of the application's own too; what is gone at Foursquare is marked."""
    with _cursor(conn) as rows:
        rows.execute(
            """
            SELECT c.*, c.deleted_at IS NOT NULL AS deleted FROM checkins AS c
             WHERE c.user_id = %(user)s ORDER BY c.checkin_date, c.id
            """,
            {"user": user_id},
        )
        yield from _named(rows)


def _photos(conn: Connection, user_id: int) -> Iterator[Row]:
    with _cursor(conn) as rows:
        rows.execute(
            """
            SELECT p.*, c.foursquare_id AS checkin_foursquare_id
              FROM checkin_photos AS p JOIN checkins AS c ON c.id = p.checkin_id
             WHERE c.user_id = %(user)s ORDER BY p.checkin_id, p.id
            """,
            {"user": user_id},
        )
        yield from _named(rows)


def _quarantined(conn: Connection, user_id: int) -> Iterator[Row]:
    """An item that is no text comes as base64."""
    with _cursor(conn) as rows:
        rows.execute(
            """
            SELECT * FROM quarantined_checkins WHERE user_id = %(user)s ORDER BY foursquare_id
            """,
            {"user": user_id},
        )
        for row in _named(rows):
            item = bytes(row.pop("item"))
            try:
                yield row | {"item": item.decode()}
            except UnicodeDecodeError:
                yield row | {"item_base64": base64.b64encode(item).decode()}


def _jobs(conn: Connection, user_id: int) -> Iterator[Row]:
    with _cursor(conn) as rows:
        rows.execute(
            "SELECT * FROM import_jobs WHERE user_id = %(user)s ORDER BY id", {"user": user_id}
        )
        for row in _named(rows):
            yield {name: value for name, value in row.items() if name != "lease_token"}


def _sync_state(conn: Connection, user_id: int) -> Iterator[Row]:
    with _cursor(conn) as rows:
        rows.execute("SELECT * FROM sync_state WHERE user_id = %(user)s", {"user": user_id})
        for row in _named(rows):
            yield {name: value for name, value in row.items() if name != "rejected_token_sha256"}


def _revisions(conn: Connection, user_id: int) -> Iterator[Row]:
    with _cursor(conn) as rows:
        rows.execute(
            """
            SELECT r.*, c.foursquare_id AS checkin_foursquare_id
              FROM checkin_revisions AS r JOIN checkins AS c ON c.id = r.checkin_id
             WHERE r.user_id = %(user)s ORDER BY r.id
            """,
            {"user": user_id},
        )
        yield from _named(rows)


def _verified(conn: Connection, user_id: int) -> Iterator[Row]:
    with _cursor(conn) as rows:
        rows.execute(
            "SELECT * FROM verified_spans WHERE user_id = %(user)s ORDER BY newest DESC",
            {"user": user_id},
        )
        yield from _named(rows)


KINDS: dict[str, Callable[[Connection, int], Iterator[Row]]] = {
    "checkins": _checkins,
    "photos": _photos,
    "revisions": _revisions,
    "quarantined": _quarantined,
    "jobs": _jobs,
    "sync_state": _sync_state,
    "verified": _verified,
}
"""Everything but the profile, by name."""


def _cursor(conn: Connection) -> ServerCursor[tuple[Any, ...]]:
    cursor = conn.cursor(name="belongings")
    cursor.itersize = FETCHED
    set_json_loads(_as_received, cursor)
    return cursor


def _as_received(data: str | bytes) -> JsonText:
    return JsonText(data if isinstance(data, str) else bytes(data).decode())


def _named(rows: ServerCursor[tuple[Any, ...]]) -> Iterator[Row]:
    names = [column.name for column in rows.description or ()]
    for row in rows:
        yield {name: _zoned(value) for name, value in zip(names, row, strict=True)}


def _zoned(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
