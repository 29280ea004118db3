"""Foursquare's JSON becomes values, or is told by name what is wrong with it; it never raises."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkinsync.errors import FoursquareAway
from checkinsync.foursquare import edits, mapping, parse, sanitize, schema
from checkinsync.model.checkin import Checkin, Photo, Unreadable
from checkinsync.simulator.variants import variants
from checkinsync.simulator.world import World

ID = "684ee18047bb438e8020d332"
MOMENT = 1_750_000_000
PHOTO = {"id": "p1", "prefix": "https://x.test/", "suffix": "/1.jpg", "width": 720, "height": 960}
VENUE = {
    "id": "v1",
    "name": "Café Ö",
    "location": {"lat": 52.5, "lng": 13.4, "city": "Berlin", "country": "Germany"},
    "categories": [{"name": "Bar", "primary": False}, {"name": "Café", "primary": True}],
}
USUAL = {"id": ID, "createdAt": MOMENT, "type": "checkin", "timeZoneOffset": 120, "venue": VENUE}


def item(**changes: object) -> bytes:
    return json.dumps(USUAL | changes).encode()


def at_venue(**changes: object) -> bytes:
    return item(venue=VENUE | changes)


def located(**changes: object) -> bytes:
    return at_venue(location=VENUE["location"] | changes)


def read(raw: bytes) -> Checkin:
    parsed = parse.checkin(raw)
    assert isinstance(parsed, Checkin), parsed
    return parsed


def refused(raw: bytes) -> Unreadable:
    parsed = parse.checkin(raw)
    assert isinstance(parsed, Unreadable), parsed
    assert parsed.item == raw
    return parsed


def fits_postgresql(checkin: Checkin) -> bool:
    """Texts that UTF-8 can carry, without U+0000; `raw` JSON to the letter."""
    texts = [value for value in _values(checkin) if isinstance(value, str)]
    for text in texts:
        text.encode()
    json.loads(checkin.raw, parse_constant=pytest.fail)
    return not any("\0" in text for text in texts) and not _holds_nul(json.loads(checkin.raw))


def _values(checkin: Checkin) -> list[object]:
    photos = [getattr(photo, name) for photo in checkin.photos for name in Photo.__struct_fields__]
    return [getattr(checkin, name) for name in Checkin.__struct_fields__] + photos


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, [*value.keys(), *value.values()]))
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


# --- the usual ----------------------------------------------------------------------------------


def test_a_checkin_goes_into_its_columns():
    photos = {"count": 1, "items": [PHOTO]}
    raw = item(photos=photos, shout="Prost", timeZone="Europe/Berlin", private=True)

    checkin = read(raw)

    assert checkin == Checkin(
        id=ID,
        created_at=datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC),
        kind="checkin",
        venue_id="v1",
        venue_name="Café Ö",
        venue_category="Café",
        latitude=Decimal("52.5"),
        longitude=Decimal("13.4"),
        city="Berlin",
        country="Germany",
        time_zone="Europe/Berlin",
        time_zone_offset=120,
        shout="Prost",
        is_private=True,
        photos=(Photo("p1", "https://x.test/original/1.jpg", 720, 960),),
        raw=raw,
        fingerprint=checkin.fingerprint,
    )


VARIANTS = variants()
REFUSED = {
    "no_created_at": "`createdAt`",
    "id_empty": "`id`",
    "no_id": "`id`",
    "item_text": "not an object",
    "item_null": "not an object",
    "item_number": "not an object",
    "item_list": "not an object",
    "nested_deeply": "250 levels",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_that_crashed_importers_is_read_or_refused_by_name(name):
    raw = json.dumps(VARIANTS[name]).encode()

    parsed = parse.checkin(raw)

    if name in REFUSED:
        assert REFUSED[name] in refused(raw).problem
    else:
        assert isinstance(parsed, Checkin), parsed
        assert fits_postgresql(parsed)


def test_new_keys_and_milliseconds_elsewhere_do_no_harm():
    assert read(item(editableUntil=1_750_086_400_000, brandNew={"deep": [1]})).id == ID


# --- places -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (item(venue=None), "Unknown"),
        (item(venue=None, location={"name": "A field"}), "A field"),
        (item(venue=None, location={"lat": 1.5, "lng": 2.5}), "Unknown"),
        (at_venue(name=""), "Unknown"),
        (at_venue(name="  "), "Unknown"),
        (at_venue(name=7), "Unknown"),
        (item(venue="a venue?"), "Unknown"),
        (at_venue(name="n" * 1000), "n" * 1000),
    ],
)
def test_the_name_is_the_venues_else_the_locations_else_unknown(raw, name):
    assert read(raw).venue_name == name


def test_without_a_venue_the_location_is_that_of_the_item():
    checkin = read(item(venue=None, location={"lat": 1.5, "lng": 2.5, "city": "Lund"}))

    assert (checkin.latitude, checkin.longitude, checkin.city) == (1.5, 2.5, "Lund")
    assert checkin.venue_id is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "position"),
    [
        (52, 13, ("52", "13")),
        (0, 103.8, ("0", "103.8")),
        (-33.9, 0.0, ("-33.9", "0")),
        (-33.123456785, 7.111222335, ("-33.12345679", "7.11122234")),
        (1e-9, -0.0, (None, None)),
        (3.6e-08, 3.55e-08, ("0.00000004", "0.00000004")),
        (0, 0, (None, None)),
        (0.0, -0.0, (None, None)),
        (90, 180, ("90", "180")),
        ("52.5", "13.4", ("52.5", "13.4")),
        ("NaN", "13.4", (None, None)),
        ("north", "13.4", (None, None)),
        (90.1, 13.4, (None, None)),
        (52.5, -180.5, (None, None)),
        (52.5, None, (None, None)),
        (True, 13.4, (None, None)),
        (10**400, 13.4, (None, None)),
        (float("nan"), 13.4, (None, None)),
        (float("inf"), 13.4, (None, None)),
    ],
)
def test_a_position_has_both_degrees_in_range_or_none(latitude, longitude, position):
    checkin = read(located(lat=latitude, lng=longitude))

    expected = tuple(degrees and Decimal(degrees) for degrees in position)
    assert (checkin.latitude, checkin.longitude) == expected
    assert fits_postgresql(checkin)


@pytest.mark.parametrize(
    ("categories", "category"),
    [
        ([{"name": "Bar"}, {"name": "Café", "primary": True}], "Café"),
        ([{"name": "Bar"}, {"name": "Café"}], "Bar"),
        ([{"primary": True}, {"name": "Café"}], "Café"),
        ([None, "Bar", {"name": "Café", "primary": "yes"}], "Café"),
        ([{"name": "c" * 300, "primary": True}], "c" * 255),
        ([], "Unknown"),
        (None, "Unknown"),
        ({"name": "Bar"}, "Unknown"),
    ],
)
def test_the_category_is_the_primary_one_else_the_first_named(categories, category):
    assert read(at_venue(categories=categories)).venue_category == category


@pytest.mark.parametrize("nothing", [None, "", " ", 5, ["Berlin"]])
def test_a_missing_city_or_country_is_unknown(nothing):
    checkin = read(located(city=nothing, country=nothing))

    assert (checkin.city, checkin.country) == ("Unknown", "Unknown")


def test_texts_longer_than_their_columns_are_cut_there_and_whole_in_raw():
    long = "ü" * 300
    location = VENUE["location"] | {"city": long, "country": long}
    venue = VENUE | {"id": long, "location": location}

    checkin = read(item(venue=venue, timeZone=long))

    cut = (checkin.venue_id, checkin.city, checkin.country)
    assert cut == (long[:255],) * 3
    assert checkin.time_zone == long[:50]
    assert json.loads(checkin.raw)["venue"]["location"]["city"] == long


# --- times and ids ------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [MOMENT, str(MOMENT), float(MOMENT), 1])
def test_created_at_is_a_whole_number_of_seconds_however_it_is_written(moment):
    assert read(item(createdAt=moment)).created_at == datetime.fromtimestamp(int(moment), UTC)


@pytest.mark.parametrize(
    "moment",
    [None, True, "", "soon", "١٢٣", "-5", -5, 0, 1.5, MOMENT * 1000, 10**30, "9" * 5000, [1], {}],
)
def test_an_absurd_created_at_is_refused_under_the_items_id(moment):
    unreadable = refused(item(createdAt=moment))

    assert unreadable.key == ID
    assert "`createdAt`" in unreadable.problem


@pytest.mark.parametrize(
    ("offset", "minutes"),
    [
        (330, 330),
        (-210, -210),
        (0, 0),
        ("345", 345),
        ("-300", -300),
        (60.0, 60),
        (None, None),
        (True, None),
        (99_999, None),
        (10**30, None),
        ("west", None),
    ],
)
def test_a_time_zone_offset_is_minutes_or_none(offset, minutes):
    assert read(item(timeZoneOffset=offset)).time_zone_offset == minutes


@pytest.mark.parametrize("usable", ["4f2a", "not-a-hexadecimal-number", "i" * 255, "7"])
def test_an_id_need_not_be_hexadecimal(usable):
    assert read(item(id=usable)).key == usable


@pytest.mark.parametrize("unusable", [None, "", "  ", 7.5, True, "i" * 256, "a\u202eb", ["x"]])
def test_an_item_without_a_usable_id_is_known_by_a_hash_that_drift_leaves_alone(unusable):
    tonight = refused(item(id=unusable))
    tomorrow = refused(item(id=unusable, likes={"count": 77}, venue={**VENUE, "beenHere": 9}))
    another = refused(item(id=unusable, shout="another one"))

    assert tonight.key.startswith("sha256:")
    assert tonight.key == tomorrow.key != another.key


def test_different_items_without_an_id_are_told_apart():
    odd = [b"{}", b'{"a": "b"}', b'{"x": 1}', item(id=[5]), item(id=[6]), item(id=None)]

    assert len({refused(raw).key for raw in odd}) == len(odd)


# --- photos -------------------------------------------------------------------------------------


@pytest.mark.parametrize("photos", [None, [], "two", {"count": 2}, {"items": None}, {"items": {}}])
def test_without_a_list_of_photos_there_are_none(photos):
    assert read(item(photos=photos)).photos == ()


def test_photos_that_can_not_be_shown_are_left_out_and_doubles_too():
    nameless = {"prefix": "https://x.test/", "suffix": "/2.jpg", "width": "wide", "height": 2**40}
    items = [{"id": "p0"}, PHOTO, None, PHOTO, nameless, {"prefix": 1, "suffix": 2}]

    photos = read(item(photos={"items": items})).photos

    url = "https://x.test/original/2.jpg"
    assert [photo.id for photo in photos] == ["p1", url]
    assert photos[1] == Photo(url, url, None, None)


# --- texts that PostgreSQL refuses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (rb"a\u0000b", "a\ufffdb"),
        (rb"a\\u0000b", r"a\u0000b"),
        (rb"a\\\u0000b", "a\\\ufffdb"),
        (rb"a\ud83db", "a\ufffdb"),
        (rb"a\uDE00b", "a\ufffdb"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ud83d\u0041", "\ufffdA"),
        (rb"\\ud83d", r"\ud83d"),
        (b"a\x00b", "a\ufffdb"),
        (b"a\x01\nb", "a\x01\nb"),
    ],
)
def test_characters_that_are_none_are_replaced_in_columns_and_raw(written, read_as):
    raw = b'{"createdAt": 1750000000, "id": "x", "\\ud800": 1, "shout": "' + written + b'"}'

    checkin = read(raw)

    assert checkin.shout == read_as
    assert json.loads(checkin.raw)["shout"] == read_as
    assert fits_postgresql(checkin)


def test_raw_is_the_text_as_received_but_for_what_can_not_be_stored():
    head, tail = '{"id" :"x",  "createdAt":1750000000.0,"n":1e2,', ' "z":"\\u00e9\\ud83d\\ude00"}'

    checkin = read((head + r'"a":"\u0000",' + tail).encode())

    assert checkin.raw.decode() == head + r'"a":"\ufffd",' + tail


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1" * 5000, b"1e999", b"-0"])
def test_odd_numbers_in_unread_fields_do_no_harm(number):
    raw = item().replace(b'"checkin"', b'"checkin", "odd": [' + number + b"]")

    assert fits_postgresql(read(raw))


@pytest.mark.parametrize("before", [0, 1, 3997, 3998, 3999, 4000, 6000])
def test_a_number_too_long_to_be_read_back_is_found_wherever_it_stands(before):
    blanks, number = b" " * before, b"1" * sanitize.ENDLESS

    assert sanitize.has_endless_number(b"[" + blanks + number)
    assert not sanitize.has_endless_number(b"[" + blanks + number[1:] + b"," + number[1:])


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"id": }', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"nul"]
)
def test_what_is_no_json_is_refused(raw):
    assert "can't be read" in refused(raw).problem


def test_deep_nesting_is_read_or_refused():
    deep = item().replace(b'"checkin"', b'"checkin", "odd": ' + b"[" * 50_000 + b"]" * 50_000)

    assert parse.checkin(deep).key == ID or "too deeply" in refused(deep).problem


# --- whatever comes ------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
known = st.fixed_dictionaries(
    {"id": st.just(ID) | anything, "createdAt": st.just(MOMENT) | anything},
    optional={
        "venue": st.fixed_dictionaries(
            {},
            optional={
                "name": anything,
                "categories": st.lists(st.fixed_dictionaries({"name": anything})) | anything,
                "location": st.fixed_dictionaries({"lat": anything, "lng": anything}) | anything,
            },
        )
        | anything,
        "photos": st.fixed_dictionaries(
            {"items": st.lists(st.fixed_dictionaries({"prefix": anything, "suffix": anything}))}
        )
        | anything,
        "shout": anything,
        "timeZoneOffset": anything,
        "private": anything,
    },
)


@given(known | anything)
def test_no_json_value_makes_it_raise(value):
    parsed = parse.checkin(json.dumps(value).encode())

    assert isinstance(parsed, Unreadable) or fits_postgresql(parsed)


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_make_it_raise(raw):
    assert isinstance(parse.checkin(raw), Unreadable)


@given(st.binary(), st.integers(0, 300), st.integers(0, 300))
def test_no_damage_makes_it_raise(noise, start, length):
    raw = item()

    parsed = parse.checkin(raw[:start] + noise + raw[start + length :])

    assert isinstance(parsed, Unreadable) or fits_postgresql(parsed)


def test_the_fast_and_the_patient_way_read_the_same():
    world = World.generate(accounts=1, count=100)
    world.add_photo("token-1", world.accounts["token-1"].ids[3])

    for value in world.accounts["token-1"].items:
        text = json.dumps(value)
        ways = (edits.read_item(text.encode())[0], schema.strictly(text), schema.leniently(value))
        at = mapping.created_at(ways[0])
        first, *others = [mapping.checkin(ID, at, shape, text) for shape in ways]
        assert others == [first, first]


# --- fingerprints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edited",
    [
        item(shout="new"),
        item(createdAt=MOMENT + 1),
        item(timeZoneOffset=60),
        item(timeZone="Asia/Tokyo"),
        item(private=True),
        item(type="shout"),
        item(photos={"items": [PHOTO]}),
        at_venue(id="v2"),
        at_venue(name="Bar Ö"),
        at_venue(categories=[]),
        located(lat=52.6),
        located(city="Potsdam"),
        located(country="Deutschland"),
        item(visibility="private"),
        item(visibility="friends"),
        item(photos={"items": [PHOTO | {"visibility": "friends"}]}),
        item(event={"id": "e1", "name": "Konzert"}),
        item(sticker={"id": "s1", "name": "Jetsetter"}),
        item(createdBy={"id": "555"}),
        item(entities=[{"indices": [0, 4], "type": "user", "id": "555"}]),
        item(brandNew={"deep": [1]}),
        item(**{"with": [{"id": "555", "firstName": "Grace"}]}),
        item(**{"with": [{"firstName": "Grace"}]}),
    ],
)
def test_an_edit_changes_the_fingerprint(edited):
    assert read(edited).fingerprint != read(item()).fingerprint


@pytest.mark.parametrize(
    "drifted",
    [
        item(likes={"count": 9}, comments={"count": 2}, source={"name": "phone"}),
        at_venue(stats={"checkinsCount": 12}, beenHere={"count": 3}),
        located(lat=52.500000001),
        item(photos={"count": 3, "items": []}),
        json.dumps(USUAL, indent=2).encode(),
        json.dumps(dict(reversed(USUAL.items()))).encode(),
        item(like=True, isMayor=True, posts={"count": 3}, score={"total": 9}, scores=[1]),
        item(likes={"count": 1, "groups": [{"items": [{"id": "1", "firstName": "Grace"}]}]}),
        item(user={"id": "12", "firstName": "Ada"}, editableUntil=5, checkinShortUrl="https://x/y"),
        item(event=None, sticker={}, entities=[], brandNew=False, another=0, **{"with": []}),
        at_venue(closed=True, contact={"phone": "1"}, hereNow={"count": 7}, rating=8.1),
        located(address="Musterweg 1", postalCode="10115"),
        located(lat="52.50", lng=13.400000000000001),
    ],
)
def test_counters_and_spelling_do_not_change_the_fingerprint(drifted):
    assert read(drifted).fingerprint == read(item()).fingerprint


PARTS = {
    "with": [{"id": "1", "firstName": "Grace", "photo": {"suffix": "/a"}}, {"id": "2"}],
    "event": {"id": "e1", "name": "Konzert", "stats": {"allTime": 3}, "categories": [1]},
    "sticker": {"id": "s1", "name": "Jetsetter", "unlockTs": 5},
    "brandNew": {"a": 1, "b": [1.50, "ü"], "likes": {"count": 2}},
}
KNOWN_PARTS = {key: PARTS[key] for key in ("with", "event", "sticker")}
DRIFTED_PARTS = {
    "brandNew": {"b": [1.5, "\u00fc"], "a": 1, "likes": {"count": 3}},
    "sticker": {"name": "Jetsetter", "id": "s1", "unlockTs": 6, "pickerPosition": {"page": 1}},
    "event": {"id": "e1", "name": "Konzert", "stats": {"allTime": 4}, "categories": []},
    "with": [{"id": "2", "firstName": "Alan"}, {"id": "1", "firstName": "Grace B."}],
}


def test_friends_events_and_stickers_have_a_life_of_their_own():
    """A friend's new portrait is no edit of the check-ins they were at, nor is another order."""
    assert read(item(**PARTS)).fingerprint == read(item(**DRIFTED_PARTS)).fingerprint
    strange = item(**PARTS, odd=float("nan"))  # which takes the patient way
    assert read(strange).fingerprint == read(item(**PARTS)).fingerprint


