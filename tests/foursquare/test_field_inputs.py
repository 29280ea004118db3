"""Inputs that failed in the field (see `field/`): stored with the right values, or told by name."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from checkinsync.errors import (
    AccountSuspended,
    ApiGone,
    CheckinsyncError,
    FoursquareAway,
    PlanExhausted,
    RateLimited,
)
from checkinsync.foursquare.client import Foursquare
from checkinsync.simulator.faults import Fault
from checkinsync.sync.scope import Full
from checkinsync.sync.session import Hooks
from checkinsync.verify.result import Kind, VerificationResult
from checkinsync.verify.verifier import verify
from support.factories import NOW

FIELD = Path(__file__).parent / "field"
ADA = "token-ada"
CHECKINS = "users/self/checkins"


def field(name: str) -> Any:
    return json.loads((FIELD / name).read_text(encoding="utf-8"))


def lines(name: str) -> Iterator[dict[str, str]]:
    for line in (FIELD / name).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


@pytest.fixture
def ada(env):
    env.simulator.world.add_account(ADA)
    return env.add(ADA)


def show(env, items: list[Any]) -> None:
    """Let the list hold just these."""
    account = env.simulator.world.accounts[ADA]
    for entry in list(account.entries):
        account.delete(entry.id)
    for item in items:
        env.simulator.world.add(ADA, item)


def full(env, user):
    env.at += timedelta(days=1)
    return env.import_(user, scope=Full())


def column(env, name: str) -> dict[str, Any]:
    rows = env.conn.execute(f"SELECT foursquare_id, {name} FROM checkins")
    return dict(rows.fetchall())


def proof(env, user, **more) -> VerificationResult:
    result = verify(
        user,
        services=env.services,
        hooks=Hooks(),
        **more,
    )
    assert isinstance(result, VerificationResult)
    return result


def written(env) -> list[tuple]:
    return env.conn.execute("SELECT c.*, xmin::text FROM checkins AS c ORDER BY id").fetchall()


# --- whole pages ---------------------------------------------------------------------------------


def test_coordinates_are_stored_as_postgresql_rounds_them_and_verified_as_such(env, ada):
    show(env, field("coordinate_half.json"))
    full(env, ada)

    first = proof(env, ada)

    assert first.complete
    assert not first.findings
    south, east = "6553f2f40000000000000002", "6553f1000000000000000001"
    assert column(env, "latitude")[south] == Decimal("-33.12345679")
    assert column(env, "longitude")[east] == Decimal("7.11122234")
    before = written(env)
    assert full(env, ada).saved.changed == 0
    assert not proof(env, ada, repair=True).findings
    assert written(env) == before


def test_a_checkin_is_private_unless_others_may_see_it(env, ada):
    items = field("visibility.json")["night1"]
    show(env, items)
    full(env, ada)

    ids = [item["id"] for item in items]
    assert [column(env, "is_private")[i] for i in ids] == [False, True, True, True]
    assert [column(env, "visibility")[i] for i in ids] == [
        None,
        "private",
        "closeFriends",
        "private",
    ]
    assert proof(env, ada).complete


@pytest.mark.parametrize(
    ("visibility", "private"),
    [("friends", False), ("public", False), (None, False), ("closeFriends", True),
     ("private", True), ("followers", True), ("", True), ("Public", True), (7, True),
     ({"a": 1}, True)],
)  # fmt: skip
def test_a_visibility_that_is_unknown_counts_as_private(env, ada, visibility, private):
    [item, *_] = field("visibility.json")["night1"]
    show(env, [item | {"visibility": visibility}])

    full(env, ada)

    assert column(env, "is_private") == {item["id"]: private}
    assert proof(env, ada).complete


def test_a_visibility_that_is_edited_is_an_edit(env, ada):
    [item, *_] = field("visibility.json")["night1"]
    show(env, [item])
    full(env, ada)
    show(env, [item | {"visibility": "private"}])

    imported = full(env, ada)

    assert imported.saved.changed == 1
    assert column(env, "raw->>'visibility'") == {item["id"]: "private"}
    [(what, old, new)] = env.conn.execute(
        "SELECT what, old_values, new_values FROM checkin_revisions"
    ).fetchall()
    assert sorted(what) == ["private", "visibility"]
    assert (old, new) == (
        {"private": False, "visibility": None},
        {"private": True, "visibility": "private"},
    )


def test_one_item_nested_a_thousand_levels_deep_stops_itself_alone(env, ada):
    nested = field("nested_item.json")
    show(env, [nested["good"]])
    deep = json.loads(nested["raw"].partition(', "zz"')[0] + "}")
    env.simulator.world.add_text(ADA, nested["raw"], created_at=deep["createdAt"])

    imported = full(env, ada)

    assert env.stored(ada) == [nested["good"]["id"]]
    assert imported.saved.quarantined == 1
    assert "250 levels" in env.quarantined(ada)[deep["id"]]
    result = proof(env, ada)
    assert (result.complete, result.unreadable) == (True, 1)


def test_a_photo_of_the_old_form_is_stored(env, ada):
    show(env, field("photo_2011_form.json"))

    full(env, ada)

    rows = env.conn.execute(
        "SELECT foursquare_photo_id, photo_url, width, height FROM checkin_photos"
    ).fetchall()
    assert rows == [("4f0000000000000000000001", "https://img.invalid/pix/A.jpg", 540, 720)]


def test_a_time_in_words_goes_into_quarantine_under_its_id(env, ada):
    odd, good = field("quarantine_unseen.json")
    show(env, [odd, good])

    full(env, ada)

    assert env.stored(ada) == [good["id"]]
    assert "`createdAt`" in env.quarantined(ada)[odd["id"]]


# --- one odd item --------------------------------------------------------------------------------

REFUSED = {
    "createdAt .5": "`createdAt`",
    "createdAt ms": "`createdAt`",
    "createdAt export string": "`createdAt`",
    "createdAt iso Z": "`createdAt`",
    "createdAt 0": "`createdAt`",
    "createdAt negative": "`createdAt`",
    "createdAt huge": "`createdAt`",
    "createdAt bool": "`createdAt`",
    "id 300 chars": "`id`",
    "id blanks": "`id`",
    "id missing": "`id`",
    "null item": "not an object",
    "string item": "not an object",
    "list item": "not an object",
    "empty object": "`id`",
}
"""Items that can't become a row, and what their reason names."""

