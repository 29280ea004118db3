"""The simulator over real HTTP: endpoints, parameters, tokens, limits and the order of lists."""

from __future__ import annotations

import time

import pytest
import requests

from checkinsync.simulator.server import Fault, Server, Switches
from checkinsync.simulator.world import NEWEST, World
from support.simulator import CHECKINS, calling, error_of

NOON = 1_750_075_200.0
"""A noon in UTC."""


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def world():
    return World.generate(seed=1, accounts=2, count=300)


@pytest.fixture
def server(world, clock):
    with Server(world, now=clock) as server:
        yield server


@pytest.fixture
def ada(server):
    with calling(server, "token-1") as caller:
        yield caller


@pytest.fixture
def ben(server):
    with calling(server, "token-2") as caller:
        yield caller


# -- endpoints and the envelope


def test_a_good_answer_comes_in_the_envelope_with_its_limits(ada):
    answer = ada.get()

    body = answer.json()
    assert body["meta"]["code"] == answer.status_code == 200
    assert len(body["meta"]["requestId"]) == 24
    assert answer.headers["X-RateLimit-Limit"] == "500"
    assert answer.headers["X-RateLimit-Remaining"] == "499"


def test_each_answer_has_its_own_request_id(ada):
    answers = [ada.get(), ada.get(), ada.get("nowhere"), ada.get(v="")]

    assert len({answer.json()["meta"]["requestId"] for answer in answers}) == 4


def test_the_user_is_told_of_themselves(ada, world):
    user = ada.get("users/self").json()["response"]["user"]

    assert user["id"] == world.accounts["token-1"].user_id
    assert (user["firstName"], user["lastName"]) == ("Ada", "Lovelace")
    assert user["checkins"]["count"] == 300
    assert {"prefix", "suffix"} <= user["photo"].keys()


def test_a_user_without_a_last_name_has_no_such_key(server, world):
    world.add_account("nameless", last_name=None)
    with calling(server, "nameless") as nameless:
        assert "lastName" not in nameless.get("users/self").json()["response"]["user"]


def test_one_checkin_is_told_by_its_id_while_it_is_there(ada, world):
    newest = world.accounts["token-1"].items[0]
    path = f"checkins/{newest['id']}"
    assert ada.get(path).json()["response"]["checkin"] == newest

    world.delete("token-1", newest["id"])

    assert error_of(ada.get(path)) == (400, 400, "param_error")
    assert ada.get(path).json()["meta"]["errorDetail"] == "Invalid checkin id"
    assert ada.get(path).json()["response"] == {}


@pytest.mark.parametrize("path", ["users/1000001/checkins", "venues/4b5a", "users", "x/../y"])
def test_there_is_nothing_elsewhere(ada, path):
    assert error_of(ada.get(path)) == (404, 404, "endpoint_error")


@pytest.mark.parametrize("path", ["users/self", "v3/users/self", ""])
def test_there_is_nothing_outside_the_version(ada, path):
    address = ada.server.url.removesuffix("v2") + path
    answer = ada.session.get(f"{address}?v=20240101&oauth_token=token-1", timeout=10)

    assert error_of(answer) == (404, 404, "endpoint_error")


def test_a_check_in_can_be_asked_for_by_id_unless_there_is_no_such_endpoint(ada, server):
    path = f"checkins/{server.shown_ids('token-1')[7]}"
    assert ada.get(path).status_code == 200

    server.switches.checkin_by_id = False

    assert error_of(ada.get(path)) == (404, 404, "endpoint_error")


def test_only_get_is_allowed(ada):
    answer = ada.session.post(f"{ada.server.url}/{CHECKINS}", timeout=10)

    assert error_of(answer) == (405, 405, "param_error")


@pytest.mark.parametrize("v", [None, "", "20120609", "2024", "yesterday"])
def test_a_missing_or_old_version_is_gone(ada, v):
    assert error_of(ada.get(v=v)) == (410, 410, "param_error")


def test_request_ids_and_notifications_may_be_absent(ada, server):
    server.switches.bare = True

    assert ada.get().json().keys() == {"meta", "response"}
    assert ada.get().json()["meta"] == {"code": 200}


