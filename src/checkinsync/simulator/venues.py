"""The places of a simulated world, made up by seed: a venue as the API shows it in a check-in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

ICONS = "https://ss3.4sqi.net/img/categories_v2/"


@dataclass(frozen=True, slots=True)
class City:
    """A place with venues; `offset` in minutes east of UTC, without summer time."""

    name: str
    state: str
    cc: str
    country: str
    lat: float
    lng: float
    zone: str
    offset: int


CITIES = (
    City("Berlin", "Berlin", "DE", "Germany", 52.5200, 13.4050, "Europe/Berlin", 60),
    City("New York", "NY", "US", "United States", 40.7128, -74.0060, "America/New_York", -300),
    City("San Juan", "PR", "US", "United States", 18.4655, -66.1057, "America/Puerto_Rico", -240),
    City("Mumbai", "Mahārāshtra", "IN", "India", 19.0760, 72.8777, "Asia/Kolkata", 330),
    City("Kathmandu", "Bagmati", "NP", "Nepal", 27.7172, 85.3240, "Asia/Kathmandu", 345),
    City("Adelaide", "SA", "AU", "Australia", -34.9285, 138.6007, "Australia/Adelaide", 570),
    City("東京都", "東京都", "JP", "日本", 35.6762, 139.6503, "Asia/Tokyo", 540),
    City("İstanbul", "İstanbul", "TR", "Türkiye", 41.0082, 28.9784, "Europe/Istanbul", 180),
)

KINDS = (
    ("Coffee Shop", "4bf58dd8d48988d1e0931735", "food/coffeeshop_", ("Café", "Espresso Bar")),
    ("Bar", "4bf58dd8d48988d116941735", "nightlife/pub_", ("Bar", "Taproom")),
    ("Park", "4bf58dd8d48988d163941735", "parks_outdoors/park_", ("Park", "Gardens")),
    ("Train Station", "4bf58dd8d48988d129951735", "travel/trainstation_", ("Station",)),
    ("Museum", "4bf58dd8d48988d181941735", "arts_entertainment/museum_", ("Museum",)),
    ("Bakery", "4bf58dd8d48988d16a941735", "food/bakery_", ("Bakery", "Bäckerei")),
    ("Bookstore", "4bf58dd8d48988d114951735", "shops/bookstore_", ("Books", "Antiquariat")),
    ("Gym", "4bf58dd8d48988d175941735", "building/gym_", ("Gym", "Boulder Hall")),
)
"""Category name, category id, the icon's place, and how such places like to call themselves."""

STREETS = ("Station Road", "Main Street", "Lindenallee", "Harbour Lane", "5th Ave", "Rue du Lac")
OWNERS = (
    "Ada's",
    "The Old",
    "Zur Linde",
    "Blue Door",
    "Grandma's",
    "North Side",
    "Señor Gómez",
    "O'Neill's",
)


def category(kind: int, *, primary: bool = True) -> Json:
    """One of a venue's categories, with its icon."""
    name, category_id, icon, _ = KINDS[kind]
    return {
        "id": category_id,
        "name": name,
        "pluralName": f"{name}s",
        "shortName": name,
        "icon": {"prefix": f"{ICONS}{icon}", "suffix": ".png"},
        "primary": primary,
    }


def location(rng: random.Random, city: City) -> Json:
    """A street address within about five kilometres of the city's centre."""
    lat = round(city.lat + rng.uniform(-0.05, 0.05), 6)
    lng = round(city.lng + rng.uniform(-0.05, 0.05), 6)
    street = f"{rng.choice(STREETS)} {rng.randint(1, 240)}"
    postal = f"{rng.randint(10000, 99999)}"
    return {
        "address": street,
        "crossStreet": f"at {rng.choice(STREETS)}",
        "lat": lat,
        "lng": lng,
        "labeledLatLngs": [{"label": "display", "lat": lat, "lng": lng}],
        "postalCode": postal,
        "cc": city.cc,
        "city": city.name,
        "state": city.state,
        "country": city.country,
        "formattedAddress": [street, f"{postal} {city.name}", city.country],
    }


def venue(rng: random.Random) -> Json:
    """A venue with everything that a check-in shows of it."""
    kind = rng.randrange(len(KINDS))
    categories = [category(kind)]
    if rng.random() < 0.2:
        categories.append(category((kind + 1) % len(KINDS), primary=False))
    checkins = rng.randint(3, 40_000)
    return {
        "id": f"{rng.getrandbits(96):024x}",
        "name": f"{rng.choice(OWNERS)} {rng.choice(KINDS[kind][3])}",
        "contact": {},
        "location": location(rng, rng.choice(CITIES)),
        "categories": categories,
        "verified": rng.random() < 0.3,
        "stats": {
            "tipCount": checkins // 90,
            "usersCount": checkins // 3 + 1,
            "checkinsCount": checkins,
        },
        "allowMenuUrlEdit": True,
        "beenHere": {"count": rng.randint(1, 30), "lastCheckinExpiredAt": 0, "marked": False},
        "hereNow": {"count": 0, "summary": "Nobody here", "groups": []},
    }


def zone_of(shown: Json) -> tuple[str, int]:
    """The IANA zone of a venue's city, and its minutes east of UTC; UTC for an unknown city."""
    name = shown.get("location", {}).get("city")
    return next(((c.zone, c.offset) for c in CITIES if c.name == name), ("UTC", 0))
