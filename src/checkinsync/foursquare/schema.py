"""The shapes of Foursquare's JSON as far as it is read, and how an item is put into them.

`strictly` takes an item whose fields have their documented types, which is nearly every one, and
is fast. `leniently` puts together the same shape from any value, dropping what has a wrong type.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from checkinsync.foursquare import sanitize

_TRUE = {"1", "true"}
_FALSE = {"", "0", "false", "none", "null"}
_DIGITS = re.compile(r"-?[0-9]{1,18}")


class Location(msgspec.Struct, frozen=True):
    """`location` of a venue, or of a check-in without one."""

    name: str | None = None
    lat: Decimal | None = None
    """Degrees, exactly as they are written; also from a text."""
    lng: Decimal | None = None
    city: str | None = None
    country: str | None = None
    cc: str | None = None
    """The country's code of two letters."""


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


class Size(msgspec.Struct, frozen=True):
    """One of the sizes that a photo of the old form comes in."""

    url: str | None = None
    width: int | None = None
    height: int | None = None


class Sizes(msgspec.Struct, frozen=True):
    """`sizes` of a photo of the old form."""

    items: list[Size] | None = None


class Photo(msgspec.Struct, frozen=True):
    """One of a check-in's photos, or a user's; of the old form (until 2012) with `url`, `sizes`."""

    id: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    width: int | None = None
    height: int | None = None
    visibility: str | None = None
    url: str | None = None
    sizes: Sizes | None = None


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
    visibility: str | None = None
    venue: Venue | None = None
    location: Location | None = None
    photos: Photos | None = None


strictly = msgspec.json.Decoder(Item).decode
"""Reads an item from its JSON text; raises msgspec.DecodeError or RecursionError."""


def leniently(value: dict[str, Any]) -> Item:
    """Return an item from any object; a field of a wrong type is as good as missing."""
    return Item(
        id=key(value.get("id")),
        created_at=whole(value.get("createdAt")),
        type=_text(value, "type"),
        time_zone=_text(value, "timeZone"),
        time_zone_offset=whole(value.get("timeZoneOffset")),
        shout=_text(value, "shout"),
        private=_is_private(value.get("private")),
        visibility=_said(value.get("visibility")),
        venue=_venue(value.get("venue")),
        location=_location(value.get("location")),
        photos=_photos(value.get("photos")),
    )


def whole(value: object) -> int | None:
    """Return a whole number, also one written as digits or as an integral float; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) else None


def key(value: object) -> str | None:
    """Return an id: a text, or a whole number as its digits; None for any other."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _text(value: dict[str, Any], key: str) -> str | None:
    text = value.get(key)
    return text if isinstance(text, str) else None


def _said(value: object) -> str | None:
    """A text, or another value as it is written: something was said, if nothing that we know."""
    return value if value is None or isinstance(value, str) else sanitize.dumped(value)


def _flag(value: dict[str, Any], key: str) -> bool | None:
    said = value.get(key)
    return True if said is True or str(said).strip().lower() in _TRUE else None


def _is_private(value: object) -> bool | None:
    """False only where it is plainly said, so that a new way of saying "private" hides too much
    rather than too little."""
    said = value is None or str(value).strip().lower() in _FALSE
    return None if said else True


def _degrees(value: dict[str, Any], key: str) -> Decimal | None:
    degrees = value.get(key)
    if isinstance(degrees, bool) or not isinstance(degrees, int | float | str):
        return None
    try:
        return Decimal(getattr(degrees, "text", None) or str(degrees))
    except InvalidOperation:
        return None


def _venue(value: object) -> Venue | None:
    if not isinstance(value, dict):
        return None
    categories = value.get("categories")
    return Venue(
        id=key(value.get("id")),
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
        cc=_text(value, "cc"),
    )


def _photos(value: object) -> Photos | None:
    if not isinstance(value, dict):
        return None
    return Photos([photo(each) for each in _objects(value.get("items"))])


def photo(value: dict[str, Any]) -> Photo:
    """Return a photo from any object, likewise."""
    return Photo(
        id=key(value.get("id")),
        prefix=_text(value, "prefix"),
        suffix=_text(value, "suffix"),
        width=whole(value.get("width")),
        height=whole(value.get("height")),
        visibility=_said(value.get("visibility")),
        url=_text(value, "url"),
        sizes=_sizes(value.get("sizes")),
    )


def _sizes(value: object) -> Sizes | None:
    if not isinstance(value, dict):
        return None
    return Sizes(
        [
            Size(_text(size, "url"), whole(size.get("width")), whole(size.get("height")))
            for size in _objects(value.get("items"))
        ]
    )


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