VALUES: dict[str, dict[str, Any]] = {
    "dup key id (last wins?)": {"foursquare_id": "6553f4e80000000000000001"},
    "dup key createdAt": {"checkin_date": datetime(2023, 11, 14, 22, 46, 40)},
    "createdAt exponent 17000xxe3": {"checkin_date": datetime(2023, 11, 14, 23, 36, 40)},
    "createdAt digits string": {"checkin_date": datetime(2023, 11, 15, 0, 26, 40)},
    "tzo null": {"time_zone_offset": None},
    "tzo string 60": {"time_zone_offset": 60},
    "tzo string -300": {"time_zone_offset": -300},
    "tzo 60.0": {"time_zone_offset": 60},
    "private string true": {"is_private": True},
    'private "True"': {"is_private": True},
    "private null": {"is_private": False},
    "visibility private only": {"is_private": True, "visibility": "private"},
    "visibility friends": {"is_private": False, "visibility": "friends"},
    "venue []": {"venue_name": "Unknown", "venue_id": None},
    "venue string": {"venue_name": "Unknown"},
    "lat/lng strings": {"latitude": Decimal("52.5"), "longitude": Decimal("13.4")},
    "lat null": {"latitude": None, "longitude": None},
    "lat 91": {"latitude": None, "longitude": None},
    "lng 180.0000001": {"latitude": None, "longitude": None},
    "lat NaN": {"latitude": None, "longitude": None},
    "lat 1e400": {"latitude": None, "longitude": None},
    "lat -0.0 lng -0.0": {"latitude": None, "longitude": None},
    "lat 3.6e-8": {"latitude": Decimal("0.00000004"), "longitude": Decimal("0.00000004")},
    "lat 0 lng 5": {"latitude": Decimal(0), "longitude": Decimal(5)},
    "lat 90 lng 180": {"latitude": Decimal(90), "longitude": Decimal(-180)},
    "categories null": {"venue_category": "Unknown"},
    'category primary "true"': {"venue_category": "B"},
    "category string icon 2011": {"venue_category": "A"},
    "id number": {"foursquare_id": "12345678901234567890"},
    "id emoji": {"foursquare_id": "\U0001f98a"},
    'shout ""': {"shout": None},
    "shout number": {"shout": None},
    "shout NUL + lone surrogates": {"shout": "a\ufffdb\ufffdc\ufffd \U0001f44d \\u0000"},
    "type null": {"kind": "checkin"},
    "type number": {"kind": "checkin"},
    "type passive": {"kind": "passive"},
    'timeZone ""': {"timezone": None},
    "venue.name 4000 chars": {"venue_name": "n" * 4000},
    "venue.id number": {"venue_id": "7"},
    "city 400 astral": {"city": "\U0001f98a" * 255},
    "country missing, cc there": {"country": "DE"},
    "city missing, formattedAddress there": {"city": "Unknown", "country": "Germany"},
    "venueless with location name": {"venue_name": "Zu Hause", "kind": "venueless"},
}
"""Values of the row that an item becomes."""

