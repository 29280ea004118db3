"""What we read of Foursquare's JSON: its shapes, and how an item is put into them.

`strictly` takes an item whose fields have their documented types, which is nearly every one, and
is fast. `leniently` puts together the same shape from any value, dropping what has a wrong type.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_TRUE = (True, 1, "true")
_DIGITS = re.compile(r"[0-9]{1,18}")


class Location(msgspec.Struct, frozen=True):
    """`location` of a venue, or of a check-in without one."""

    name: str | None = None
    lat: float | None = None
    lng: float | None = None
    city: str | None = None
    country: str | None = None


class Category(msgspec.Struct, frozen=True):
    """One of a venue's `categories`."""

    name: str | None = None
    primary: bool | None = None


class Venue(msgspec.Struct, frozen=True):
    """`venue`: the current one, perhaps renamed or merged since."""

    id: str | None = None
    name: str | None = None
    location: Location | None = None
    categories: list[Category] | None = None


class Photo(msgspec.Struct, frozen=True):
    """One of a check-in's photos, or a user's."""

    id: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    width: int | None = None
    height: int | None = None


class Photos(msgspec.Struct, frozen=True):
    """`photos`: `items` may be missing or fewer than `count`."""

    items: list[Photo] | None = None


class Item(msgspec.Struct, frozen=True, rename="camel"):
    """A check-in, as far as we keep it in columns."""

    id: str | None = None
    created_at: int | None = None
    type: str | None = None
    time_zone: str | None = None
    time_zone_offset: int | None = None
    shout: str | None = None
    private: bool | None = None
    venue: Venue | None = None
    location: Location | None = None
    photos: Photos | None = None


strictly = msgspec.json.Decoder(Item).decode
"""An item from its JSON text; raises msgspec.DecodeError or RecursionError."""


def leniently(value: dict[str, Any]) -> Item:
    """An item from any object; a field of a wrong type is as good as missing."""
    return Item(
        id=_text(value, "id"),
        created_at=whole(value.get("createdAt")),
        type=_text(value, "type"),
        time_zone=_text(value, "timeZone"),
        time_zone_offset=whole(value.get("timeZoneOffset")),
        shout=_text(value, "shout"),
        private=_flag(value, "private"),
        venue=_venue(value.get("venue")),
        location=_location(value.get("location")),
        photos=_photos(value.get("photos")),
    )


def whole(value: object) -> int | None:
    """A whole number, also one written as digits or as an integral float; None for any other."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) else None


def _text(value: dict[str, Any], key: str) -> str | None:
    text = value.get(key)
    return text if isinstance(text, str) else None


def _flag(value: dict[str, Any], key: str) -> bool | None:
    return True if value.get(key) in _TRUE else None


def _degrees(value: dict[str, Any], key: str) -> float | None:
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number)


def _venue(value: object) -> Venue | None:
    if not isinstance(value, dict):
        return None
    categories = value.get("categories")
    return Venue(
        id=_text(value, "id"),
        name=_text(value, "name"),
        location=_location(value.get("location")),
        categories=[
            Category(_text(category, "name"), _flag(category, "primary"))
            for category in _objects(categories)
        ],
    )


def _location(value: object) -> Location | None:
    if not isinstance(value, dict):
        return None
    return Location(
        name=_text(value, "name"),
        lat=_degrees(value, "lat"),
        lng=_degrees(value, "lng"),
        city=_text(value, "city"),
        country=_text(value, "country"),
    )


def _photos(value: object) -> Photos | None:
    if not isinstance(value, dict):
        return None
    return Photos([photo(each) for each in _objects(value.get("items"))])


def photo(value: dict[str, Any]) -> Photo:
    """A photo from any object, likewise."""
    return Photo(
        id=_text(value, "id"),
        prefix=_text(value, "prefix"),
        suffix=_text(value, "suffix"),
        width=whole(value.get("width")),
        height=whole(value.get("height")),
    )


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
