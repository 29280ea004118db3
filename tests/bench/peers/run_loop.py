"""A plain loop: each check-in by one INSERT, committed at once: `API DATABASE`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import psycopg
import requests
from psycopg.types.json import Jsonb

TABLES = """
CREATE TABLE loop_checkins (
    id TEXT PRIMARY KEY, created_at TIMESTAMPTZ NOT NULL, venue_id TEXT, venue_name TEXT,
    latitude DOUBLE PRECISION, longitude DOUBLE PRECISION, shout TEXT, raw JSONB NOT NULL);
CREATE TABLE loop_photos (
    id TEXT PRIMARY KEY, checkin_id TEXT NOT NULL REFERENCES loop_checkins, url TEXT NOT NULL);
"""
CHECKIN = """
INSERT INTO loop_checkins VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET shout = excluded.shout, raw = excluded.raw
"""
PHOTO = "INSERT INTO loop_photos VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

api, database = sys.argv[1:]
with psycopg.connect(database, autocommit=True) as conn, requests.Session() as session:
    conn.execute(TABLES)
    offset = 0
    while True:
        query = {"v": "20240601", "limit": 250, "offset": offset, "oauth_token": "token-1"}
        answer = session.get(f"{api}/users/self/checkins", params=query, timeout=60)
        items = answer.json()["response"]["checkins"]["items"]
        if not items:
            break
        for item in items:
            venue, at = item["venue"], datetime.fromtimestamp(item["createdAt"], UTC)
            place = venue["location"]
            row = (item["id"], at, venue["id"], venue["name"], place["lat"], place["lng"])
            conn.execute(CHECKIN, (*row, item.get("shout"), Jsonb(item)))
            for photo in item["photos"]["items"]:
                url = f"{photo['prefix']}original{photo['suffix']}"
                conn.execute(PHOTO, (photo["id"], item["id"], url))
        offset += len(items)