@pytest.mark.parametrize(
    "parts", [{}, {"entities": []}, {"entities": [{"id": "555"}]}, KNOWN_PARTS]
)
def test_a_new_key_with_nothing_in_it_does_not_change_the_fingerprint(parts):
    assert read(item(**parts, brandNew=None)).fingerprint == read(item(**parts)).fingerprint


@pytest.mark.parametrize(
    "edited",
    [
        {"with": [{"id": "1"}, {"id": "3"}]},
        {"with": [{"id": "1"}]},
        {"event": {"id": "e2", "name": "Konzert"}},
        {"event": {"id": "e1", "name": "Theater"}},
        {"sticker": {"id": "s2", "name": "Jetsetter"}},
        {"brandNew": {"a": 2}},
    ],
)
def test_another_friend_event_or_sticker_is_an_edit(edited):
    assert read(item(**(PARTS | edited))).fingerprint != read(item(**PARTS)).fingerprint


def test_a_key_that_looks_like_none_is_told_as_another_part():
    odd = read(item(**{"\u202ename\x1b": 1, "x" * 1000: 2, "time": 3, "usual": 4}))

    assert sorted(json.loads(odd.extras)) == ["other", "usual"]
    assert odd.fingerprint != read(item(usual=4)).fingerprint


def test_the_order_of_photos_does_not_change_the_fingerprint():
    other = PHOTO | {"id": "p2"}

    prints = {
        read(item(photos={"items": photos})).fingerprint
        for photos in ([PHOTO, other], [other, PHOTO])
    }

    assert len(prints) == 1


