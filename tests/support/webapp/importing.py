"""The application's own import, as far as its tables show it: no ids, no updates, venues only.

It uses none of our code, so that tests compare two readings of an item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

INSERT = """
INSERT INTO checkins (user_id, venue_id, venue_name, venue_category, latitude, longitude,
                      checkin_date, city, country)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

PHOTO = """
INSERT INTO checkin_photos (checkin_id, photo_url, width, height)
SELECT id, %s, %s, %s FROM checkins
 WHERE user_id = %s AND venue_id = %s AND checkin_date = %s ORDER BY id LIMIT 1
"""


def moment(item: Any) -> datetime:
    """Return the item's time: UTC, without a zone."""
    return datetime.fromtimestamp(item["createdAt"], UTC).replace(tzinfo=None)


def row(user_id: int, item: Any) -> tuple[object, ...]:
    """Return the row of an item with a venue, as the application stores it."""
    venue = item["venue"]
    place = venue.get("location", {})
    categories = venue.get("categories", [])
    primary = [c["name"] for c in categories if c.get("primary")] or ["Unknown"]
    return (
        user_id, venue["id"], venue["name"], primary[0], place.get("lat") or None,
        place.get("lng") or None, moment(item), place.get("city") or "Unknown",
        place.get("country") or "Unknown",
    )  # fmt: skip


def photos(user_id: int, item: Any) -> Iterable[tuple[object, ...]]:
    """Yield the rows of an item's photos, with user, venue and moment to find its check-in."""
    for photo in item["photos"]["items"]:
        url = f"{photo['prefix']}original{photo['suffix']}"
        where = (user_id, item["venue"]["id"], moment(item))
        yield (url, photo["width"], photo["height"], *where)


def store(
    conn: psycopg.Connection[Any], user_id: int, items: Sequence[Any], *, with_photos: bool
) -> None:
    """Store items one by one, as the application does."""
    with conn.cursor() as cursor, conn.transaction():
        cursor.executemany(INSERT, [row(user_id, item) for item in items])
        if with_photos:
            cursor.executemany(PHOTO, [p for item in items for p in photos(user_id, item)])