def test_deprecated_is_a_warning_in_a_good_answer(ada, server):
    server.switches.deprecated = True

    assert error_of(ada.get()) == (200, 200, "deprecated")
    assert len(ada.ids()) == 20


def test_the_bot_wall_wants_a_name(ada, server):
    server.switches.bot_wall = True
    walled = ada.get()
    ada.session.headers["User-Agent"] = "checkinsync/1"

    assert (walled.status_code, walled.text[:5]) == (403, "<!DOC")
    assert ada.get().status_code == 200


# -- pages


def test_a_page_has_20_items_unless_asked_and_250_at_most(ada):
    assert [len(ada.ids(limit=n)) for n in (None, 1, 249, 250, 9999)] == [20, 1, 249, 250, 250]


def test_pages_follow_each_other_newest_first(ada, world):
    assert ada.walk(limit=100) == world.accounts["token-1"].ids


@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 500])
def test_every_size_of_account_is_walked_whole(server, world, count):
    account = world.add_account("sized", count=count)
    with calling(server, "sized") as caller:
        assert caller.walk() == account.ids


def test_beyond_the_end_there_are_no_items(ada):
    assert ada.checkins(offset=300) == {"count": 300, "items": []}
    assert ada.checkins(offset=67_000) == {"count": 300, "items": []}


@pytest.mark.parametrize("name", ["limit", "offset", "afterTimestamp", "beforeTimestamp"])
@pytest.mark.parametrize("value", ["-1", "many", "", "1.5"])
def test_numbers_have_to_be_natural(ada, name, value):
    assert error_of(ada.get(**{name: value})) == (400, 400, "param_error")


def test_oldest_first_is_the_list_turned_round(ada, world):
    ids = world.accounts["token-1"].ids

    assert ada.ids(sort="oldestfirst", limit=250) == ids[::-1][:250]
    assert ada.ids(sort="newestfirst", limit=250) == ids[:250]
    assert error_of(ada.get(sort="random")) == (400, 400, "param_error")


def test_offsets_count_between_the_timestamps(ada, world):
    items = world.accounts["token-1"].items
    after, before = items[200]["createdAt"], items[100]["createdAt"]
    window = {"afterTimestamp": after, "beforeTimestamp": before}

    expected = [item["id"] for item in items[101:201]]
    assert ada.ids(limit=250, **window) == expected
    assert ada.ids(limit=250, offset=40, **window) == expected[40:]


def test_the_borders_of_the_timestamps_can_be_flipped(ada, world, server):
    items = world.accounts["token-1"].items
    after, before = items[20]["createdAt"], items[10]["createdAt"]
    server.switches.after_inclusive = False
    server.switches.before_inclusive = True

    found = ada.ids(limit=250, afterTimestamp=after, beforeTimestamp=before)
    assert found == [item["id"] for item in items[10:20]]


def test_the_order_may_be_that_of_the_ids(ada, world, server):
    late = world.add("token-1", created_at=NEWEST - 9_000_000, entered_at=NEWEST + 60)
    assert ada.ids()[0] != late

    server.switches.order = "id"

    assert ada.ids()[0] == late


def test_parameters_may_be_ignored(ada, world, server):
    ids = world.accounts["token-1"].ids
    server.switches.sort_ignored = True
    assert ada.ids(sort="oldestfirst") == ids[:20]

    server.switches.default_sort = "oldestfirst"
    assert ada.ids(sort="newestfirst") == ids[::-1][:20]

    server.switches.default_sort = "newestfirst"
    server.switches.time_filters_ignored = True
    assert ada.ids(beforeTimestamp=1) == ids[:20]

    server.switches.offset_ignored = True
    assert ada.ids(offset=20) == ids[:20]


def test_as_in_2011_before_alone_may_turn_the_order(ada, world, server):
    server.switches.before_turns_order = True

    assert ada.ids(beforeTimestamp=NEWEST + 1) == world.accounts["token-1"].ids[::-1][:20]