def test_the_fingerprint_is_the_same_in_every_process_and_for_ever():
    code = (
        "import sys; from checkinsync.foursquare import parse; "
        "print(parse.checkin(sys.stdin.buffer.read()).fingerprint.hex())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], input=item(), stdout=subprocess.PIPE, check=True
    )

    assert elsewhere.stdout.decode().strip() == read(item()).fingerprint.hex()
    assert (
        read(item()).fingerprint.hex() == "fb174b6127d3443f100416dbc754caa7"
    )  # stored in people's databases


TEXT = st.text(max_size=20)
DEGREES = st.none() | st.decimals(-180, 180, places=8)


@given(
    st.builds(
        Checkin,
        id=TEXT,
        created_at=st.datetimes(datetime(1971, 1, 1), timezones=st.just(UTC)),
        latitude=DEGREES,
        longitude=DEGREES,
        time_zone_offset=st.none() | st.integers(),
        photos=st.lists(st.builds(Photo, id=TEXT, url=TEXT), max_size=3).map(tuple),
        visibility=st.none() | TEXT,
        extras=TEXT,
    )
)
def test_the_fingerprint_is_over_the_list_as_the_json_module_writes_it(checkin):
    photos = sorted([photo.id, photo.url, photo.visibility or ""] for photo in checkin.photos)
    place = checkin.venue_id, checkin.venue_name, checkin.venue_category
    degrees = (d if d is None else f"{d:f}" for d in (checkin.latitude, checkin.longitude))
    zone = checkin.time_zone, checkin.time_zone_offset
    said = checkin.shout, checkin.is_private, checkin.visibility, photos, checkin.extras
    second = int(checkin.created_at.timestamp())
    head = mapping.FINGERPRINT, checkin.id, second, checkin.kind
    parts = [*head, *place, *degrees, checkin.city, checkin.country, *zone, *said]

    written = json.dumps(parts, separators=(",", ":")).encode()

    assert mapping.fingerprint(checkin) == blake2b(written, digest_size=16).digest()


