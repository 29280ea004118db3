"""Rows of `checkin_photos`. None is ever deleted: a check-in may show fewer photos than it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from checkinsync.model.checkin import Checkin
from checkinsync.store.pool import Connection


def adopt(conn: Connection, checkins: Iterable[Checkin], *, rows: Mapping[str, int]) -> None:
    """Let rows of the application with the addresses of these check-ins' photos be theirs, each
    once. `rows`: the check-ins' rows by Foursquare id."""
    if not (columns := _columns(checkins, rows)):
        return
    conn.execute(
        """
        UPDATE checkin_photos AS p SET foursquare_photo_id = n.photo
          FROM (SELECT DISTINCT ON (s.checkin, s.url) s.checkin, s.photo, min(old.id) AS row
                  FROM unnest(%(checkin)b::int4[], %(photo)b::text[], %(url)b::text[])
                    AS s (checkin, photo, url)
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


def save(conn: Connection, checkins: Iterable[Checkin], *, rows: Mapping[str, int]) -> None:
    """Store the photos of these check-ins, `rows` as above."""
    if not (columns := _columns(checkins, rows)):
        return
    conn.execute(
        """
        INSERT INTO checkin_photos AS p
               (checkin_id, foursquare_photo_id, photo_url, width, height, created_at)
        SELECT DISTINCT ON (checkin, photo) checkin, photo, url, width, height,
               now() AT TIME ZONE 'UTC'
          FROM unnest(%(checkin)b::int4[], %(photo)b::text[], %(url)b::text[], %(width)b::int4[],
                      %(height)b::int4[]) AS s (checkin, photo, url, width, height)
        ON CONFLICT (checkin_id, foursquare_photo_id) DO UPDATE
           SET photo_url = excluded.photo_url, width = excluded.width, height = excluded.height
         WHERE (p.photo_url, p.width, p.height)
            IS DISTINCT FROM (excluded.photo_url, excluded.width, excluded.height)
        """,
        columns,
    )


def _columns(checkins: Iterable[Checkin], rows: Mapping[str, int]) -> dict[str, list[Any]]:
    """One array per column; nothing where there are no photos."""
    shown = [(rows[c.id], photo) for c in checkins if c.id in rows for photo in c.photos]
    if not shown:
        return {}
    return {
        "checkin": [row for row, _ in shown],
        "photo": [photo.id for _, photo in shown],
        "url": [photo.url for _, photo in shown],
        "width": [photo.width for _, photo in shown],
        "height": [photo.height for _, photo in shown],
    }
