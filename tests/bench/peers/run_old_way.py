"""The nightly job that checkinsync replaces, in its own way: `API DATABASE`.

It fetches everything first; then, check-in by check-in, it looks for the place and the second,
inserts into a table without ids, and commits each batch of 250 with its progress.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import psycopg
import requests

LOOK = "SELECT id FROM checkins WHERE user_id = 1 AND venue_id = %s AND checkin_date = %s"
CHECKIN = """
INSERT INTO checkins (user_id, venue_id, venue_name, venue_category, latitude, longitude,
                      checkin_date, city, country)
VALUES (1, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""
PHOTO = "INSERT INTO checkin_photos (checkin_id, photo_url, width, height) VALUES (%s, %s, %s, %s)"
PROGRESS = "UPDATE import_jobs SET total_imported = %s, current_batch = %s WHERE id = %s"

api, database = sys.argv[1:]
everything: list = []
with requests.Session() as session:
    while True:
        query = {"v": "20240601", "limit": 250, "offset": len(everything), "oauth_token": "t"}
        answer = session.get(f"{api}/users/self/checkins", params=query, timeout=60)
        items = answer.json()["response"]["checkins"]["items"]
        if not items:
            break
        everything += items
with psycopg.connect(database) as conn:
    [job] = conn.execute(
        "INSERT INTO import_jobs (user_id, status) VALUES (1, 'running') RETURNING id"
    ).fetchone()
    conn.commit()
    for batch in range(0, len(everything), 250):
        for item in everything[batch : batch + 250]:
            venue, place = item["venue"], item["venue"]["location"]
            at = datetime.fromtimestamp(item["createdAt"], UTC).replace(tzinfo=None)
            if conn.execute(LOOK, (venue["id"], at)).fetchone():
                continue
            kind = venue["categories"][0]["name"]
            where = (place["lat"], place["lng"], at, place["city"], place["country"])
            [row] = conn.execute(CHECKIN, (venue["id"], venue["name"], kind, *where)).fetchone()
            for photo in item["photos"]["items"]:
                url = f"{photo['prefix']}original{photo['suffix']}"
                conn.execute(PHOTO, (row, url, photo["width"], photo["height"]))
        conn.execute(PROGRESS, (batch + 250, batch // 250 + 1, job))
        conn.commit()
    conn.execute("UPDATE users SET last_sync_at = now() AT TIME ZONE 'UTC' WHERE id = 1")
