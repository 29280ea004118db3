"""One check-in as the API shows it, made up by seed; about 1.7 KB of JSON, like recorded ones."""

from __future__ import annotations

import random

from checkinsync.simulator.venues import Json, zone_of

PHOTOS = "https://fastly.4sqi.net/img/general/"

SHOUTS = (
    "Finally here!",
    "Best flat white in town ☕",
    "Zum ersten Mal hier, schön.",
    "With the whole team 🎉",
    "またね",
    "Two lines:\nthe second one.",
)

SOURCES = (
    {"name": "Swarm for iOS", "url": "https://www.swarmapp.com"},
    {"name": "Swarm for Android", "url": "https://www.swarmapp.com"},
    {"name": "foursquare for iPhone", "url": "https://foursquare.com/download/#/iphone"},
)

FRIENDS = (("Grace", "Hopper"), ("Alan", "Turing"), ("Björk", "Jónsdóttir"))


def checkin_id(rng: random.Random, entered_at: int) -> str:
    """24 hex digits, the first eight of which are the instant at which it was entered."""
    return f"{entered_at:08x}{rng.getrandbits(64):016x}"


def photo(rng: random.Random, taken_at: int) -> Json:
    """A photo; its address is prefix + `original` + suffix."""
    return {
        "id": checkin_id(rng, taken_at),
        "createdAt": taken_at,
        "source": SOURCES[0],
        "prefix": PHOTOS,
        "suffix": f"/{rng.getrandbits(64):016x}.jpg",
        "width": 1440,
        "height": 1920,
        "demoted": False,
        "visibility": rng.choice(("public", "friends")),
    }


def likes(*names: str) -> Json:
    """The likes of a check-in, by friends of these first names."""
    people = [{"id": str(1000 + n), "firstName": name} for n, name in enumerate(names)]
    group = {"type": "friends", "count": len(people), "items": people}
    return {"count": len(people), "groups": [group] if people else []}


def checkin(rng: random.Random, venue: Json, *, item_id: str, created_at: int) -> Json:
    """A check-in of the usual kind: what usually comes, some of what sometimes does."""
    zone, offset = zone_of(venue)
    photos = [
        photo(rng, created_at + 60 * n) for n in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2)))
    ]
    liked_by = rng.sample([first for first, _ in FRIENDS], rng.choice((0, 0, 0, 1, 2)))
    return {
        "id": item_id,
        "createdAt": created_at,
        "type": "checkin",
        **sometimes(rng, created_at),
        "timeZone": zone,
        "timeZoneOffset": offset,
        "editableUntil": (created_at + 86_400) * 1000,
        "venue": venue,
        "likes": likes(*liked_by),
        "like": False,
        "isMayor": rng.random() < 0.05,
        "photos": {
            "count": len(photos),
            "items": photos,
            "layout": {"name": "single"},
        },
        "posts": {"count": 0, "textCount": 0},
        "checkinShortUrl": f"https://www.swarmapp.com/c/{rng.getrandbits(48):012x}",
        "comments": {"count": rng.choice((0, 0, 0, 1))},
        "source": rng.choice(SOURCES),
    }


def sometimes(rng: random.Random, created_at: int) -> Json:
    """The keys that only some check-ins have."""
    some: Json = {}
    if rng.random() < 0.25:
        some["shout"] = rng.choice(SHOUTS)
    if rng.random() < 0.08:
        some["private"] = True
        some["visibility"] = "private"
    if rng.random() < 0.1:
        first, last = rng.choice(FRIENDS)
        some["with"] = [{"id": "1001", "firstName": first, "lastName": last, "gender": "none"}]
    if rng.random() < 0.02:
        some["createdBy"] = {"id": "1002", "firstName": "Alan", "relationship": "friend"}
    if rng.random() < 0.1:
        some["sticker"] = {
            "id": "5437fcf1498e0a4d8d7d4f5b",
            "name": "Jetsetter",
            "unlockTs": created_at,
        }
    return some