# --- pages ---------------------------------------------------------------------------------------


def response(*items: bytes, count: object = 7) -> bytes:
    listed = b",".join(items)
    return b'{"checkins":{"count":' + json.dumps(count).encode() + b',"items":[' + listed + b"]}}"


def test_a_page_keeps_the_order_and_one_bad_item_spoils_nothing_else():
    page = parse.page(response(item(id="b"), b"7", item(id="a")), offset=3, limit=250)

    assert [type(each) for each in page.items] == [Checkin, Unreadable, Checkin]
    assert [each.key for each in page.items][::2] == ["b", "a"]
    assert (page.offset, page.limit, page.total) == (3, 250, 7)


def test_an_empty_page_is_a_page():
    assert parse.page(response(), offset=500, limit=250).items == ()


DEEP = b"[" * 2000 + b"]" * 2000


def test_a_page_is_read_though_something_in_it_is_nested_too_deeply():
    deep = item(id="deep").replace(b'"checkin"', b'"checkin", "odd": ' + DEEP)
    body = response(item(id="b"), deep, item(id="a"))

    page = parse.page(body, offset=0, limit=250)

    assert [each.key for each in page.items] == ["b", "deep", "a"]
    assert [type(each) for each in page.items] == [Checkin, Unreadable, Checkin]
    assert page.total == 7
    assert len(parse.page(body.replace(b":7,", b":%b," % DEEP), offset=0, limit=250).items) == 3