def test_count_is_the_total_or_the_filtered_number_or_too_large(ada, world, server):
    window = {"afterTimestamp": world.accounts["token-1"].items[9]["createdAt"]}
    assert ada.checkins(**window)["count"] == 300

    server.switches.count = "filtered"
    assert ada.checkins(**window)["count"] == 10

    server.switches.count_excess = 7
    assert ada.checkins(**window)["count"] == 17


def test_a_page_may_be_capped_lower_than_asked(ada, server):
    server.switches.page_cap = 50

    assert len(ada.ids(limit=250)) == 50


def test_hidden_checkins_make_pages_short_in_mid_list(ada, server):
    server.switches.hide_every = 5

    assert 150 < len(ada.ids(limit=250)) < 250
    assert ada.walk() == server.shown_ids("token-1")
    assert 200 < len(server.shown_ids("token-1")) < 300
    assert ada.checkins()["count"] == 300


def test_a_page_of_hidden_checkins_only_is_not_empty(ada, server):
    server.switches.hide_every = 2

    pages = [ada.ids(limit=1, offset=offset) for offset in range(20)]
    assert all(len(page) == 1 for page in pages)


def test_a_damaged_list_leaves_out_what_can_still_be_asked_for_by_id(ada, server, world):
    whole = ada.walk()

    world.leave_out("token-1", whole[::2])

    assert ada.walk() == whole[1::2] == server.shown_ids("token-1")
    assert ada.get(f"checkins/{whole[0]}").status_code == 200
    world.leave_out("token-1", [])
    assert ada.walk() == whole


def test_a_group_of_one_second_straddles_a_page(ada, world):
    group = world.add_group("token-1", 300, at=NEWEST + 60)

    assert set(ada.walk()[:300]) == set(group)


def test_every_variant_comes_over_the_wire(server, world):
    account = world.add_account("odd")
    world.add_variants("odd")
    with calling(server, "odd") as odd:
        assert odd.checkins(limit=250)["items"] == account.items


def test_counters_drift_with_every_answer(ada, server):
    server.switches.drift = True
    before, after = (ada.checkins(limit=1)["items"][0] for _ in range(2))

    assert after["venue"]["stats"] != before["venue"]["stats"]
    assert after["venue"]["beenHere"]["count"] == before["venue"]["beenHere"]["count"] + 1
    assert after | {"venue": 0} == before | {"venue": 0}


def test_a_page_of_a_large_account_takes_milliseconds(server, world):
    account = world.add_account("large", count=70_000)
    account.newest_first()
    with calling(server, "large") as large:
        large.ids(limit=250, offset=66_000)
        before = time.process_time()
        assert large.ids(limit=250, offset=66_000) == account.ids[66_000:66_250]
        assert time.process_time() - before < 0.5


# -- tokens


def test_a_token_is_taken_from_the_header_or_the_query(ada, server):
    assert ada.by_header().json()["response"] == ada.get().json()["response"]
    assert [(seen.way, seen.token) for seen in server.requests] == [
        ("header", "token-1"),
        ("query", "token-1"),
    ]


@pytest.mark.parametrize("accepted", ["header", "query"])
def test_a_token_sent_in_the_other_way_is_no_token(ada, server, accepted):
    server.switches.token_in = accepted
    answers = {"header": ada.by_header(), "query": ada.get()}

    assert answers.pop(accepted).status_code == 200
    assert error_of(*answers.values()) == (400, 400, "invalid_auth")


def test_no_token_is_another_error_than_a_wrong_one(ada):
    assert error_of(ada.get(oauth_token=None)) == (400, 400, "invalid_auth")
    assert error_of(ada.get(oauth_token="wrong")) == (401, 401, "invalid_auth")


def test_each_token_has_its_own_history(ada, ben, world):
    assert ben.walk() == world.accounts["token-2"].ids
    assert set(ada.walk()).isdisjoint(ben.walk())


def test_a_revoked_token_is_rejected_in_one_of_two_ways(ada, ben, server):
    server.revoke("token-1")
    server.revoke("token-2", "not_authorized")

    assert error_of(ada.get()) == (401, 401, "invalid_auth")
    assert error_of(ben.get()) == (403, 403, "not_authorized")


# -- limits


