"""The parts of a check-in that count as edits though they have no column of their own; pure.

Everything that a person can edit counts, and everything unknown. Left out is only what is named
here: counters, and what Foursquare works out by itself, which both change without an edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from checkinsync.foursquare import schema

IN_COLUMNS = frozenset(
    {"id", "createdAt", "type", "timeZone", "timeZoneOffset", "shout", "private", "visibility"}
    | {"venue", "location", "photos"}
)
"""Keys that are read into values of a `Checkin`."""

COUNTERS = frozenset(
    {"stats", "beenHere", "hereNow", "likes", "like", "comments", "posts", "isMayor", "score"}
    | {"scores", "unreadCount", "viewCount"}
)
"""Keys, at whatever depth, whose values drift without an edit."""

WORKED_OUT = frozenset(
    {"user", "source", "overlaps", "insights", "objects", "distance", "displayGeo", "editableUntil"}
    | {"checkinShortUrl", "canonicalUrl", "canonicalPath", "exactContextLine"}
    | {"reasonCannotSeeComments", "reasonCannotAddComments"}
)
"""Keys of an item that Foursquare fills in by itself: they are not edited."""

LEFT_OUT = IN_COLUMNS | COUNTERS | WORKED_OUT

NAMED = {"createdBy": ("id",), "event": ("id", "name"), "sticker": ("id", "name"), "with": ("id",)}
"""Keys whose values are people and things that change by themselves, and what identifies them: a
friend's new portrait is not an edit of the check-ins they were at."""

TAKEN = {"kind", "other", "time"}
"""Names of other parts of a revision."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""Foursquare's keys look like this; parts are told by them, so that any other key is not used."""

_Known: Any = msgspec.defstruct(
    "_Known",
    [
        *((key, msgspec.Raw, msgspec.Raw()) for key in (LEFT_OUT | NAMED.keys()) - IN_COLUMNS),
        ("entities", tuple[()], ()),  # mostly empty, and then as good as missing
    ],
    bases=(schema.Item,),
    frozen=True,
    forbid_unknown_fields=True,
)
_known = msgspec.json.Decoder(_Known).decode
_named = attrgetter(*NAMED)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode
_in_one_spelling = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def read_item(text: bytes) -> tuple[schema.Item, str]:
    """Return the shape of an item's JSON text, and these parts of it as JSON in one spelling; read
    at once, unless it has a key that is not named here.

    Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError; see `schema.strictly`.
    """
    try:
        item: schema.Item = _known(text)
    except msgspec.ValidationError:
        return schema.strictly(text), of_json(text)
    found = _named(item)
    if not any(found):
        return item, "{}"
    parts = [(key, bytes(raw)) for key, raw in zip(NAMED, found, strict=True) if raw]
    return item, _of_parts(tuple(parts))


def of_json(text: bytes) -> str:
    """Return these parts of an item's JSON text as JSON in one spelling, `{}` where there are none.

    Raises msgspec.DecodeError, RecursionError.
    """
    members = _members(text)
    parts = [(key, bytes(members[key])) for key in members.keys() - LEFT_OUT]
    return _of_parts(tuple(parts)) if parts else "{}"


@lru_cache
def _of_parts(parts: tuple[tuple[str, bytes], ...]) -> str:
    """The same sticker, or friend, is part of many check-ins."""
    return of_value({key: _value(raw) for key, raw in parts})


def of_value(item: Mapping[str, Any]) -> str:
    """Return the same of an item's value. Raises RecursionError."""
    said: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for key in item.keys() - LEFT_OUT:
        value = _told(key, item[key])
        if value not in _NOTHING:
            usable = _KEY.fullmatch(key) and key not in TAKEN
            (said if usable else odd)[key] = value
    if odd:
        said["other"] = odd
    return _in_one_spelling(said) if said else "{}"


_NOTHING: tuple[Any, ...] = (None, False, 0, "", [], {})
"""As good as missing: a key that begins to come with nothing in it is not an edit."""


def _told(key: str, value: Any) -> Any:
    """A part's value without what drifts; people always in the same order."""
    if key not in NAMED:
        return without_counters(value)
    if isinstance(value, list):
        return sorted((_told(key, each) for each in value), key=json.dumps)
    known = value if isinstance(value, dict) else {}
    named = {name: known[name] for name in NAMED[key] if name in known}
    return named or without_counters(value)


def without_counters(value: Any) -> Any:
    """Return a value with the counters at whatever depth left out. Raises RecursionError."""
    if isinstance(value, list):
        return [without_counters(part) for part in value]
    if isinstance(value, dict):
        return {k: without_counters(v) for k, v in sorted(value.items()) if k not in COUNTERS}
    return value
