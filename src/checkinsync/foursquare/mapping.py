"""An item's shape -> a `Checkin` whose values fit the columns; no JSON is read here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b

from checkinsync.foursquare import schema
from checkinsync.model.checkin import Checkin, Photo

UNKNOWN = "Unknown"
"""What stands for a missing city, country, category or venue name, as the application has it."""

LONGEST_TEXT = 255
"""Characters of the application's VARCHAR(255) columns."""

LONGEST_TIME_ZONE = 50
"""Characters of `checkins.timezone`; the longest IANA name has 32."""

LARGEST_OFFSET = 24 * 60
"""Minutes; the real ones lie between -720 and +840."""

NORTH_POLE, DATE_LINE = 90.0, 180.0
"""Degrees: the ends of latitude and longitude."""

LARGEST_INTEGER = 2**31 - 1
"""Of PostgreSQL's INTEGER."""

LAST_SECOND = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
"""Unix seconds. What is later was given in another unit, or is no time."""

FINGERPRINT = "1"
"""Goes into each fingerprint; a new one makes every stored check-in be written once more."""


def key_of(item: schema.Item) -> str | None:
    """Its id where it has a usable one; 24 hex digits are usual, but not asked for."""
    usable = item.id and item.id.strip() and len(item.id) <= LONGEST_TEXT
    return item.id if usable else None


def created_at(item: schema.Item) -> datetime | None:
    """`createdAt`; None where it is missing or absurd."""
    seconds = item.created_at
    if seconds is None or not 0 < seconds < LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def checkin(key: str, at: datetime, item: schema.Item, raw: str) -> Checkin:
    """The check-in `key` of the moment `at`, as it goes into the columns."""
    venue = item.venue or schema.Venue()
    place = venue.location or item.location or schema.Location()
    latitude, longitude = _position(place)
    values = Checkin(
        id=key,
        created_at=at,
        kind=item.type or "checkin",
        venue_id=_cut(venue.id),
        venue_name=_named(venue.name) or _named(place.name) or UNKNOWN,
        venue_category=_cut(_category(venue.categories or ())) or UNKNOWN,
        latitude=latitude,
        longitude=longitude,
        city=_cut(_named(place.city)) or UNKNOWN,
        country=_cut(_named(place.country)) or UNKNOWN,
        time_zone=_cut(item.time_zone, LONGEST_TIME_ZONE),
        time_zone_offset=_within(item.time_zone_offset, -LARGEST_OFFSET, LARGEST_OFFSET),
        shout=item.shout or None,
        is_private=item.private is True,
        photos=_photos(item.photos),
        raw=raw,
        fingerprint=b"",
    )
    object.__setattr__(values, "fingerprint", fingerprint(values))  # half the time of a copy
    return values


def fingerprint(values: Checkin) -> bytes:
    """16 bytes over all that goes into columns, and over the photos' ids and addresses.

    BLAKE2b over a JSON list in ASCII, degrees written with the column's eight decimals and photos
    sorted by id: the same on every machine and Python. Counters and `raw` are left out, since
    they drift without an edit.
    """
    parts = [
        FINGERPRINT,
        values.id,
        int(values.created_at.timestamp()),
        values.kind,
        values.venue_id,
        values.venue_name,
        values.venue_category,
        _decimals(values.latitude),
        _decimals(values.longitude),
        values.city,
        values.country,
        values.time_zone,
        values.time_zone_offset,
        values.shout,
        values.is_private,
        sorted((photo.id, photo.url) for photo in values.photos),
    ]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return blake2b(text.encode("ascii"), digest_size=16).digest()


def address(photo: schema.Photo) -> str | None:
    """URL of the photo in its full size: prefix + `original` + suffix."""
    if not photo.prefix or not photo.suffix:
        return None
    return f"{photo.prefix}original{photo.suffix}"


def _position(place: schema.Location) -> tuple[float, float] | tuple[None, None]:
    """Degrees, both or none: half a position is none, and 0/0 is what a shout has for none."""
    latitude, longitude = place.lat, place.lng
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    if abs(latitude) > NORTH_POLE or abs(longitude) > DATE_LINE:
        return None, None
    return latitude, longitude


def _category(categories: Sequence[schema.Category]) -> str | None:
    """The primary one's name, else the first that has one."""
    named = [category for category in categories if _named(category.name)]
    primary = [category for category in named if category.primary]
    return (primary or named)[0].name if named else None


def _photos(photos: schema.Photos | None) -> tuple[Photo, ...]:
    if photos is None or not photos.items:
        return ()
    found: dict[str, Photo] = {}
    for each in photos.items:
        url = address(each)
        if url is not None:
            found.setdefault(each.id or url, _photo(each, url))
    return tuple(found.values())


def _photo(photo: schema.Photo, url: str) -> Photo:
    width = _within(photo.width, 0, LARGEST_INTEGER)
    height = _within(photo.height, 0, LARGEST_INTEGER)
    return Photo(photo.id or url, url, width, height)


def _cut(text: str | None, length: int = LONGEST_TEXT) -> str | None:
    return text[:length] if text else None


def _named(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _within(number: int | None, least: int, most: int) -> int | None:
    return number if number is not None and least <= number <= most else None


def _decimals(degrees: float | None) -> str | None:
    return None if degrees is None else f"{degrees:.8f}"