@pytest.mark.parametrize(
    "odd", [b"NaN", b"1" * 5000, b'"\n"', b'"\xff"', rb'"\ud800"', rb'"[{,\"]"', b"[{}]", b"nul"]
)
def test_an_odd_value_spoils_its_item_at_most(odd):
    strange = item(id="odd").replace(b'"checkin"', b'"checkin", "odd": ' + odd)

    page = parse.page(response(item(id="b"), strange, item(id="a")), offset=0, limit=250)

    assert [each.key for each in page.items][::2] == ["b", "a"]
    assert [type(each) for each in page.items][::2] == [Checkin, Checkin]


@pytest.mark.parametrize("at", [1, 50, 200, 500])
def test_a_cut_page_is_no_page(at):
    whole = response(item(id="a"), item(id="b").replace(b'"checkin"', b"NaN"))

    with pytest.raises(FoursquareAway):
        parse.page(whole[:-at], offset=0, limit=250)


def garbled(number: int) -> bytes:
    text = json.dumps(USUAL | {"id": f"g{number}"}, ensure_ascii=False)
    return text.encode("latin-1")


def proper(number: int) -> bytes:
    return json.dumps(USUAL | {"id": f"p{number}"}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("items", "bad"),
    [
        ([garbled(1)], 1),
        ([garbled(1), proper(1)], 1),
        ([garbled(1), item(id="ascii"), item(id="ascii too")], 1),
        ([garbled(1), garbled(2), proper(1), proper(2)], 2),
    ],
)
def test_a_few_garbled_items_stop_themselves(items, bad):
    page = parse.page(response(*items), offset=0, limit=250)

    unreadable = [each for each in page.items if isinstance(each, Unreadable)]
    assert [each.key for each in unreadable] == [f"g{n}" for n in range(1, bad + 1)]
    assert all("not UTF-8" in each.problem for each in unreadable)


