"""Rows of `checkin_photos`. None is ever deleted: a check-in may show fewer photos than it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checkinsync.model.checkin import Checkin
from checkinsync.store.driver_errors import left_out
from checkinsync.store.pool import Connection


def adopt(conn: Connection, user_id: int, checkins: Iterable[Checkin]) -> None:
    """Let rows of the application with the addresses of these check-ins' photos be theirs, each
    once."""
    if not (columns := _columns(user_id, checkins)):
        return
    conn.execute(
        """
        WITH shown AS MATERIALIZED (
            SELECT (SELECT c.id FROM checkins AS c
                     WHERE c.user_id = %(user)s AND c.foursquare_id = s.checkin) AS checkin,
                   s.photo, s.url
              FROM unnest(%(checkin)b::text[], %(photo)b::text[], %(url)b::text[])
                AS s (checkin, photo, url))
        UPDATE checkin_photos AS p SET foursquare_photo_id = n.photo
          FROM (SELECT DISTINCT ON (s.checkin, s.url) s.checkin, s.photo, min(old.id) AS row
                  FROM shown AS s
                  JOIN checkin_photos AS old
                    ON old.checkin_id = s.checkin AND old.photo_url = s.url
                   AND old.foursquare_photo_id IS NULL
                 WHERE NOT EXISTS (SELECT FROM checkin_photos AS known
                                    WHERE known.checkin_id = s.checkin
                                      AND known.foursquare_photo_id = s.photo)
                 GROUP BY s.checkin, s.url, s.photo
                 ORDER BY s.checkin, s.url, s.photo) AS n
         WHERE p.id = n.row
        """,
        columns,
    )


def save(conn: Connection, user_id: int, checkins: Iterable[Checkin]) -> None:
    """Store the photos of these check-ins, which are stored already. Raises ValueRefused."""
    if not (columns := _columns(user_id, checkins)):
        return
    written = conn.execute(
        """
        WITH shown AS MATERIALIZED (
            SELECT (SELECT c.id FROM checkins AS c
                     WHERE c.user_id = %(user)s AND c.foursquare_id = s.checkin) AS checkin,
                   s.photo, s.url, s.width, s.height
              FROM unnest(%(checkin)b::text[], %(photo)b::text[], %(url)b::text[],
                          %(width)b::int4[], %(height)b::int4[])
                AS s (checkin, photo, url, width, height))
        INSERT INTO checkin_photos AS p
               (checkin_id, foursquare_photo_id, photo_url, width, height, created_at)
        SELECT DISTINCT ON (checkin, photo) checkin, photo, url, width, height,
               now() AT TIME ZONE 'UTC'
          FROM shown
        ON CONFLICT (checkin_id, foursquare_photo_id) DO UPDATE
           SET photo_url = excluded.photo_url, width = excluded.width, height = excluded.height
         WHERE (p.photo_url, p.width, p.height)
            IS DISTINCT FROM (excluded.photo_url, excluded.width, excluded.height)
        """,
        columns,
    )
    shown = set(zip(columns["checkin"], columns["photo"], strict=True))
    if written.rowcount != len(shown) and _stored(conn, columns) != len(shown):
        raise left_out("checkin_photos")


def _stored(conn: Connection, columns: dict[str, Any]) -> int:
    """Count the photos that are stored of those shown."""
    row = conn.execute(
        """
        SELECT count(*)
          FROM (SELECT DISTINCT *
                  FROM unnest(%(checkin)b::text[], %(photo)b::text[])) AS s (id, photo)
          JOIN checkins AS c ON c.user_id = %(user)s AND c.foursquare_id = s.id
          JOIN checkin_photos AS p ON p.checkin_id = c.id AND p.foursquare_photo_id = s.photo
        """,
        columns,
    ).fetchone()
    return int(row[0]) if row else 0


def _columns(user_id: int, checkins: Iterable[Checkin]) -> dict[str, Any]:
    """The user, and one array per column; nothing where there are no photos."""
    shown = [(c.id, photo) for c in checkins for photo in c.photos]
    if not shown:
        return {}
    return {
        "user": user_id,
        "checkin": [checkin_id for checkin_id, _ in shown],
        "photo": [photo.id for _, photo in shown],
        "url": [photo.url for _, photo in shown],
        "width": [photo.width for _, photo in shown],
        "height": [photo.height for _, photo in shown],
    }
