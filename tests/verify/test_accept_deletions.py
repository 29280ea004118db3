"""An operator's word on deletions: Foursquare's own on each, or a list that stood still twice."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from checkinsync.cli.render import verify as render
from checkinsync.errors import FoursquareAway, Interrupted, RateLimited
from checkinsync.simulator.faults import Fault
from checkinsync.sync.session import Hooks
from checkinsync.verify.result import Deletions, Unfinished
from checkinsync.verify.verifier import verify
from support.factories import NOW

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"
CHECKINS = "users/self/checkins"
BY_ID = pytest.mark.parametrize("by_id", [True, False])
EMPTY = '{"meta":{"code":200},"response":{"checkins":{"count":%d,"items":[]}}}'


@pytest.fixture
def ada(env):
    """A user whose whole history is stored."""

    def ada(count: int, **more):
        env.simulator.world.add_account(ADA, count=count, newest=NEWEST, **more)
        user = env.add(ADA)
        env.import_(user)
        env.at += timedelta(days=1)
        return user

    return ada


@pytest.fixture
def accept(env):
    """Verify with an operator's word that what is shown no more was deleted."""

    def accept(user, **more):
        env.simulator.requests.clear()
        env.at += timedelta(minutes=1)
        hooks = Hooks(check_stop=more.pop("check_stop", lambda: None))
        return verify(
            user, services=env.services, hooks=hooks, repair=True, accept_deletions=True, **more
        )

    return accept


def gone(env) -> set[str]:
    rows = env.conn.execute("SELECT foursquare_id FROM checkins WHERE deleted_at IS NOT NULL")
    return {item_id for (item_id,) in rows}


def asked(env) -> list[str]:
    """The ids that were asked about, without the one that is there."""
    paths = [seen.path for seen in env.simulator.requests]
    ids = [path.removeprefix("checkins/") for path in paths if path.startswith("checkins/")]
    return ids[1:]


def delete(env, ids) -> set[str]:
    for item_id in ids:
        env.simulator.world.delete(ADA, item_id)
    return set(ids)


def ids(env) -> list[str]:
    return env.simulator.world.accounts[ADA].ids


# --- where Foursquare can be asked ----------------------------------------------------------------


def test_what_foursquare_knows_by_its_id_is_not_deleted_whatever_the_list_shows(env, ada, accept):
    user = ada(400)
    deleted = delete(env, ids(env)[150:170])
    env.simulator.world.leave_out(ADA, ids(env)[200:])

    result = accept(user)

    assert gone(env) == deleted
    assert result.complete
    assert result.deletions == Deletions(deleted=20, there=180, waiting=0)
    assert result.shown == 200
    assert "deletions: 20 confirmed, 180 refuted, 0 wait" in render.as_text(result)
    assert render.one(result)["deletions"]["there"] == 180


def test_each_is_asked_about_once(env, ada, accept):
    user = ada(400)
    deleted = delete(env, ids(env)[100:140])

    accept(user)

    assert sorted(asked(env)) == sorted(deleted)
    assert gone(env) == deleted


def test_an_endpoint_that_denies_what_the_list_shows_is_not_believed(env, ada, accept):
    user = ada(400)
    whole = ids(env)
    env.simulator.world.leave_out(ADA, whole[200:])
    for item_id in whole:
        body = '{"meta":{"code":400,"errorType":"param_error"},"response":{}}'
        path = f"checkins/{item_id}"
        env.simulator.fail(Fault("says", path=path, times=None, status=400, body=body))

    result = accept(user)

    assert isinstance(result, Unfinished)
    assert isinstance(result.error, FoursquareAway)
    assert gone(env) == set()


