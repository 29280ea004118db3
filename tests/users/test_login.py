"""Returns from Foursquare and their results, over real HTTP but without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from checkinsync.cli.render import login as render
from checkinsync.errors import (
    FoursquareAway,
    LoginFailed,
    SettingsError,
    StrayReturn,
    UnknownUser,
    UserExists,
)
from checkinsync.foursquare.oauth import Client, OAuth, code_in
from checkinsync.simulator.faults import Fault
from checkinsync.users import removal
from checkinsync.users.login import Arrival, LoggedIn, login
from support.environment import Env

BACK = "http://localhost:8902/callback"
STATE = "the-state-of-this-login"


@pytest.fixture
def oauth(env: Env) -> Iterator[OAuth]:
    registered = env.simulator.client
    client = Client(registered.id, registered.secret)
    oauth = OAuth(env.simulator.oauth_url, client=client, redirect=BACK)
    yield oauth
    oauth.close()


class Person:
    """A Foursquare user at a browser, and the results shown to them."""

    def __init__(self, env: Env, oauth: OAuth, token: str) -> None:
        self.env = env
        self.oauth = oauth
        self.user_id = env.simulator.world.accounts[token].user_id
        self.told: list[object] = []
        self.stored_when_told: list[tuple] = []

    def back(self, *, decision: str = "allow", state: str = STATE) -> Arrival:
        """Decide on Foursquare's page and come back from it."""
        address = f"{self.oauth.address(state)}&user={self.user_id}&decision={decision}"
        answer = requests.get(address, allow_redirects=False, timeout=10)
        return self.arriving(urlsplit(answer.headers["Location"]).query)

    def arriving(self, query: str) -> Arrival:
        return Arrival(query, self.hear)

    def hear(self, result: object) -> None:
        self.told.append(result)
        self.stored_when_told.append(stored(self.env))


def stored(env: Env) -> list[tuple]:
    rows = env.conn.execute(
        "SELECT id, foursquare_user_id, access_token_encrypted FROM users ORDER BY id"
    )
    return rows.fetchall()


def logging_in(env: Env, oauth: OAuth, *arrivals: Arrival, named=None) -> LoggedIn:
    return login(
        named,
        arrivals=iter(arrivals),
        exchange=lambda query: oauth.token(code_in(query, state=STATE)),
        foursquare=env.foursquare,
        pool=env.pool,
        keyring=env.keyring,
        now=env.now,
    )


@pytest.fixture
def ada(env: Env, oauth: OAuth) -> Person:
    env.simulator.world.add_account("ada", count=3, first_name="Ada", last_name="Lovelace")
    return Person(env, oauth, "ada")


@pytest.fixture
def ben(env: Env, oauth: OAuth, ada: Person) -> Person:
    env.simulator.world.add_account("ben", count=3, first_name="Ben", last_name=None)
    return Person(env, oauth, "ben")


def test_a_new_person_is_added_and_hears_of_it_when_it_is_stored(env, oauth, ada):
    done = logging_in(env, oauth, ada.back())

    assert done.new
    assert str(done.user) == f"user {done.user.id} (Ada Lovelace)"
    [(number, foursquare_id, encrypted)] = stored(env)
    assert (number, foursquare_id) == (done.user.id, ada.user_id)
    assert env.keyring.decrypt(encrypted) == "ada"
    assert ada.told == [done]
    assert ada.stored_when_told == [stored(env)]


def test_a_known_person_gets_the_new_token_and_counts_as_just_seen(env, oauth, ada):
    user = env.add("ada")
    env.conn.execute("UPDATE users SET last_login_at = '2001-01-01'")
    env.simulator.revoke("ada")

    done = logging_in(env, oauth, ada.back(), named=user)

    assert (done.new, done.user.id) == (False, user.id)
    [(_, _, encrypted)] = stored(env)
    assert env.keyring.decrypt(encrypted) == "ada-again"
    [seen] = env.conn.execute("SELECT last_login_at FROM users").fetchone()
    assert seen == env.at.replace(tzinfo=None)