PHOTOS = {
    "photo width string": 1,
    "photo width 1e10": 1,
    "photo no id": 1,
    "photo prefix null": 0,
    "photo id number": 1,
    "photo 2011 url": 1,
    "photo same id other url": 2,
    "photo suffix no slash": 1,
}
"""Photos of each."""

CASES = {line["case"]: line["raw"] for line in lines("items.jsonl")}
GOOD = {"id": "6553000000000000000000ff", "createdAt": 1_699_000_000, "type": "checkin"}


@pytest.fixture(scope="module")
def places() -> dict[str, int]:
    """The place of each case in the list (Unix seconds)."""
    return {case: 1_700_200_000 - 1000 * number for number, case in enumerate(CASES)}


def serve_all(env, places: dict[str, int]) -> None:
    for case, raw in CASES.items():
        env.simulator.world.add_text(ADA, raw, created_at=places[case], item_id=case)
    env.simulator.world.add(ADA, GOOD)


def test_each_odd_item_is_stored_once_or_in_quarantine_by_name(env, ada, places):
    serve_all(env, places)

    imported = full(env, ada)

    assert imported.saved.new == len(CASES) + 1 - len(REFUSED)
    assert imported.saved.quarantined == len(REFUSED)
    problems = env.quarantined(ada)
    assert len(problems) == len(REFUSED)
    for case, named in REFUSED.items():
        item = CASES[case].encode()
        [problem] = env.conn.execute(
            "SELECT problem FROM quarantined_checkins WHERE item = %s", [item]
        ).fetchone()
        assert named in problem, case
    again = full(env, ada)
    assert (again.saved.new, again.saved.changed) == (0, 0)
    result = proof(env, ada)
    assert (result.complete, result.unreadable) == (True, len(REFUSED))


def key(case: str) -> str:
    """The id under which a case is stored."""
    return str(json.loads(CASES[case])["id"])


def test_an_odd_item_has_the_right_values(env, ada, places):
    serve_all(env, places)
    full(env, ada)

    for case, values in VALUES.items():
        names = ", ".join(values)
        row = env.conn.execute(
            f"SELECT {names} FROM checkins WHERE foursquare_id = %s",
            [key(case)],
        ).fetchone()
        assert row == tuple(values.values()), case


