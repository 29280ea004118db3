"""The simulator's faults: the effect of each on an answer, and the requests it strikes."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import get_args

import pytest
import requests

from checkinsync.simulator.faults import LIMITED, SPOILT, Kind
from checkinsync.simulator.server import Fault, Server
from checkinsync.simulator.world import World
from support.simulator import CHECKINS, calling, error_of

NOW = 1_750_075_200.0


@pytest.fixture
def server():
    with Server(World.generate(accounts=2, count=60), now=lambda: NOW) as server:
        yield server


@pytest.fixture
def ada(server):
    with calling(server, "token-1") as caller:
        yield caller


@pytest.fixture
def ben(server):
    with calling(server, "token-2") as caller:
        yield caller


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("server_error", (500, 500, "server_error")),
        ("error_in_200", (200, 500, "server_error")),
        ("not_authorized", (403, 403, "not_authorized")),
        ("invalid_auth", (401, 401, "invalid_auth")),
        ("quota_exceeded", (429, 429, "quota_exceeded")),
        ("rate_limit_exceeded", (403, 403, "rate_limit_exceeded")),
        ("credits_exhausted", (402, 402, "credits_exhausted")),
        ("user_suspended", (403, 403, "user_suspended")),
        ("application_suspended", (403, 403, "application_suspended")),
        ("gone", (410, 410, "deprecated")),
    ],
)
def test_some_faults_are_refusals_in_the_envelope(ada, server, kind, error):
    server.fail(Fault(kind))

    struck = ada.get()
    assert error_of(struck) == error
    assert struck.json()["response"] == {}
    assert struck.json()["meta"]["requestId"]


def test_a_rate_limit_says_when_it_ends(ada, server):
    server.fail(Fault("rate_limit_exceeded", seconds=90))

    assert ada.get().headers["X-RateLimit-Reset"] == str(int(NOW) + 90)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("bad_gateway", 502),
        ("html", 200),
        ("html_401", 401),
        ("html_403", 403),
        ("gone_html", 410),
    ],
)
def test_some_faults_are_web_pages(ada, server, kind, status):
    server.fail(Fault(kind))

    struck = ada.get()
    assert struck.status_code == status
    assert struck.headers["Content-Type"].startswith("text/html")
    assert struck.text.startswith("<!DOCTYPE html>")


def test_a_limit_without_a_name_stands_in_the_headers_alone(ada, server):
    server.fail(Fault("limit_unnamed", seconds=90))

    struck = ada.get()
    assert (struck.status_code, struck.content) == (403, b"")
    assert struck.headers["X-RateLimit-Remaining"] == "0"
    assert struck.headers["X-RateLimit-Reset"] == str(int(NOW) + 90)


def test_the_newer_gateway_has_no_envelope(ada, server):
    server.fail(Fault("credits_message"))

    struck = ada.get()
    assert (struck.status_code, struck.json()) == (429, {"message": "No API credits remaining."})


def test_a_redirect_names_the_address(ada, server):
    server.fail(Fault("redirect", body="https://elsewhere.test/"))

    struck = ada.session.get(f"{server.url}/{CHECKINS}", allow_redirects=False, timeout=10)
    assert (struck.status_code, struck.headers["Location"]) == (302, "https://elsewhere.test/")


def test_what_a_fault_says_comes_with_its_headers(ada, server):
    headers = {"Retry-After": "7", "Content-Type": "text/html"}
    server.fail(Fault("says", status=429, body="<p>", headers=headers))

    struck = ada.get()
    assert (struck.status_code, struck.text) == (429, "<p>")
    assert (struck.headers["Retry-After"], struck.headers["Content-Type"]) == ("7", "text/html")


@pytest.mark.parametrize("kind", ["gzip", "x_gzip", "gzip_members", "deflate", "deflate_raw"])
def test_a_packed_body_is_the_same_when_it_is_unpacked(ada, server, kind):
    good = ada.ids()
    server.fail(Fault(kind))

    struck = ada.get()
    assert struck.headers["Content-Encoding"] in {"gzip", "x-gzip", "deflate"}
    assert [item["id"] for item in struck.json()["response"]["checkins"]["items"]] == good


def test_a_damaged_body_can_not_be_unpacked(ada, server):
    server.fail(Fault("gzip_damaged"))

    with pytest.raises(requests.exceptions.ContentDecodingError):
        ada.get()


def test_early_hints_come_before_the_answer(ada, server):
    server.fail(Fault("early_hints"))
    port = int(server.url.rpartition(":")[2].partition("/")[0])

    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b"".join(iter(lambda: peer.recv(65536), b""))

    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"103", b"404"]


@pytest.mark.parametrize(("kind", "garbled"), [("latin_1", 2), ("latin_1_item", 1)])
def test_a_garbled_body_is_not_utf_8(server, kind, garbled):
    server.world.add_account("cafe")
    for at in (2, 1):
        server.world.add("cafe", {"id": f"{at:024x}", "createdAt": at, "shout": "Café"})
    server.fail(Fault(kind))

    with calling(server, "cafe") as caller:
        body = caller.get().content

    assert body.count(b"Caf\xe9") == garbled
    assert body.count("Café".encode()) == 2 - garbled


def test_cut_json_looks_complete_to_http(ada, server):
    server.fail(Fault("cut_json"))

    struck = ada.get()
    assert struck.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(struck.text)


def test_an_empty_body_is_empty(ada, server):
    server.fail(Fault("empty"))

    assert (ada.get().status_code, server.requests[0].status) == (200, 200)
    server.fail(Fault("empty"))
    assert ada.get().content == b""


def test_missing_items_are_missing_in_a_good_answer(ada, server):
    server.fail(Fault("items_missing"))

    assert ada.get().json()["response"] == {"checkins": {"count": 60}}


def test_a_reset_connection_is_really_reset(ada, server):
    server.fail(Fault("reset"))

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        ada.get()
    assert server.requests[0].status == 0


def test_a_cut_transfer_ends_before_what_was_announced(ada, server):
    server.fail(Fault("cut_transfer"))

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ada.get()
    assert len(ada.ids()) == 20


@pytest.mark.parametrize("kind", ["slow", "trickle"])
def test_a_slow_body_comes_whole_in_the_end(ada, server, kind):
    server.fail(Fault(kind, seconds=0.3))
    began = time.monotonic()

    assert len(ada.ids()) == 20
    assert time.monotonic() - began >= 0.3


def test_one_slow_answer_does_not_hold_up_the_others(ada, ben, server):
    server.fail(Fault("slow", token="token-1", seconds=3600))
    with pytest.raises(requests.RequestException):
        ada.session.get(f"{server.url}/{CHECKINS}?v=20240101&oauth_token=token-1", timeout=0.1)

    assert len(ben.ids()) == 20


def statuses(caller, *offsets):
    return [caller.get(offset=offset).status_code for offset in offsets]


def test_a_fault_strikes_once_unless_told_how_often(ada, server):
    server.fail(Fault("server_error"))
    assert statuses(ada, 0, 0) == [500, 200]

    server.fail(Fault("server_error", times=2))
    assert statuses(ada, 0, 0, 0) == [500, 500, 200]

    server.fail(Fault("server_error", times=None))
    assert statuses(ada, 0, 0, 0) == [500, 500, 500]

    server.faults.clear()
    assert statuses(ada, 0) == [200]


def test_a_fault_strikes_from_the_nth_request_that_fits(ada, server):
    server.fail(Fault("server_error", nth=3, times=2))

    assert statuses(ada, 0, 0, 0, 0, 0) == [200, 200, 500, 500, 200]


def test_a_fault_strikes_its_token_its_path_and_its_offset_only(ada, ben, server):
    server.fail(Fault("server_error", token="token-2", path=CHECKINS, offset=20))

    assert statuses(ada, 0, 20) == [200, 200]
    assert ben.get("users/self", offset=20).status_code == 200
    assert statuses(ben, 0, 20, 20) == [200, 500, 200]


def test_the_first_of_several_faults_shows_and_all_are_used_up(ada, server):
    server.fail(Fault("server_error"), Fault("bad_gateway", times=2))

    assert statuses(ada, 0, 0, 0) == [500, 502, 200]


def test_every_kind_can_strike_every_answer(server):
    unread = ("reset", "cut_transfer", "early_hints", "gzip_damaged")
    kinds = [kind for kind in get_args(Kind) if kind not in unread]
    with calling(server, "token-1") as caller:
        for path in (CHECKINS, "users/self", "nowhere"):
            for kind in kinds:
                server.fail(Fault(kind))
                assert caller.get(path).status_code >= 200
    assert SPOILT.keys() | {*LIMITED} == set(get_args(Kind))