def test_many_are_asked_about_hour_by_hour_and_none_twice(env, ada, accept):
    user = ada(300)
    deleted = delete(env, ids(env)[100:140])
    left_out = ids(env)[200:220]
    env.simulator.world.leave_out(ADA, left_out)
    env.simulator.switches.hourly_limit = 50

    first = accept(user)
    before = asked(env)

    assert isinstance(first, Unfinished)
    assert isinstance(first.error, RateLimited)
    found = first.deletions
    assert found is not None
    assert (found.deleted + found.there, found.waiting) == (49, 11)
    told = render.unfinished(first)
    assert f"deletions: {found.deleted} confirmed, {found.there} refuted, 11 wait" in told
    assert f"`checkinsync verify {user.id} --repair --accept-deletions` goes on" in told
    assert len(gone(env)) == found.deleted
    assert render.one(first)["deletions"]["waiting"] == 11
    env.simulator.switches.hourly_limit = 500
    second = accept(user)
    assert set(before[:-1]).isdisjoint(asked(env))
    assert second.complete
    assert second.deletions == Deletions(deleted=40, there=20, waiting=0)
    assert gone(env) == deleted


def test_it_waits_for_the_reset_if_told_to(env, ada, accept):
    user = ada(300)
    deleted = delete(env, ids(env)[100:140])
    env.simulator.switches.hourly_limit = 30

    def wait(_):
        env.simulator.switches.hourly_limit = 500

    result = accept(user, wait=wait)

    assert result.complete
    assert gone(env) == deleted


def test_asked_to_stop_it_stops_between_two_questions(env, ada, accept):
    user = ada(300)
    deleted = delete(env, ids(env)[100:140])

    def check_stop():
        if len(asked(env)) == 10:
            raise Interrupted("stop")

    result = accept(user, check_stop=check_stop)

    assert isinstance(result, Unfinished)
    assert len(gone(env)) == 10
    assert accept(user).complete
    assert gone(env) == deleted


@pytest.mark.parametrize("kind", ["not_authorized", "no_endpoint"])
def test_one_without_an_answer_is_left_and_said(env, ada, accept, kind):
    user = ada(300)
    deleted = delete(env, ids(env)[100:105])
    silent = max(deleted)
    env.simulator.fail(Fault(kind, path=f"checkins/{silent}", times=None))

    result = accept(user)

    assert gone(env) == deleted - {silent}
    assert [finding.foursquare_id for finding in result.open] == [silent]
    assert "Foursquare gave no answer about them" in render.as_text(result)
    assert "1 extra" in render.verdict(result)
    assert "--accept-deletions` tries again" in render.verdict(result)


def test_a_question_refused_by_chance_is_no_missing_endpoint(env, ada, accept):
    user = ada(300)
    env.simulator.world.leave_out(ADA, ids(env)[100:150])
    newest = max(ids(env))
    env.simulator.fail(Fault("no_endpoint", path=f"checkins/{newest}"))

    result = accept(user)

    assert gone(env) == set()
    assert result.deletions == Deletions(deleted=0, there=50, waiting=0)


def test_a_whole_history_that_was_deleted_is_gone_by_foursquare_s_own_word(env, ada, accept):
    user = ada(40)
    deleted = delete(env, ids(env))

    result = accept(user)

    assert result.complete
    assert gone(env) == deleted


# --- where it can't -------------------------------------------------------------------------------


@pytest.fixture
def no_endpoint(env):
    env.simulator.switches.checkin_by_id = False


@pytest.mark.usefixtures("no_endpoint")
@pytest.mark.parametrize("reading", [{}, {"count_excess": 7}, {"page_cap": 40}, {"hide_every": 9}])
def test_a_list_that_stood_still_is_believed_after_a_second_look(env, ada, accept, reading):
    for name, value in reading.items():
        setattr(env.simulator.switches, name, value)
    user = ada(700)
    deleted = delete(env, ids(env)[100:300]) & set(env.stored(user))

    result = accept(user)

    assert gone(env) == deleted
    assert result.complete


@pytest.mark.usefixtures("no_endpoint")
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("change", ["add", "delete", "move"])
def test_a_list_that_changes_in_between_is_not_believed(env, ada, accept, nth, change):
    user = ada(700)
    deleted = delete(env, ids(env)[100:110])
    account = env.simulator.world.accounts[ADA]

    def moves(_):
        if env.requests != nth:
            return
        if change == "add":
            env.simulator.world.add(ADA, created_at=NEWEST + 1800)
        elif change == "delete":
            account.delete(account.ids[20])
        else:
            env.simulator.world.edit(ADA, account.ids[-3], createdAt=NEWEST - 7200)

    env.simulator.on_request = moves
    result = accept(user)
    env.simulator.on_request = None

    assert gone(env).isdisjoint(ids(env))
    if change != "move" and gone(env) != deleted:
        assert gone(env) == set()
        assert not result.complete
        assert "its list changed while it was read twice" in render.as_text(result)
        assert accept(user).complete


