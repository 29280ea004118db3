"""Foursquare's JSON -> our values; pure, and one bad item spoils nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from checkinsync.errors import FoursquareAway
from checkinsync.foursquare import edits, mapping, outline, sanitize, schema
from checkinsync.model.checkin import NAMELESS, Item, Unreadable
from checkinsync.model.listing import Page
from checkinsync.model.user import Profile

MOST_LEVELS = 250
"""Levels of nesting in an item, far below what a decoder or an encoder gives up at; the deepest
real ones have six."""

NOT_UTF8 = "its text is not UTF-8, so that characters were lost on the way"
TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep"

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Raised where a decoder refuses a text."""


class _Checkins(msgspec.Struct):
    items: list[msgspec.Raw]
    count: Any = None


class _WithCheckins(msgspec.Struct):
    checkins: _Checkins


_page = msgspec.json.Decoder(_WithCheckins).decode


@dataclass(frozen=True, slots=True)
class _Listed:
    """A list of check-ins as it came."""

    items: Sequence[bytes | msgspec.Raw]
    count: object


# --- pages ---------------------------------------------------------------------------------------


def page(response: bytes, *, offset: int, limit: int) -> Page:
    """Return the page in an answer's `response`, as asked for by `offset` and `limit` (items).

    Raises FoursquareAway where it holds no list of check-ins, or one whose characters are garbled
    altogether; both are worth a retry.
    """
    listed = _listed(response) or _listed_one_by_one(response)
    if listed is None:
        raise FoursquareAway("Foursquare's answer holds no list of check-ins; try again later")
    items = tuple(checkin(bytes(item)) for item in listed.items)
    if _is_garbled(listed.items, items):
        raise FoursquareAway(
            "Foursquare's answer is not UTF-8, so that characters were lost on the way; "
            "nothing of it was stored; try again later"
        )
    return Page(offset, limit, items, _total(listed.count))


def _listed(response: bytes) -> _Listed | None:
    try:
        checkins = _page(response).checkins
    except REFUSALS:
        return None
    return _Listed(checkins.items, checkins.count)


def _listed_one_by_one(response: bytes) -> _Listed | None:
    """The same where one odd item makes a decoder refuse all."""
    try:
        checkins = outline.members(outline.members(response)["checkins"])
        items = outline.elements(checkins["items"])
    except (KeyError, sanitize.NotJsonError):
        return None
    try:
        count = sanitize.lenient(sanitize.fit(checkins.get("count", b"null")))
    except sanitize.NotJsonError:
        count = None
    return _Listed(items, count)


def _is_garbled(listed: Sequence[bytes | msgspec.Raw], items: Sequence[Item]) -> bool:
    """Return True if several items are not UTF-8, and more than half of those that would show it:
    then the whole answer went through a wrong encoding, and not one item."""
    unreadable = [item.item for item in items if isinstance(item, Unreadable)]
    broken = sum(not sanitize.is_utf8(item) for item in unreadable)
    return broken > 1 and 2 * broken > sum(not bytes(item).isascii() for item in listed)


def _total(count: object) -> int | None:
    number = schema.whole(count)
    return number if number is not None and number >= 0 else None


def one_checkin(response: bytes) -> Item:
    """Return the check-in in an answer's `response`. Raises FoursquareAway where it holds none."""
    try:
        return checkin(outline.members(response)["checkin"])
    except (KeyError, sanitize.NotJsonError):
        pass
    raise FoursquareAway("Foursquare's answer holds no check-in; try again later")


# --- one item ------------------------------------------------------------------------------------