@pytest.mark.parametrize(
    "items",
    [
        [garbled(1), garbled(2)],
        [garbled(1), garbled(2), proper(1)],
        [garbled(1), garbled(2), *[item(id=f"ascii {n}") for n in range(50)]],
    ],
)
def test_a_page_that_is_garbled_altogether_is_no_page(items):
    with pytest.raises(FoursquareAway, match="not UTF-8"):
        parse.page(response(*items), offset=0, limit=250)


@pytest.mark.parametrize("count", [None, "many", -1, True, 1.5, [7]])
def test_an_unusable_count_is_no_count(count):
    assert parse.page(response(count=count), offset=0, limit=250).total is None


@pytest.mark.parametrize(
    "body",
    [b"{}", b"null", b"[]", b'{"checkins":null}', b'{"checkins":{"count":7}}', b"",
     b'{"checkins":{"items":null}}', b'{"checkins":{"items":{}}}', b'{"checkins":{"items":['],
)  # fmt: skip
def test_without_a_list_of_items_there_is_no_page(body):
    with pytest.raises(FoursquareAway, match="no list of check-ins"):
        parse.page(body, offset=0, limit=250)


# --- who it is -----------------------------------------------------------------------------------


def user(**fields: object) -> bytes:
    return json.dumps({"user": fields}).encode()


