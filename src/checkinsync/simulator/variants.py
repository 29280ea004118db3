"""Check-ins that crashed real importers: each by the name of its oddity.

Oddities that show only over time are made by the world's changes: `edit` (the same id with a new
shout, photos or time), `merge_venue`, `delete`; a too large `count` is a switch of the server.
"""

from __future__ import annotations

import random
from typing import Any

from checkinsync.simulator import items, venues
from checkinsync.simulator.venues import Json

TWINS = (
    ("same_second_a", "same_second_b"),
    ("same_second_same_venue_a", "same_second_same_venue_b"),
)
"""Variants that come in pairs: made in one second, the second pair at one venue, too."""


def variants(*, seed: int = 1, newest: int = 1_750_000_000) -> dict[str, Any]:
    """Return every odd item by name, newest first, an hour apart (twins: in the same second)."""
    ordinary = _Ordinary(seed, newest)
    odd: dict[str, Any] = {"ordinary": ordinary.next()}
    for make in MAKERS:
        odd.update(make(ordinary))
    odd.update(_no_objects())
    return odd


class _Ordinary:
    """A supply of ordinary items, each an hour older than the one before."""

    def __init__(self, seed: int, newest: int) -> None:
        self._rng = random.Random(f"variants/{seed}")
        self._at = newest

    def next(self, **changes: object) -> Json:
        """Return the next item with some keys replaced."""
        self._at -= 3600
        return self.same_second(**changes)

    def same_second(self, **changes: object) -> Json:
        """Return another item in the second of the one before."""
        at, rng = self._at, self._rng
        item_id = items.checkin_id(rng, at)
        return items.checkin(rng, venues.venue(rng), item_id=item_id, created_at=at) | changes

    def without(self, *keys: str) -> Json:
        """Return the next item without these keys."""
        return _without(self.next(), *keys)

    def at_venue(self, **changes: object) -> Json:
        """Return the next item with some keys of its venue replaced."""
        item = self.next()
        return item | {"venue": item["venue"] | changes}

    def located(self, *missing: str, **changes: object) -> Json:
        """Return the next item with some keys of its venue's location replaced, or missing."""
        item = self.next()
        location = _without(item["venue"]["location"] | changes, *missing)
        return item | {"venue": item["venue"] | {"location": location}}


def _without(values: Json, *keys: str) -> Json:
    return {key: value for key, value in values.items() if key not in keys}


def _of_venues(ordinary: _Ordinary) -> dict[str, Any]:
    bare = ordinary.next()
    bare["venue"] = {key: bare["venue"][key] for key in ("id", "name")}
    secondary = [venues.category(0, primary=False)]
    no_icon = [_without(venues.category(1), "icon")]
    return {
        "no_venue": ordinary.without("venue") | {"type": "venueless"},
        "venue_null": ordinary.next(venue=None),
        "venue_id_and_name_only": bare,
        "no_categories": ordinary.at_venue(categories=[]),
        "no_primary_category": ordinary.at_venue(categories=secondary),
        "primary_not_said": ordinary.at_venue(categories=[_without(secondary[0], "primary")]),
        "category_without_icon": ordinary.at_venue(categories=no_icon),
        "closed_venue": ordinary.at_venue(closed=True),
        "merged_venue": ordinary.at_venue(id="4b5a5f7cf964a520a0c028e3", name="Merged Place"),
        "private_home": _private_home(ordinary),
    }


def _private_home(ordinary: _Ordinary) -> Json:
    fuzzed = {"lat": 52.5, "lng": 13.4, "isFuzzed": True, "cc": "DE", "country": "Germany"}
    home = [venues.category(0) | {"id": "4bf58dd8d48988d103941735", "name": "Home (private)"}]
    item = ordinary.at_venue(name="Home", location=fuzzed, categories=home, private=True)
    return item | {"private": True, "visibility": "private"}


def _of_locations(ordinary: _Ordinary) -> dict[str, Any]:
    no_location = ordinary.next()
    no_location["venue"] = _without(no_location["venue"], "location")
    shout = ordinary.without("venue") | {"type": "shout", "shout": "Hello, sea!"}
    venueless = ordinary.without("venue") | {"type": "venueless"}
    return {
        "no_location": no_location,
        "null_island_shout": shout | {"location": {"lat": 0.0, "lng": 0.0}},
        "located_without_venue": venueless
        | {"location": {"name": "A field", "lat": 1.5, "lng": 2.5}},
        "no_city_state_country": ordinary.located("city", "state", "country", "cc"),
        "no_coordinates": ordinary.located("lat", "lng"),
        "integer_coordinates": ordinary.located(lat=52, lng=13),
        "zero_degrees": ordinary.located(lat=0.0, lng=0.0),
        "on_the_equator": ordinary.located(lat=0, lng=103.8),
        "coordinates_out_of_range": ordinary.located(lat=123.4, lng=-200.0),
    }