def test_the_501st_request_of_an_hour_is_refused_until_the_first_is_an_hour_old(ada, clock):
    for _ in range(500):
        clock.now += 1
        answer = ada.get("users/self")
    assert answer.headers["X-RateLimit-Remaining"] == "0"

    refused = ada.get()

    assert error_of(refused) == (403, 403, "rate_limit_exceeded")
    assert int(refused.headers["X-RateLimit-Reset"]) == NOON + 1 + 3600
    clock.now = NOON + 3600
    assert ada.get().status_code == 403
    clock.now = NOON + 3601
    assert ada.get().status_code == 200
    assert ada.get().status_code == 403


def test_each_token_and_each_group_has_its_own_limit(ada, ben, server, world):
    server.switches.hourly_limit = 1
    newest = world.accounts["token-1"].ids[0]

    assert [ada.get().status_code, ada.get("users/self").status_code] == [200, 403]
    assert ada.get(f"checkins/{newest}").status_code == 200
    assert ben.get().status_code == 200


@pytest.mark.parametrize(
    ("switch", "told"), [("absent", None), ("past", NOON - 3600), ("absurd", 99_999_999_999)]
)
def test_the_reset_may_be_told_wrongly_or_not_at_all(ada, server, switch, told):
    server.switches.hourly_limit = 0
    server.switches.reset_header = switch

    header = ada.get().headers.get("X-RateLimit-Reset")
    assert (header and float(header)) == told


@pytest.mark.parametrize(
    ("case", "name"), [("lower", "x-ratelimit-limit"), ("upper", "X-RATELIMIT-LIMIT")]
)
def test_the_case_of_the_headers_varies(ada, server, case, name):
    server.switches.header_case = case

    assert name in list(ada.get().headers)


def test_the_daily_quota_is_everybodys_and_clears_at_midnight(ada, ben, server, clock):
    server.switches.daily_quota = 2
    assert [ada.get().status_code, ben.get().status_code] == [200, 200]

    refused = ben.get()

    assert error_of(refused) == (429, 429, "quota_exceeded")
    assert not [name for name in refused.headers if "ratelimit" in name.lower()]
    clock.now = NOON + 12 * 3600
    assert ada.get().status_code == 200


# -- the log, the hook, and the end


def test_the_log_knows_who_asked_for_what_and_never_shows_the_token_as_a_parameter(ada, server):
    ada.get(limit=5, offset=10)
    ada.get("nowhere")

    first, second = server.requests
    assert (first.path, first.status, first.at, first.offset) == (CHECKINS, 200, NOON, 10)
    assert first.params == {"v": "20240101", "limit": "5", "offset": "10"}
    assert first.headers["user-agent"].startswith("python-requests")
    assert (second.path, second.status) == ("nowhere", 404)


def test_the_world_can_change_between_two_pages(ada, world, server):
    ids = world.accounts["token-1"].ids

    def delete_the_first(seen):
        if seen.offset == 0:
            world.delete("token-1", ids[0])

    server.on_request = delete_the_first

    assert ada.ids(limit=100) == ids[:100]
    assert ada.ids(limit=100, offset=100) == ids[101:201]


def test_a_token_can_be_revoked_in_mid_run(ada, server):
    server.on_request = lambda seen: seen.offset == 20 and server.revoke("token-1")

    statuses = [ada.get(offset=offset).status_code for offset in (0, 20, 40)]
    assert statuses == [200, 200, 401]


def test_a_mistake_in_a_hook_comes_out_at_the_end(world):
    def mistaken(_):
        raise ZeroDivisionError

    server = Server(world, on_request=mistaken).__enter__()
    with calling(server, "token-1") as caller, pytest.raises(requests.ConnectionError):
        caller.get()

    with pytest.raises(ZeroDivisionError):
        server.__exit__(None, None, None)


def test_closing_does_not_wait_for_those_who_wait(world):
    with Server(world, Switches(page_cap=3)) as server, calling(server, "token-1") as caller:
        server.fail(Fault("slow", seconds=3600))
        with pytest.raises(requests.RequestException):
            caller.session.get(
                f"{server.url}/{CHECKINS}?v=20240101&oauth_token=token-1", timeout=0.2
            )