@pytest.mark.parametrize(
    ("body", "name", "avatar"),
    [
        (user(id="12", firstName="Ada", lastName="L."), "Ada L.", None),
        (user(id="12", firstName="Ada"), "Ada", None),
        (user(id=12, firstName=" ", lastName=None), None, None),
        (user(id="12", firstName="A\0\ud800" + "b" * 300), "A\ufffd\ufffd" + "b" * 252, None),
        (user(id="12", photo={"prefix": "https://x/", "suffix": "/y"}), None, "https://x/original/y"),
        (user(id="12", firstName=["x"], photo="me.jpg"), None, None),
    ],
)  # fmt: skip
def test_a_profile_is_an_id_with_a_name_and_a_picture_where_there_are_any(body, name, avatar):
    profile = parse.profile(body)

    assert (profile.foursquare_user_id, profile.name, profile.avatar_url) == ("12", name, avatar)


def test_a_name_that_is_garbled_is_not_taken_for_the_users():
    body = user(id="12", firstName="Zo\u00eb").replace(rb"\u00eb", b"\xeb")

    with pytest.raises(FoursquareAway, match="not UTF-8"):
        parse.profile(body)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"user":null}', user(), user(id=""), user(id="9" * 300), user(id="\x1b"), b"["],
)
def test_without_a_users_id_there_is_no_profile(body):
    with pytest.raises(FoursquareAway, match="whose token"):
        parse.profile(body)
