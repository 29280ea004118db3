"""The cost of parsing a page of JSON into check-ins."""

from __future__ import annotations

import json

from msgspec.structs import replace

from bench.measure import Table, Way, in_turns, ms, times
from bench.places import PAGE, response
from checkinsync.foursquare import edits, mapping, parse, schema
from checkinsync.model.checkin import Checkin

ROUNDS = 60


def page() -> Table:
    """Measure decoding, checking of types, and fingerprints."""
    body = response()
    assert _without_raw(_ours(body)) == _without_raw(_by_json(body))
    ours, by_json, alone = in_turns(
        Way("`parse.page`", lambda _: _ours(body)),
        Way("`json.loads`, and the same check-ins by the lenient path", lambda _: _by_json(body)),
        Way("`json.loads` alone, nothing checked or kept", lambda _: json.loads(body)),
        rounds=ROUNDS,
    )
    return Table(
        "Reading a page of 250",
        f"{len(body) // 1000} kB of JSON into the same 250 check-ins, fingerprints included. "
        "Baseline: `json.loads` of the whole body, its dicts put into shape by the lenient path "
        "that takes any value, and each item's text by `json.dumps`.",
        ("way", "time", "of the baseline"),
        [
            (way.name, ms(way.seconds), times(way.seconds, by_json.seconds))
            for way in (ours, by_json, alone)
        ],
    )


def _ours(body: bytes) -> list[Checkin]:
    items = parse.page(body, offset=0, limit=PAGE).items
    return [item for item in items if isinstance(item, Checkin)]


def _by_json(body: bytes) -> list[Checkin]:
    return [_by_dict(item) for item in json.loads(body)["checkins"]["items"]]


def _by_dict(item: dict[str, object]) -> Checkin:
    shape = schema.leniently(item)
    key, at = mapping.key_of(shape), mapping.created_at(shape)
    assert key is not None
    assert at is not None
    text = json.dumps(item, separators=(",", ":"))
    return mapping.checkin(key, at, shape, text, extras=edits.of_value(item))


def _without_raw(checkins: list[Checkin]) -> list[Checkin]:
    assert len(checkins) == PAGE
    return [replace(checkin, raw="") for checkin in checkins]
