"""The simulator's login: the page that asks, the way back, and codes that work once."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from checkinsync.simulator.server import Client, Server, Switches
from checkinsync.simulator.world import World

BACK = "http://localhost:8902/callback"
CLIENT = Client(redirect_uris=(BACK,))


@pytest.fixture
def server():
    with Server(World.generate(accounts=2, count=3), client=CLIENT) as server:
        yield server


@pytest.fixture
def browser():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def asking(browser, server, **changes):
    asked = {
        "client_id": CLIENT.id,
        "response_type": "code",
        "redirect_uri": BACK,
        "state": "s&t",
        **changes,
    }
    return browser.get(f"{server.oauth_url}/authenticate", params=asked, allow_redirects=False)


def click(browser, server, page, text):
    """Follow the link of this text."""
    link = re.search(rf'<a href="([^"]*)">{text}</a>', page.text)
    address = server.oauth_url.removesuffix("/oauth2") + unescape(link[1])
    return browser.get(address, allow_redirects=False)


def sent_back(answer):
    """The parameters with which the browser is sent back."""
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{BACK}?")
    return {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def exchange(browser, server, code, *, method="GET", **changes):
    sent = {
        "client_id": CLIENT.id,
        "client_secret": CLIENT.secret,
        "grant_type": "authorization_code",
        "redirect_uri": BACK,
        "code": code,
        **changes,
    }
    how = {"params": sent} if method == "GET" else {"data": sent}
    return browser.request(method, f"{server.oauth_url}/access_token", **how)


def code_of(browser, server):
    return sent_back(asking(browser, server, decision="allow"))["code"]


def test_whoever_allows_is_sent_back_with_a_code_and_the_state(browser, server):
    page = asking(browser, server)
    back = sent_back(click(browser, server, page, "Allow"))

    assert back.keys() == {"code", "state"}
    assert back["state"] == "s&t"
    assert exchange(browser, server, back["code"]).json() == {"access_token": "token-1"}


def test_whoever_denies_is_sent_back_with_an_error(browser, server):
    back = sent_back(click(browser, server, asking(browser, server), "Deny"))

    assert back == {"error": "access_denied", "state": "s&t"}


def test_somebody_else_can_log_in(browser, server):
    page = click(browser, server, asking(browser, server), "Ben Okafor")
    back = sent_back(click(browser, server, page, "Allow"))

    assert exchange(browser, server, back["code"]).json() == {"access_token": "token-2"}


@pytest.mark.parametrize(("login", "result"), [("allow", "code"), ("deny", "error")])
def test_a_switch_answers_instead_of_the_user(browser, server, login, result):
    server.switches.login = login

    assert result in sent_back(asking(browser, server))


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "other"},
        {"response_type": "token"},
        {"redirect_uri": "http://localhost:1/callback"},
        {"redirect_uri": None},
        {"user": "0"},
    ],
)
def test_a_wrong_question_is_not_sent_anywhere(browser, server, wrong):
    assert asking(browser, server, decision="allow", **wrong).status_code == 400


def test_any_redirect_address_will_do_where_none_is_registered(browser):
    with Server(World.generate(accounts=1), Switches(login="allow")) as server:
        answer = asking(browser, server, redirect_uri="http://localhost:1/x?y=z")

    assert answer.headers["Location"].startswith("http://localhost:1/x?y=z&code=")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_code_is_exchanged_once_by_either_method(browser, server, method):
    code = code_of(browser, server)

    assert exchange(browser, server, code, method=method).json() == {"access_token": "token-1"}
    again = exchange(browser, server, code, method=method)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"code": "made-up"}, "invalid_grant"),
        ({"redirect_uri": "http://localhost:1/"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_wrong_exchange_is_refused_without_an_envelope(browser, server, wrong, error):
    answer = exchange(browser, server, **{"code": code_of(browser, server), **wrong})

    assert answer.json() == {"error": error}


def test_who_logs_in_again_after_a_revocation_gets_another_token(browser, server):
    server.revoke("token-1")
    token = exchange(browser, server, code_of(browser, server)).json()["access_token"]

    assert token != "token-1"
    answers = [
        browser.get(f"{server.url}/users/self", params={"v": "20240101", "oauth_token": each})
        for each in ("token-1", token)
    ]
    assert [answer.status_code for answer in answers] == [401, 200]


def test_names_cannot_break_the_page(browser, server):
    server.world.add_account("x", first_name="<script>", last_name='"&')
    page = asking(browser, server, state='"><b>')

    assert "<script>" not in page.text
    assert "<b>" not in page.text
