"""Extreme values in every part of an item: stored or quarantined, and no more than that."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from checkinsync.sync.scope import Full
from checkinsync.sync.session import Hooks
from checkinsync.verify.result import VerificationResult
from checkinsync.verify.verifier import verify
from support.factories import NOW

ADA = "token-ada"
NEWEST = int(NOW.timestamp()) - 3600

LONG = 200_000
"""Characters; an index takes 2,704 bytes, a `VARCHAR` of the application 255 characters."""

_chance = random.Random(1)
TEXT = "".join(_chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=LONG))
"""Compresses badly: what compresses well slips into an index that it is too long for."""

EXTREMES: tuple[Any, ...] = (
    TEXT, "\U0001f98a" * 100_000, "", " ", "\u202e\x1b[2J", "\x00", 2**31, -(2**31) - 1, 2**63,
    10**299, -1, 0, 1e308, 5e-324, -0.0, 253_402_300_800, -62_135_596_801, True, None, [], {},
    [TEXT], {TEXT: TEXT}, [[]], [None], [{}],
)  # fmt: skip

PATHS = (
    "type", "createdAt", "timeZone", "timeZoneOffset", "shout", "private", "visibility", "location",
    "venue", "venue.id", "venue.name", "venue.location", "venue.location.lat", "venue.location.lng",
    "venue.location.city", "venue.location.country", "venue.location.cc", "venue.categories",
    "venue.categories.0.name", "venue.categories.0.primary", "photos", "photos.items",
    "photos.items.0.id", "photos.items.0.prefix", "photos.items.0.suffix", "photos.items.0.width",
    "photos.items.0.height", "photos.items.0.url", "photos.items.0.visibility", "with", "event",
    "sticker", "createdBy", "brandNew", "likes",
)  # fmt: skip


def usual(number: int) -> dict[str, Any]:
    at = NEWEST - 3600 * number
    place = {"lat": 52.5, "lng": 13.4, "city": "Berlin", "country": "Germany", "cc": "DE"}
    photo = {"id": "p1", "prefix": "https://x.test/", "suffix": "/1.jpg", "width": 7, "height": 9}
    return {
        "id": f"{at:08x}{number:016x}",
        "createdAt": at,
        "type": "checkin",
        "venue": {"id": "v", "name": "V", "location": place, "categories": [{"name": "Bar"}]},
        "photos": {"count": 1, "items": [photo]},
    }


def with_value(item: Any, path: list[str], value: object) -> Any:
    """The item with the value at the path."""
    if not path:
        return value
    if isinstance(item, list):
        return [with_value(item[0], path[1:], value), *item[1:]]
    return {**item, path[0]: with_value(item.get(path[0], {}), path[1:], value)}


@pytest.fixture
def ada(env):
    env.simulator.world.add_account(ADA)
    return env.add(ADA)


def full(env, user):
    env.at += timedelta(days=1)
    return env.import_(user, scope=Full())


def is_proved(env, user) -> bool:
    result = verify(
        user,
        services=env.services,
        hooks=Hooks(),
    )
    return isinstance(result, VerificationResult) and result.complete


@pytest.mark.parametrize("part", range(4))
def test_an_extreme_value_anywhere_stops_no_more_than_its_item(env, ada, part):
    world = env.simulator.world
    paths = PATHS[part::4]
    cases = [(path, value) for path in paths for value in EXTREMES]
    for number in range(len(cases)):
        world.add(ADA, usual(number))
    full(env, ada)
    assert len(env.stored(ada)) == len(cases)
    ids = [usual(number)["id"] for number in range(len(cases))]
    for number, (path, value) in enumerate(cases):
        changed = with_value(usual(number), path.split("."), value)
        world.accounts[ADA].entry(ids[number]).item = changed

    edited = full(env, ada)
    again = full(env, ada)

    assert edited.saved.changed
    assert set(env.quarantined(ada)) <= set(ids)
    assert all("`createdAt`" in problem for problem in env.quarantined(ada).values())
    assert sorted(env.stored(ada)) == sorted(ids)
    assert again.saved.changed == 0
    assert is_proved(env, ada)


def test_an_extreme_id_stops_no_more_than_its_item(env, ada):
    for number, value in enumerate(EXTREMES):
        item = usual(number) | {"id": value}
        env.simulator.world.add(ADA, item, created_at=item["createdAt"], entered_at=NEWEST)
    env.simulator.world.add(ADA, usual(len(EXTREMES)))

    full(env, ada)
    again = full(env, ada)

    assert usual(len(EXTREMES))["id"] in env.stored(ada)
    assert len(env.stored(ada)) + len(env.quarantined(ada)) == len(EXTREMES) + 1
    assert all(item_id.isprintable() for item_id in env.stored(ada))
    assert (again.saved.new, again.saved.changed) == (0, 0)
    assert is_proved(env, ada)


def test_a_photo_with_a_long_id_or_address_is_stored_whole(env, ada):
    photo = usual(0)["photos"]["items"][0]
    photos = [photo | {"id": TEXT[:12_000]}, {"url": f"https://x.test/{TEXT[:12_000]}"}, photo]
    env.simulator.world.add(ADA, usual(0) | {"photos": {"items": photos}})

    full(env, ada)
    again = full(env, ada)

    rows = env.conn.execute(
        "SELECT length(foursquare_photo_id), length(photo_url) FROM checkin_photos ORDER BY 1, 2"
    ).fetchall()
    assert rows == [(2, 29), (71, 29), (71, 12_015)]
    assert again.saved.changed == 0