def checkin(raw: bytes) -> Item:
    """Return one item of a page; never raises, whatever the bytes are."""
    json = sanitize.fit(raw)
    if not sanitize.is_utf8(json):
        return _unreadable(_id_in(json), raw, f"the item can't be read: {NOT_UTF8}")
    if _is_deep(json):
        return _unreadable(_id_in(json), raw, f"the item can't be read: {TOO_DEEP}")
    try:
        shape, extras, text = _shaped(json)
    except sanitize.NotJsonError as problem:
        return _unreadable(None, raw, f"the item can't be read: {problem}")
    key, at = mapping.key_of(shape), mapping.created_at(shape)
    if key is None:
        return _unreadable(
            _steady_key(json),
            raw,
            "its `id` is missing, empty, too long, or not a text that can be shown",
        )
    if at is None:
        return _unreadable(key, raw, "its `createdAt` is missing, or no Unix time before 2100")
    return mapping.checkin(key, at, shape, text, extras=extras)


def _is_deep(json: bytes) -> bool:
    brackets = len(json) - len(json.replace(b"[", b"").replace(b"{", b""))  # faster than `count`
    return brackets > MOST_LEVELS and outline.depth(json) > MOST_LEVELS


def _shaped(json: bytes) -> tuple[schema.Item, str, bytes]:
    """The item's shape, its other parts that count as edits, and its text as JSON to the letter.

    Raises NotJsonError.
    """
    try:
        if not sanitize.has_endless_number(json):
            return *edits.read_item(json), json
    except REFUSALS:
        pass
    value = sanitize.lenient(json)
    if not isinstance(value, dict):
        raise sanitize.NotJsonError("it is not an object")
    text = json if sanitize.is_json(json) else sanitize.dumped(value).encode(errors="replace")
    try:
        return schema.leniently(value), edits.of_value(value), text
    except RecursionError:
        pass
    raise sanitize.NotJsonError(TOO_DEEP)


def _id_in(json: bytes) -> str | None:
    """The id of an item whose other values can't be read."""
    try:
        item_id = sanitize.lenient(outline.members(json).get("id", b"null"))
    except sanitize.NotJsonError:
        return None
    return mapping.key_of(schema.leniently({"id": item_id}))


def _steady_key(json: bytes) -> str:
    """For an item without an id: all of it but the counters that drift from night to night."""
    try:
        steady = sanitize.dumped(edits.without_counters(sanitize.lenient(json)))
    except (RecursionError, sanitize.NotJsonError):
        return f"{NAMELESS}{sha256(json).hexdigest()}"
    return f"{NAMELESS}{sha256(steady.encode(errors='replace')).hexdigest()}"


def _unreadable(key: str | None, raw: bytes, problem: str) -> Unreadable:
    return Unreadable(key or f"{NAMELESS}{sha256(raw).hexdigest()}", raw, problem)


# --- users ---------------------------------------------------------------------------------------


def profile(response: bytes) -> Profile:
    """Return the user whom `users/self` says the token belongs to, from its answer's `response`.

    Raises FoursquareAway where it does not say, or their name is garbled.
    """
    try:
        user = outline.members(outline.members(response)["user"])
        told = {name: sanitize.lenient(sanitize.fit(user.get(name, b"null"))) for name in _PROFILE}
    except (KeyError, sanitize.NotJsonError):
        told = {}
    user_id = schema.key(told.get("id"))
    if user_id is None or mapping.key_of(schema.Item(id=user_id)) is None:
        raise FoursquareAway("Foursquare does not say whose token this is; try again later")
    name = _name(told)
    if name and sanitize.REPLACEMENT in name and not sanitize.is_utf8(response):
        raise FoursquareAway(
            "the user's name in Foursquare's answer is not UTF-8, so that characters were lost on "
            "the way; try again later"
        )
    return Profile(user_id, name, _avatar(told.get("photo")))


_PROFILE = ("id", "firstName", "lastName", "photo")


def _name(told: dict[str, Any]) -> str | None:
    parts = [part for part in (told["firstName"], told["lastName"]) if isinstance(part, str)]
    return " ".join(" ".join(parts).split())[: mapping.LONGEST_TEXT] or None


def _avatar(photo: object) -> str | None:
    return mapping.address(schema.photo(photo)) if isinstance(photo, dict) else None
