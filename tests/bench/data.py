"""Check-ins as the API shows them, made up by number: the same ones on each machine.

About 2 kB each; one in five has a photo, one in four a shout, some of them with emoji, every third
is liked. Nothing here is ours: the peers read the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

ICON = {"prefix": "https://ss3.4sqi.net/img/categories_v2/food/coffeeshop_", "suffix": ".png"}
KINDS = ("Coffee Shop", "Bar", "Park", "Train Station", "Museum", "Bakery", "Bookstore", "Gym")
CITIES = (
    ("Berlin", "DE", "Germany", 52.52, 13.405, "Europe/Berlin", 60),
    ("New York", "US", "United States", 40.7128, -74.006, "America/New_York", -300),
    ("東京都", "JP", "日本", 35.6762, 139.6503, "Asia/Tokyo", 540),
    ("İstanbul", "TR", "Türkiye", 41.0082, 28.9784, "Europe/Istanbul", 180),
)
SHOUTS = ("Finally here!", "Best flat white in town ☕", "Mit der ganzen Bande 🎉👍🏽", "またね")
VENUES = 400
DELIVERY = {
    "id": "290000",
    "url": "https://www.seamless.com/menu/cafe/290000?affiliate=1131&utm_source=foursquare-affiliate"
    "-network&utm_medium=affiliate&utm_campaign=1131&utm_content=290000",
    "provider": {
        "name": "seamless",
        "icon": {
            "prefix": "https://fastly.4sqi.net/img/general/cap/",
            "sizes": [40, 50],
            "name": "/delivery_provider_seamless_20180129.png",
        },
    },
}
"""Venues have it, or something like it."""

SOURCE = {"name": "Swarm for iOS", "url": "https://www.swarmapp.com"}
FRIEND = {
    "id": "1001",
    "firstName": "Grace",
    "lastName": "Hopper",
    "gender": "female",
    "relationship": "friend",
    "photo": {"prefix": "https://fastly.4sqi.net/img/user/", "suffix": "/1001.jpg"},
}

Json = dict[str, Any]


def items(count: int, *, newest: int, spacing: int) -> Iterator[bytes]:
    """Yield so many items as JSON, newest first, `spacing` seconds apart."""
    rng = random.Random(7)
    venues = [_venue(number) for number in range(VENUES)]
    for number in range(count):
        at = newest - number * spacing - rng.randrange(spacing // 2)
        yield _encoded(_item(rng, venues[rng.randrange(VENUES)], number, at))


def _encoded(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _item(rng: random.Random, venue: Json, number: int, at: int) -> Json:
    shout = {"shout": rng.choice(SHOUTS)} if number % 4 == 0 else {}
    photos = [_photo(rng, at)] if number % 5 == 0 else []
    liked = [dict(FRIEND)] if number % 3 == 0 else []
    group = {"type": "friends", "count": len(liked), "items": liked}
    zone, offset = venue["timeZone"], venue["timeZoneOffset"]
    return {
        "id": f"{at:08x}{number:08x}{rng.getrandbits(32):08x}",
        "createdAt": at,
        "type": "checkin",
        "entities": [],
        **shout,
        "timeZone": zone,
        "timeZoneOffset": offset,
        "editableUntil": (at + 86_400) * 1000,
        "venue": {k: v for k, v in venue.items() if not k.startswith("timeZone")},
        "likes": {"count": len(liked), "groups": [group] if liked else []},
        "like": False,
        "isMayor": number % 20 == 0,
        "photos": {"count": len(photos), "items": photos, "layout": {"name": "single"}},
        "posts": {"count": 0, "textCount": 0, "items": []},
        "checkinShortUrl": f"https://www.swarmapp.com/c/{rng.getrandbits(48):012x}",
        "comments": {"count": 0},
        "source": SOURCE,
    }


def _photo(rng: random.Random, at: int) -> Json:
    return {
        "id": f"{at:08x}{rng.getrandbits(64):016x}",
        "createdAt": at,
        "source": SOURCE,
        "prefix": "https://fastly.4sqi.net/img/general/",
        "suffix": f"/{rng.getrandbits(64):016x}.jpg",
        "width": 1440,
        "height": 1920,
        "demoted": False,
        "user": FRIEND,
        "visibility": "public",
    }


def _venue(number: int) -> Json:
    city, cc, country, lat, lng, zone, offset = CITIES[number % len(CITIES)]
    kind, street = KINDS[number % len(KINDS)], f"Station Road {number}"
    lat, lng = round(lat + number / 9000, 6), round(lng - number / 7000, 6)
    return {
        "id": f"4bf58dd8{number:016x}",
        "name": f"Café Nº {number}: {kind}",
        "contact": {},
        "location": {
            "address": street,
            "crossStreet": "at Main Street",
            "lat": lat,
            "lng": lng,
            "labeledLatLngs": [{"label": "display", "lat": lat, "lng": lng}],
            "postalCode": f"{10000 + number}",
            "cc": cc,
            "city": city,
            "state": city,
            "country": country,
            "formattedAddress": [street, f"{10000 + number} {city}", country],
        },
        "categories": [
            {
                "id": f"4bf58dd8d48988d1{number % len(KINDS):08x}",
                "name": kind,
                "pluralName": f"{kind}s",
                "shortName": kind,
                "icon": ICON,
                "primary": True,
            }
        ],
        "verified": False,
        "delivery": DELIVERY,
        "menu": {
            "type": "Menu",
            "label": "Menu",
            "anchor": "View Menu",
            "url": f"https://foursquare.com/v/4bf58dd8{number:016x}/menu",
            "mobileUrl": f"https://foursquare.com/v/4bf58dd8{number:016x}/device_menu",
        },
        "stats": {"tipCount": number, "usersCount": 10 * number, "checkinsCount": 30 * number},
        "allowMenuUrlEdit": True,
        "beenHere": {"count": 4, "lastCheckinExpiredAt": 0, "marked": False},
        "hereNow": {"count": 0, "summary": "Nobody here", "groups": []},
        "timeZone": zone,
        "timeZoneOffset": offset,
    }