def test_without_a_name_a_known_person_is_found_by_foursquare_s_id(env, oauth, ada, ben):
    env.add("ada")
    user = env.add("ben")
    env.simulator.revoke("ben")

    done = logging_in(env, oauth, ben.back())

    assert (done.new, done.user.id) == (False, user.id)
    assert env.keyring.decrypt(stored(env)[1][2]) == "ben-again"
    assert env.keyring.decrypt(stored(env)[0][2]) == "ada"


@pytest.mark.parametrize("known", [True, False])
def test_somebody_else_than_named_changes_nothing(env, oauth, ada, ben, known):
    user = env.add("ada")
    if known:
        env.add("ben")
    before = stored(env)

    with pytest.raises(UserExists, match=r"not to user \d+ \(ada\).*nothing was changed") as error:
        logging_in(env, oauth, ben.back(), named=user)

    assert stored(env) == before
    assert ben.told == [error.value]


def test_strays_are_told_so_and_the_login_goes_on(env, oauth, ada, ben):
    done = logging_in(
        env, oauth, ben.back(state="forged"), ben.arriving("code=c"), ada.back(), ben.back()
    )

    assert done.user.foursquare_user_id == ada.user_id
    assert [type(told) for told in ben.told] == [StrayReturn, StrayReturn]
    exchanged = [seen for seen in env.simulator.requests if seen.path == "oauth2/access_token"]
    assert len(exchanged) == 1
    assert len(stored(env)) == 1


def test_who_denies_ends_the_login(env, oauth, ada):
    with pytest.raises(LoginFailed, match="denied"):
        logging_in(env, oauth, ada.back(decision="deny"), ada.back())

    assert stored(env) == []
    assert len(ada.told) == 1


def test_a_used_code_ends_the_login(env, oauth, ada):
    logging_in(env, oauth, arrival := ada.back())

    with pytest.raises(LoginFailed, match="invalid_grant"):
        logging_in(env, oauth, arrival)


def test_when_nobody_comes_back_that_is_said(env, oauth):
    with pytest.raises(LoginFailed, match="without an answer from Foursquare"):
        logging_in(env, oauth)


def test_foursquare_may_stumble_when_asked_whose_token_it_is(env, oauth, ada):
    env.simulator.fail(Fault("server_error", path="users/self"))

    assert logging_in(env, oauth, ada.back()).new


def test_foursquare_going_away_after_the_exchange_stores_nothing(env, oauth, ada):
    env.simulator.fail(Fault("bad_gateway", path="users/self", times=None))

    with pytest.raises(FoursquareAway):
        logging_in(env, oauth, ada.back())

    assert stored(env) == []
    assert isinstance(ada.told[0], FoursquareAway)


def test_a_user_who_was_removed_meanwhile_is_not_renewed(env, oauth, ada):
    user = env.add("ada")
    removal.remove(user, pool=env.pool, now=env.now())

    with pytest.raises(UnknownUser, match="removed meanwhile"):
        logging_in(env, oauth, ada.back(), named=user)

    assert stored(env) == []


# --- what is shown --------------------------------------------------------------------------------


def test_names_and_reasons_can_t_break_the_page(env, oauth, ada):
    done = logging_in(env, oauth, ada.back())
    env.conn.execute("UPDATE users SET display_name = '<script>alert(1)</script>'")
    renamed = LoggedIn(env.user(done.user.id), new=True)

    for page in (render.page(renamed), render.page(SettingsError("<script>"))):
        assert page.startswith("<!DOCTYPE html>")
        assert "&lt;script&gt;" in page
        assert "<script>" not in page


def test_an_arrival_shows_nobody_its_code():
    assert "c0de" not in repr(Arrival("code=c0de", print))