def test_an_odd_photo_is_stored_where_it_has_an_address(env, ada, places):
    serve_all(env, places)
    full(env, ada)
    full(env, ada)

    for case, count in PHOTOS.items():
        urls = env.conn.execute(
            """
            SELECT photo_url FROM checkin_photos JOIN checkins AS c ON c.id = checkin_id
             WHERE foursquare_id = %s
            """,
            [key(case)],
        ).fetchall()
        assert len(urls) == len(set(urls)) == count, case


def test_two_photos_of_one_id_are_the_same_two_in_whichever_order_they_come(env, ada):
    item = json.loads(CASES["photo same id other url"])
    show(env, [item])
    full(env, ada)
    before = env.conn.execute("SELECT * FROM checkin_photos ORDER BY id").fetchall()
    show(env, [item | {"photos": {"items": item["photos"]["items"][::-1]}}])

    assert full(env, ada).saved.changed == 0
    assert env.conn.execute("SELECT * FROM checkin_photos ORDER BY id").fetchall() == before


# --- whole answers -------------------------------------------------------------------------------

MEANINGS: dict[str, tuple[type[CheckinsyncError], str]] = {
    "402 credits_exhausted": (PlanExhausted, r"plan .* used up \(No API credits remaining.\)"),
    "402 html": (PlanExhausted, "plan .* used up"),
    "410 html": (ApiGone, "HTML page"),
    "410 deprecated envelope, empty response": (ApiGone, "Usage of the V2 API has been deprecated"),
    "200 deprecated, response {}": (ApiGone, "This API version will be deprecated soon"),
    "403 cloudflare html cf-ray": (FoursquareAway, r"HTML page \(HTTP 403\), as a bot wall"),
    "401 message only (v3 style)": (FoursquareAway, r"\(Invalid request token.\)"),
    "429 message only": (PlanExhausted, "No API credits remaining"),
    "429 html Retry-After 120": (RateLimited, "02:02:00 UTC"),
    "403 unknown type user_suspended": (AccountSuspended, "This account has been suspended"),
    "403 empty body (doc: rate limit)": (RateLimited, "02:10:00 UTC"),
    "403 {} body + reset header": (RateLimited, "02:10:00 UTC"),
    "gzip garbage": (FoursquareAway, r"packed body \(gzip\)"),
    "latin-1 body": (FoursquareAway, "not UTF-8"),
}
GOOD_ANSWERS = {"x-gzip", "content-length negative", "103 early hints then 200"}
ANSWERS = {line["case"]: base64.b64decode(line["bytes_base64"]) for line in lines("answers.jsonl")}
RESET = re.compile(rb"(X-RateLimit-Reset: )\d+")


@pytest.fixture
def asked(answering):
    """The page that an answer holds, or the error that it means, and the requests it took."""
    made: list[Foursquare] = []

    def asked(case: str):
        reset = int((NOW + timedelta(minutes=10)).timestamp())
        answer = RESET.sub(rb"\g<1>%d" % reset, ANSWERS[case])
        if case in MEANINGS:  # so that the next request comes by a connection of its own
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        url = answering(*[answer] * 3)
        made.append(
            Foursquare(api_url=url, token_in="query", sleep=lambda _: None, now=lambda: NOW)
        )
        return made[-1].user_client("A-TOKEN-NOBODY-MAY-SEE")

    yield asked
    for foursquare in made:
        foursquare.close()


def test_each_answer_of_the_field_has_its_meaning_here():
    assert MEANINGS.keys() | GOOD_ANSWERS == ANSWERS.keys()


@pytest.mark.parametrize("case", MEANINGS)
def test_an_answer_is_told_as_the_error_it_means(asked, case):
    error, told = MEANINGS[case]
    client = asked(case)

    with pytest.raises(error, match=told) as raised:
        client.page(offset=0, limit=250)

    assert type(raised.value) is error
    assert client.requests == (3 if error is FoursquareAway else 1)
    assert ("try again later" in str(raised.value)) is (error is FoursquareAway)


