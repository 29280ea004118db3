"""Foursquare's login over real HTTP: its questions, its tokens, its refusals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from checkinsync.errors import (
    FoursquareAway,
    LoginFailed,
    RequestRefused,
    SettingsError,
    StrayReturn,
)
from checkinsync.foursquare.oauth import Client, OAuth, code_in
from checkinsync.simulator.faults import Fault
from checkinsync.simulator.server import Client as Registered
from checkinsync.simulator.server import Server, Switches
from checkinsync.simulator.world import World

BACK = "http://localhost:8902/callback"
STATE = "the-state-of-this-login"
CLIENT = Client("an-id", "A-SECRET-NOBODY-MAY-SEE")


@pytest.fixture
def simulator() -> Iterator[Server]:
    registered = Registered(CLIENT.id, CLIENT.secret, (BACK,))
    world = World.generate(accounts=1, count=3)
    with Server(world, Switches(login="allow"), client=registered) as server:
        yield server


@pytest.fixture
def oauth(simulator: Server) -> Iterator[OAuth]:
    oauth = OAuth(simulator.oauth_url, client=CLIENT, redirect=BACK)
    yield oauth
    oauth.close()


def query_back(address: str) -> str:
    """The query that a browser brings back whose user allows, or denies, at once."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(f"{BACK}?")
    return urlsplit(answer.headers["Location"]).query


def failing(oauth: OAuth, error: type[Exception], code: str = "a-code") -> str:
    """The refusal of an exchange, in words that tell no secret."""
    with pytest.raises(error) as caught:
        oauth.token(code)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    told = repr(caught.value)
    assert CLIENT.secret not in told
    assert code not in told
    return told


# --- the way there and back -----------------------------------------------------------------------


def test_the_address_asks_for_a_code_and_takes_the_state_along(oauth, simulator):
    address = urlsplit(oauth.address("a&b"))

    assert address.path == "/oauth2/authenticate"
    assert parse_qs(address.query) == {
        "client_id": [CLIENT.id],
        "response_type": ["code"],
        "redirect_uri": [BACK],
        "state": ["a&b"],
    }


def test_whoever_allows_brings_a_code_that_becomes_a_token(oauth):
    code = code_in(query_back(oauth.address(STATE)), state=STATE)

    assert oauth.token(code) == "token-1"


def test_whoever_denies_brings_a_reason(oauth, simulator):
    simulator.switches.login = "deny"

    with pytest.raises(LoginFailed, match="denied") as caught:
        code_in(query_back(oauth.address(STATE)), state=STATE)
    assert not isinstance(caught.value, StrayReturn)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "code=c&state=",
        "code=c&state=another",
        f"code=c&state={STATE}x",
        f"code=c&state={STATE}&state={STATE}",
        f"state={STATE}",
        f"code=&state={STATE}",
        f"code=a&code=b&state={STATE}",
        f"code=%00&state={STATE}",
        f"code={'x' * 1001}&state={STATE}",
        "code=c&error=access_denied",
        "error=access_denied&state=another",
        "code=c&state=%ff%fe",
        "code=c&state=%ed%a0%80",
    ],
)
def test_whoever_is_not_of_this_login_is_a_stray(query: str):
    with pytest.raises(StrayReturn):
        code_in(query, state=STATE)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (f"error=access_denied&state={STATE}", "denied"),
        ("error=access_denied", "denied"),
        (f"error=server_error&state={STATE}", "server_error"),
        (f"error=%3Cscript%3E&state={STATE}", "for no known reason"),
    ],
)
def test_a_refusal_ends_the_login_with_its_reason(query: str, told: str):
    with pytest.raises(LoginFailed, match=told) as caught:
        code_in(query, state=STATE)
    assert not isinstance(caught.value, StrayReturn)
    assert "<" not in str(caught.value)


def test_a_code_in_any_order_and_with_more_beside_it_is_found():
    assert code_in(f"v=1&state={STATE}&code=A%2BB", state=STATE) == "A+B"


# --- the exchange ---------------------------------------------------------------------------------


def test_the_secret_and_the_code_stand_in_no_address_and_no_log(oauth, simulator, caplog):
    caplog.set_level(logging.DEBUG)
    code = code_in(query_back(oauth.address(STATE)), state=STATE)
    caplog.clear()

    token = oauth.token(code)

    assert (simulator.requests[-1].method, simulator.requests[-1].path) == (
        "POST",
        "oauth2/access_token",
    )
    assert "access_token" in caplog.text
    for secret in (CLIENT.secret, code, token):
        assert secret not in caplog.text
    assert CLIENT.secret not in repr(CLIENT)


def test_a_code_is_good_for_once(oauth):
    code = code_in(query_back(oauth.address(STATE)), state=STATE)
    oauth.token(code)

    assert "invalid_grant" in failing(oauth, LoginFailed, code)


def test_a_code_for_another_address_is_not_accepted(oauth, simulator):
    code = code_in(query_back(oauth.address(STATE)), state=STATE)
    other = OAuth(simulator.oauth_url, client=CLIENT, redirect="http://localhost:1/callback")

    assert "invalid_grant" in failing(other, LoginFailed, code)
    other.close()


def test_an_application_that_foursquare_does_not_know_is_a_matter_of_settings(simulator):
    stranger = OAuth(simulator.oauth_url, client=Client(CLIENT.id, "wrong-secret"), redirect=BACK)

    told = failing(stranger, SettingsError)

    assert "CHECKINSYNC_CLIENT_SECRET" in told
    assert "wrong-secret" not in told
    stranger.close()


@pytest.mark.parametrize(
    "fault", ["bad_gateway", "html", "html_403", "cut_json", "empty", "reset", "cut_transfer"]
)
def test_what_is_no_answer_means_that_foursquare_is_away(oauth, simulator, fault):
    code = code_in(query_back(oauth.address(STATE)), state=STATE)
    simulator.fail(Fault(fault, path="oauth2/access_token"))

    assert "try again later" in failing(oauth, FoursquareAway, code)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, "{}", FoursquareAway),
        (200, "[]", FoursquareAway),
        (200, '{"access_token": 7}', FoursquareAway),
        (200, '{"access_token": ""}', FoursquareAway),
        (200, '{"access_token": "two words"}', FoursquareAway),
        (200, '{"access_token": null, "error": {"a": 1}}', FoursquareAway),
        (200, '{"error": "invalid_grant"}', LoginFailed),
        (400, '{"error": "redirect_uri_mismatch"}', SettingsError),
        (401, '{"error": "unauthorized_client"}', SettingsError),
        (400, '{"error": "unsupported_grant_type"}', RequestRefused),
        (503, '{"error": "temporarily_unavailable"}', FoursquareAway),
        (302, "", FoursquareAway),
    ],
)
def test_every_other_answer_has_its_meaning(oauth, simulator, status, body, error):
    simulator.fail(Fault("says", status=status, body=body))

    failing(oauth, error)


def test_an_address_that_nobody_listens_at_is_away(simulator):
    simulator.close()
    oauth = OAuth(simulator.oauth_url, client=CLIENT, redirect=BACK)

    assert "can't be reached" in failing(oauth, FoursquareAway)
    oauth.close()


@pytest.mark.parametrize("url", ["http://foursquare.com/oauth2", "https://me:s3cret@host/oauth2"])
def test_an_address_that_would_give_the_secret_away_is_refused_by_its_setting(url: str):
    with pytest.raises(SettingsError, match="CHECKINSYNC_OAUTH_URL") as caught:
        OAuth(url, client=CLIENT, redirect=BACK)
    assert "s3cret" not in str(caught.value)
