"""An item's shape -> a `Checkin` whose values fit the columns; no JSON is read here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b, sha256
from json.encoder import encode_basestring_ascii as _quoted

from msgspec.structs import force_setattr

from checkinsync.foursquare import schema
from checkinsync.model.checkin import NAMELESS, Checkin, Photo

UNKNOWN = "Unknown"
"""Stands for a missing city, country, category or venue name, as the application has it."""

LONGEST_TEXT = 255
"""Characters of the application's VARCHAR(255) columns."""

LONGEST_TIME_ZONE = 50
"""Characters of `checkins.timezone`; the longest IANA name has 32."""

LARGEST_OFFSET = 24 * 60
"""Minutes; the real ones lie between -720 and +840."""

NORTH_POLE, DATE_LINE = 90, 180
"""Degrees: the ends of latitude and longitude."""

DECIMALS = Decimal("1E-8")
"""Of the columns, DECIMAL(10, 8) and DECIMAL(11, 8)."""

ZERO = Decimal("0E-8")

SHOWN_TO_OTHERS = {None, "friends", "public"}
"""Values of `visibility` that do not make a check-in private. `closeFriends` does, for it is not
shown to all friends; and so does a value that we do not know."""

LARGEST_INTEGER = 2**31 - 1
"""Of PostgreSQL's INTEGER."""

LAST_SECOND = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
"""Unix seconds. A later time was given in another unit, or is none."""

FINGERPRINT = "2"
"""Goes into each fingerprint; a new one makes every stored check-in be written once more."""


def key_of(item: schema.Item) -> str | None:
    """Return the item's id where it is usable: short enough for the index, and printable.

    24 hex digits are usual, but not asked for.
    """
    item_id = item.id or ""
    usable = item_id.strip() and item_id.isprintable() and len(item_id) <= LONGEST_TEXT
    return item_id if usable else None


def created_at(item: schema.Item) -> datetime | None:
    """Return `createdAt`; None where it is missing or absurd."""
    seconds = item.created_at
    if seconds is None or not 0 < seconds < LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def checkin(
    key: str, at: datetime, item: schema.Item, raw: bytes, *, extras: str = "{}"
) -> Checkin:
    """Return the check-in `key` of the moment `at`, as it goes into the columns.

    `extras`: its other parts that count as edits; see `edits`.
    """
    venue = item.venue or schema.Venue()
    place = venue.location or item.location or schema.Location()
    latitude, longitude = _position(place)
    values = Checkin(  # in order, which is four times as fast as by name
        key,
        at,
        _cut(item.type) or "checkin",
        _cut(venue.id),
        _named(venue.name) or _named(place.name) or UNKNOWN,
        _cut(_category(venue.categories or ())) or UNKNOWN,
        latitude,
        longitude,
        _cut(_named(place.city)) or UNKNOWN,
        _cut(_named(place.country) or _named(place.cc)) or UNKNOWN,
        _cut(item.time_zone, LONGEST_TIME_ZONE),
        _within(item.time_zone_offset, -LARGEST_OFFSET, LARGEST_OFFSET),
        item.shout or None,
        item.private is True or item.visibility not in SHOWN_TO_OTHERS,
        tuple(_photos(item.photos.items)) if item.photos and item.photos.items else (),
        raw,
        b"",
        None if item.visibility is None else item.visibility[:LONGEST_TEXT],
        extras,
    )
    force_setattr(values, "fingerprint", fingerprint(values))  # a hash of all the others
    return values


def fingerprint(values: Checkin) -> bytes:
    """Return 16 bytes over all that goes into columns, the photos, and `extras`.

    BLAKE2b over a JSON list in ASCII, degrees written with the column's eight decimals and photos
    sorted by id: the same on every machine and Python. Counters and `raw` are left out, since
    they drift without an edit.
    """
    offset = "null" if values.time_zone_offset is None else values.time_zone_offset
    parts = (  # by hand, in two thirds of an encoder's time
        f'["{FINGERPRINT}",{_quoted(values.id)},{int(values.created_at.timestamp())},'
        f"{_quoted(values.kind)},{_text(values.venue_id)},{_quoted(values.venue_name)},"
        f"{_quoted(values.venue_category)},{_written(values.latitude)},"
        f"{_written(values.longitude)},{_quoted(values.city)},{_quoted(values.country)},"
        f"{_text(values.time_zone)},{offset},{_text(values.shout)},"
        f"{'true' if values.is_private else 'false'},{_text(values.visibility)},"
        f"{_shown(values.photos) if values.photos else '[]'},{_quoted(values.extras)}]"
    )
    return blake2b(parts.encode("ascii"), digest_size=16).digest()