def _of_missing_parts(ordinary: _Ordinary) -> dict[str, Any]:
    parts = ("source", "likes", "posts", "photos", "comments")
    fewer = [items.photo(random.Random(1), 1_500_000_000)]
    return {
        **{f"no_{part}": ordinary.without(part) for part in parts},
        "none_of_the_usual": ordinary.without(*parts),
        "photos_without_items": ordinary.next(photos={"count": 2}),
        "fewer_photos_than_counted": ordinary.next(photos={"count": 5, "items": fewer}),
        "photos_null": ordinary.next(photos=None),
        "new_keys": ordinary.next(brandNew={"deep": [1, {"er": None}]}, another=1.5),
    }


def _of_times(ordinary: _Ordinary) -> dict[str, Any]:
    text_time = ordinary.next()
    late = ordinary.next()
    offsets = {"half_hour": 330, "quarter": 345, "adelaide": 570, "west": -210, "chatham": 765}
    twin, first = ordinary.next(), ordinary.next()
    return {
        **{f"offset_{name}": ordinary.next(timeZoneOffset=east) for name, east in offsets.items()},
        "no_offset": ordinary.without("timeZoneOffset", "timeZone"),
        "created_at_string": text_time | {"createdAt": str(text_time["createdAt"])},
        "no_created_at": ordinary.without("createdAt"),
        "entered_years_late": late | {"createdAt": late["createdAt"] - 3 * 365 * 86_400},
        "same_second_a": first,
        "same_second_b": _twin(first, venue=twin["venue"]),
        "same_second_same_venue_a": twin,
        "same_second_same_venue_b": _twin(twin, shout="Once more"),
    }


def _twin(item: Json, **changes: object) -> Json:
    """Another check-in in the same second."""
    other_id = item["id"][:8] + f"{int(item['id'][8:], 16) ^ 1:016x}"
    return {**item, "id": other_id, **changes}


def _of_texts(ordinary: _Ordinary) -> dict[str, Any]:
    return {
        "emoji": ordinary.next(shout="Family 👨‍👩‍👧‍👦 in 🇳🇵, 𠮷 🏳️‍🌈"),
        "newlines": ordinary.next(shout="one\r\ntwo\n\n\tthree\u2028four"),
        "long_name": ordinary.at_venue(name="Very " * 120 + "Long"),
        "long_shout": ordinary.next(shout="🙂 and on and on, " * 400),
        "empty_texts": ordinary.at_venue(name="") | {"shout": ""},
        "nul_in_shout": ordinary.next(shout="before\u0000after"),
        "nul_in_venue_name": ordinary.at_venue(name="Nul\u0000 Bar"),
        "lone_surrogate_in_shout": ordinary.next(shout="broken \ud83d emoji"),
        "lone_surrogate_in_venue_name": ordinary.at_venue(name="\udc4d upside down"),
    }


def _of_ids(ordinary: _Ordinary) -> dict[str, Any]:
    return {
        "id_not_hex": ordinary.next(id="not-a-hexadecimal-number"),
        "id_too_short": ordinary.next(id="4f2a"),
        "id_upper_case": ordinary.next(id="4F2A6C0AE4B0C5F1A2B3C4D5"),
        "id_number": ordinary.next(id=1234567890),
        "id_empty": ordinary.next(id=""),
        "no_id": ordinary.without("id"),
    }


def _of_other_forms(ordinary: _Ordinary) -> dict[str, Any]:
    """The same values in the forms of other years, and of careless gateways."""
    address = "https://img.example/pix/A.jpg"
    size = {"url": address, "width": 540, "height": 720}
    old_photo = {"id": "4f0000000000000000000001", "url": address, "sizes": {"items": [size]}}
    one, two = (items.photo(random.Random(n), 1_500_000_000) for n in (2, 3))
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    shown = ("private", "closeFriends", "friends", "public", "followers")
    return {
        **{f"visibility_{value}": ordinary.next(visibility=value) for value in shown},
        "private_text": ordinary.next(private="True"),
        "coordinates_text": ordinary.located(lat="52.5", lng="13.4"),
        "coordinates_half": ordinary.located(lat=-33.123456785, lng=7.111222335),
        "offset_text": ordinary.next(timeZoneOffset="-300"),
        "country_code_only": ordinary.located("country"),
        "photo_old_form": ordinary.next(photos={"count": 1, "items": [old_photo]}),
        "photos_of_one_id": ordinary.next(
            photos={"count": 2, "items": [one, two | {"id": one["id"]}]}
        ),
        "photo_long_id": ordinary.next(
            photos={"count": 1, "items": [one | {"id": "p" * 12_000, "suffix": "/s" * 6_000}]}
        ),
        "nested_deeply": ordinary.next(deep=deep),
    }


def _no_objects() -> dict[str, Any]:
    return {
        "item_text": "no object",
        "item_null": None,
        "item_number": 7,
        "item_list": [{"id": "x"}],
    }


MAKERS = (
    _of_venues,
    _of_locations,
    _of_missing_parts,
    _of_times,
    _of_texts,
    _of_ids,
    _of_other_forms,
)
