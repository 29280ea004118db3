"""Foursquare's JSON -> our values; pure, and one bad item spoils nothing but itself."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from checkinsync.errors import FoursquareAway
from checkinsync.foursquare import mapping, sanitize, schema
from checkinsync.model.checkin import NAMELESS, Item, Unreadable
from checkinsync.model.listing import Page
from checkinsync.model.user import Profile

COUNTERS = frozenset(
    {"stats", "beenHere", "hereNow", "likes", "like", "comments", "posts", "score", "isMayor"}
)
"""Keys of an item, or of its venue, whose values drift without an edit."""


class _Checkins(msgspec.Struct):
    items: list[msgspec.Raw]
    count: Any = None


class _WithCheckins(msgspec.Struct):
    checkins: _Checkins


class _WithCheckin(msgspec.Struct):
    checkin: msgspec.Raw


class _User(msgspec.Struct):
    id: str | int
    first_name: Any = msgspec.field(default=None, name="firstName")
    last_name: Any = msgspec.field(default=None, name="lastName")
    photo: Any = None


class _WithUser(msgspec.Struct):
    user: _User


_page = msgspec.json.Decoder(_WithCheckins).decode
_one = msgspec.json.Decoder(_WithCheckin).decode
_profile = msgspec.json.Decoder(_WithUser).decode


def page(response: bytes, *, offset: int, limit: int) -> Page:
    """The page in an answer's `response`, as asked for by `offset` and `limit` (items).

    Raises FoursquareAway where it holds no list of check-ins; that too is worth a retry.
    """
    try:
        checkins = _page(response).checkins
    except (msgspec.DecodeError, RecursionError):
        checkins = None
    if checkins is None:
        raise FoursquareAway("Foursquare's answer holds no list of check-ins; try again later")
    items = tuple(checkin(bytes(item)) for item in checkins.items)
    return Page(offset, limit, items, _total(checkins.count))


def one_checkin(response: bytes) -> Item:
    """The check-in in an answer's `response`. Raises FoursquareAway where it holds none."""
    try:
        return checkin(bytes(_one(response).checkin))
    except (msgspec.DecodeError, RecursionError):
        pass
    raise FoursquareAway("Foursquare's answer holds no check-in; try again later")


def _total(count: object) -> int | None:
    number = schema.whole(count)
    return number if number is not None and number >= 0 else None


def checkin(raw: bytes) -> Item:
    """One item of a page; never raises, whatever the bytes are."""
    try:
        shape, text = _shaped(sanitize.fit(raw))
    except sanitize.NotJsonError as problem:
        return _unreadable(None, raw, f"the item can't be read: {problem}")
    key, at = mapping.key_of(shape), mapping.created_at(shape)
    if key is None:
        return _unreadable(
            _steady_key(text), raw, "its `id` is missing, empty, too long, or no text"
        )
    if at is None:
        return _unreadable(key, raw, "its `createdAt` is missing, or no Unix time before 2100")
    return mapping.checkin(key, at, shape, text)


def _shaped(text: str) -> tuple[schema.Item, str]:
    """The item's shape, and its text as JSON to the letter; raises NotJsonError."""
    try:
        if not sanitize.has_endless_number(text):
            return schema.strictly(text), text
    except (msgspec.DecodeError, RecursionError):
        pass
    value = sanitize.lenient(text)
    if not isinstance(value, dict):
        raise sanitize.NotJsonError("it is no object")
    return schema.leniently(value), text if sanitize.is_json(text) else sanitize.dumped(value)


def _steady_key(text: str) -> str:
    """For an item without an id: all of it but the counters that drift from night to night."""
    try:
        steady = sanitize.dumped(_without_counters(sanitize.lenient(text)))
    except (RecursionError, sanitize.NotJsonError):
        steady = text
    return f"{NAMELESS}{sha256(steady.encode(errors='replace')).hexdigest()}"


def _without_counters(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_counters(part) for part in value]
    if isinstance(value, dict):
        return {k: _without_counters(v) for k, v in sorted(value.items()) if k not in COUNTERS}
    return value


def _unreadable(key: str | None, raw: bytes, problem: str) -> Unreadable:
    return Unreadable(key or f"{NAMELESS}{sha256(raw).hexdigest()}", raw, problem)


def profile(response: bytes) -> Profile:
    """Who `users/self` says the token belongs to, from its answer's `response`.

    Raises FoursquareAway where it does not say.
    """
    try:
        user = _profile(sanitize.fit(response)).user
    except (msgspec.DecodeError, RecursionError):
        user = None
    if user is None or not str(user.id).strip() or len(str(user.id)) > mapping.LONGEST_TEXT:
        raise FoursquareAway("Foursquare does not say whose token this is; try again later")
    return Profile(str(user.id), _name(user), _avatar(user.photo))


def _name(user: _User) -> str | None:
    parts = [part for part in (user.first_name, user.last_name) if isinstance(part, str)]
    return " ".join(" ".join(parts).split())[: mapping.LONGEST_TEXT] or None


def _avatar(photo: object) -> str | None:
    return mapping.address(schema.photo(photo)) if isinstance(photo, dict) else None