@pytest.mark.parametrize("case", sorted(GOOD_ANSWERS))
def test_a_good_answer_in_an_odd_form_is_read(asked, case):
    page = asked(case).page(offset=0, limit=250)

    assert [item.key for item in page.items][-1].startswith("6553f")
    assert all(hasattr(item, "raw") for item in page.items)


# --- garbled characters --------------------------------------------------------------------------


def cafe(number: int, **changes: object) -> dict[str, Any]:
    at = 1_700_000_000 - 3600 * number
    item = {"id": f"{at:08x}{number:016x}", "createdAt": at, "shout": f"Café Ö {number}"}
    return item | changes


def test_a_page_that_is_garbled_altogether_is_asked_for_again_and_stores_nothing(env, ada):
    show(env, [cafe(n) for n in range(5)])
    full(env, ada)
    before = written(env)
    env.simulator.fail(Fault("latin_1", path=CHECKINS, times=2))

    imported = full(env, ada)

    assert imported.saved.changed == 0
    assert written(env) == before
    assert env.simulator.requests[2].status == 200


def test_a_page_that_stays_garbled_ends_the_import_with_a_sentence(env, ada):
    show(env, [cafe(n) for n in range(5)])
    full(env, ada)
    before = written(env)
    env.simulator.fail(Fault("latin_1", path=CHECKINS, times=None))

    with pytest.raises(FoursquareAway, match="not UTF-8"):
        full(env, ada)

    assert written(env) == before
    assert env.quarantined(ada) == {}


def test_one_garbled_item_keeps_its_text_as_it_was_stored_and_is_told(env, ada):
    show(env, [cafe(n) for n in range(5)])
    full(env, ada)
    before = written(env)
    env.simulator.fail(Fault("latin_1_item", path=CHECKINS))

    imported = full(env, ada)

    assert written(env) == before
    assert imported.saved.quarantined == 1
    [(key, problem)] = env.quarantined(ada).items()
    assert key == cafe(0)["id"]
    assert "not UTF-8" in problem
    full(env, ada)
    assert env.quarantined(ada) == {}


# --- one id twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [0, 5, 300])
def test_of_two_items_with_one_id_the_first_counts_and_verify_comes_to_an_end(env, ada, between):
    one, two = cafe(0, shout="the first"), cafe(0, shout="the second")
    env.simulator.world.add(ADA, one)
    for number in range(1, between + 1):
        env.simulator.world.add(ADA, cafe(number))
    entered = 1_600_000_000
    env.simulator.world.add(ADA, two, created_at=entered, entered_at=entered)
    assert full(env, ada).saved.new == between + 1
    assert full(env, ada).saved.changed == 0

    assert column(env, "shout")[one["id"]] == "the first"
    shown = proof(env, ada)
    assert (shown.complete, shown.findings) == (True, ())
    assert shown.shown == between + 1


# --- a repair is looked at -----------------------------------------------------------------------

TRIGGER = """
    CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.city := 'Meddled'; RETURN NEW; END $$;
    CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON checkins
       FOR EACH ROW EXECUTE FUNCTION meddle()
"""


def test_a_repair_that_does_not_last_is_not_called_one(env, ada):
    show(env, [cafe(n) for n in range(3)])
    full(env, ada)
    env.conn.execute(TRIGGER)
    env.conn.execute("UPDATE checkins SET shout = 'written over' WHERE shout LIKE '% 1'")

    result = proof(env, ada, repair=True)

    different = [finding for finding in result.findings if finding.kind is Kind.DIFFERENT]
    assert [finding.foursquare_id for finding in different] == [cafe(1)["id"]]
    assert not different[0].closed
    assert not result.complete