def address(photo: schema.Photo) -> str | None:
    """Return the URL of the photo in its full size: prefix + `original` + suffix.

    A photo of the old form has a `url` of its own, or one in each of its `sizes`.
    """
    if photo.prefix and photo.suffix:
        return f"{photo.prefix}original{photo.suffix}"
    return photo.url or _largest(photo).url


def _largest(photo: schema.Photo) -> schema.Size:
    """The largest size of a photo of the old form that has an address."""
    sizes = photo.sizes.items if photo.sizes and photo.sizes.items else []
    return max(
        (size for size in sizes if size.url),
        key=lambda size: (size.width or 0) * (size.height or 0),
        default=schema.Size(),
    )


def _position(place: schema.Location) -> tuple[Decimal, Decimal] | tuple[None, None]:
    """Degrees, both or none: half a position is none, and 0/0 stands on a shout for none."""
    latitude, longitude = _degrees(place.lat, NORTH_POLE), _degrees(place.lng, DATE_LINE)
    if latitude is None or longitude is None or not (latitude or longitude):
        return None, None
    return latitude, longitude


def _degrees(written: Decimal | None, most: int) -> Decimal | None:
    """Degrees as the column holds them: rounded as PostgreSQL rounds, half away from zero."""
    if written is None or not written.is_finite() or not -most <= written <= most:
        return None
    return written.quantize(DECIMALS, ROUND_HALF_UP) or ZERO  # without the sign of -0


def _category(categories: Iterable[schema.Category]) -> str | None:
    """The primary one's name, else the first that has one."""
    first = None
    for category in categories:
        if _named(category.name):
            if category.primary:
                return category.name
            first = first or category.name
    return first


def _photos(photos: Iterable[schema.Photo]) -> Iterator[Photo]:
    """The photos that have an address, each once.

    Of several under one id the first address in alphabetical order has the id, whatever order they
    come in; the others go by their addresses.
    """
    by_id: defaultdict[str, dict[str, schema.Photo]] = defaultdict(dict)
    for each in photos:
        url = address(each)
        if url:
            by_id[each.id or url].setdefault(url, each)
    for photo_id, found in by_id.items():
        for number, (url, each) in enumerate(sorted(found.items())):
            yield _photo(each, url, photo_id if number == 0 else url)


def _photo(photo: schema.Photo, url: str, photo_id: str) -> Photo:
    size = _largest(photo) if photo.width is None and photo.height is None else photo
    return Photo(
        _bounded(photo_id),
        url,
        _within(size.width, 0, LARGEST_INTEGER),
        _within(size.height, 0, LARGEST_INTEGER),
        photo.visibility,
    )


def _bounded(photo_id: str) -> str:
    """An id that fits into an index."""
    if len(photo_id) <= LONGEST_TEXT:
        return photo_id
    return f"{NAMELESS}{sha256(photo_id.encode(errors='replace')).hexdigest()}"


def _cut(text: str | None, length: int = LONGEST_TEXT) -> str | None:
    return text[:length] if text else None


def _named(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _within(number: int | None, least: int, most: int) -> int | None:
    return number if number is not None and least <= number <= most else None


def _shown(photos: Iterable[Photo]) -> str:
    shown = sorted((photo.id, photo.url, photo.visibility or "") for photo in photos)
    lists = [f"[{','.join(map(_quoted, photo))}]" for photo in shown]
    return f"[{','.join(lists)}]"


def _text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _written(degrees: Decimal | None) -> str:
    if degrees is None:
        return "null"
    text = str(degrees)  # in a third of the time that a format takes
    return f'"{degrees:f}"' if "E" in text else f'"{text}"'