@pytest.mark.usefixtures("no_endpoint")
@pytest.mark.parametrize("count", [300, 0])
def test_an_end_that_the_total_contradicts_is_not_believed(env, ada, accept, count):
    user = ada(300)
    shown = 200 if count else 0
    env.simulator.world.leave_out(ADA, ids(env)[shown:])
    env.simulator.switches.count_excess = count - shown

    result = accept(user)

    assert gone(env) == set()
    assert len(result.open) == 300 - shown
    assert f"its list shows {shown} check-ins and counts {count}" in render.as_text(result)
    env.simulator.world.leave_out(ADA, [])
    env.simulator.switches.count_excess = 0
    assert accept(user).complete
    assert gone(env) == set()


@pytest.mark.usefixtures("no_endpoint")
def test_a_first_look_that_was_cut_short_is_refuted_by_the_second(env, ada, accept):
    user = ada(700)
    env.simulator.fail(Fault("says", path=CHECKINS, nth=2, times=2, body=EMPTY % 700))

    def whole_again(_):
        if env.requests == 8:
            env.simulator.faults.clear()

    env.simulator.on_request = whole_again
    result = accept(user)

    assert gone(env) == set()
    assert result.complete == (not result.open)


@pytest.mark.usefixtures("no_endpoint")
def test_beside_an_item_without_an_id_the_list_alone_is_not_believed(env, ada, accept):
    env.simulator.world.add_account(ADA, count=100, newest=NEWEST)
    env.simulator.world.add(ADA, {"createdAt": NEWEST - 90, "type": "checkin"})
    user = env.add(ADA)
    env.import_(user)
    delete(env, ids(env)[50:60])

    result = accept(user)

    assert gone(env) == set()
    assert "items without an id" in render.as_text(result)


@pytest.mark.usefixtures("no_endpoint")
def test_a_second_look_goes_on_after_a_rate_limit(env, ada, accept):
    user = ada(700)
    deleted = delete(env, ids(env)[100:300])
    env.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, nth=6, seconds=60))

    result = accept(user, wait=lambda _: None)

    assert result.complete
    assert gone(env) == deleted


# --- whatever happens -----------------------------------------------------------------------------


@BY_ID
@pytest.mark.parametrize("seed", range(4))
def test_a_living_check_in_is_never_marked_as_deleted(env, ada, accept, by_id, seed):
    """The list changes, is cut off and answers nonsense while it is read, each time differently."""
    env.simulator.switches.checkin_by_id = by_id
    user = ada(600)
    chance = random.Random(seed)
    world = env.simulator.world
    account = world.accounts[ADA]

    def happen(_):
        living = list(account.entries)
        match chance.choice(["add", "delete", "move", "hide", "show", "empty", "nothing"]):
            case "add":
                world.add(ADA, created_at=NEWEST + len(living))
            case "delete":
                account.delete(chance.choice(living).id)
            case "move":
                world.edit(
                    ADA, chance.choice(living).id, createdAt=NEWEST - chance.randint(1, 9**8)
                )
            case "hide":
                world.leave_out(ADA, [e.id for e in living if chance.random() < 0.3])
            case "show":
                world.leave_out(ADA, [])
            case "empty":
                env.simulator.fail(
                    Fault("says", path=CHECKINS, body=EMPTY % chance.randint(0, 700))
                )

    for _ in range(3):
        env.simulator.on_request = happen
        accept(user)
        env.simulator.on_request = None
        env.simulator.faults.clear()
        assert gone(env).isdisjoint(entry.id for entry in account.entries)

    world.leave_out(ADA, [])
    accept(user)
    assert set(env.stored(user)) - gone(env) == {entry.id for entry in account.entries}
