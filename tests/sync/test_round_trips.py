"""Counted exactly: round trips to the database, alone and of many users at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter

import psycopg
import pytest

from checkinsync.errors import AtWork, DatabaseError, Interrupted
from checkinsync.foursquare.responses import InvalidAuth
from checkinsync.nightly.run import run
from checkinsync.store import slices, walks
from checkinsync.sync import import_user
from checkinsync.sync.import_user import Imports
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Full, Nightly
from checkinsync.sync.session import Hooks
from checkinsync.verify.verifier import verify
from support.nightly import OPTIONS

USERS = 40
WINDOW = Nightly(timedelta(days=14))


@pytest.fixture
def trips(monkeypatch):
    """The number of times that the driver waits for the server, as a list to be cleared. The parts
    of a COPY are sent one after the other, without an answer to each."""
    made: list[None] = []
    wait = psycopg.Connection.wait

    def counted(conn, generator, *arguments, **more):
        if generator.__name__ != "copy_to":
            made.append(None)
        return wait(conn, generator, *arguments, **more)

    monkeypatch.setattr(psycopg.Connection, "wait", counted)
    return made


def caught_up(env, count):
    """Users who have nothing new."""
    users = []
    for number in range(count):
        env.simulator.world.add_account(f"token-{number}", count=30)
        users.append(env.add(f"token-{number}"))
    for user in users:
        env.import_(user)
    env.at += timedelta(days=1)
    for user in users:
        env.import_(user)
    return users


def test_a_caught_up_user_alone_takes_nine(env, trips):
    [user] = caught_up(env, 1)
    trips.clear()

    imported = env.import_(user)

    assert (imported.saved.unchanged > 0, imported.requests) == (True, 1)
    assert len(trips) == 9  # begin, lease, state, job, commit; lease, page, end, commit


def test_a_slice_takes_eight_more(env, trips):
    env.simulator.world.add_account("token", count=400)
    user = env.add("token")
    for _ in range(2):
        env.import_(user)
        env.at += timedelta(days=1)
    trips.clear()

    imported = env.import_(user, may_scrub=lambda: True)

    assert (imported.saved.unchanged > 30, imported.requests) == (True, 2)
    assert len(trips) == 17  # begin, places, commit; lease, page, places, slice, commit


def test_without_any_history_nothing_is_looked_for_in_it(env, trips):
    env.simulator.world.add_account("token", count=0)
    user = env.add("token")
    env.import_(user)
    taken = []

    for looks in (False, True):
        env.at += timedelta(days=1)
        trips.clear()
        env.import_(user, may_scrub=lambda looks=looks: looks)
        taken.append(len(trips))

    assert taken[0] == taken[1]


def at_once(work):
    work()


def each(env, users, *hooks, submit=at_once):
    """Import them in one go; return what came of each, in their order."""
    imports = Imports(env.services, WINDOW, in_run=True)
    tried = [(user, hooks[0] if hooks else Hooks()) for user in users]
    results = []
    imports.each(tried, run_id=1, submit=submit, end=results.extend)
    return [result for _, result in sorted(results, key=itemgetter(0))]


def test_many_at_once_take_no_more_than_one(env, trips):
    users = caught_up(env, USERS)
    trips.clear()

    results = each(env, users)

    assert all(result.saved.unchanged for result in results)
    assert len(trips) == 9
    states = env.conn.execute("SELECT status, count(*) FROM import_jobs GROUP BY 1").fetchall()
    assert states == [("completed", 3 * USERS)]
    assert env.lease_renewer.tokens() == set()


LOOKS = Hooks(may_scrub=lambda: True)


def with_older_history(env, count):
    """Users who have nothing new, and of whom a slice of the older history is read tonight."""
    users = []
    for number in range(count):
        env.simulator.world.add_account(f"token-{number}", count=150)
        users.append(env.add(f"token-{number}"))
    for _ in range(2):
        for user in users:
            env.import_(user)
        env.at += timedelta(days=1)
    return users


def sliced(env):
    """The users of whom a slice was read tonight, and nothing is left open."""
    assert env.lease_renewer.tokens() == set()
    assert env.conn.execute("SELECT DISTINCT status FROM import_jobs").fetchall() == [
        ("completed",)
    ]
    assert not env.conn.execute("SELECT FROM import_leases WHERE expires_at > now()").fetchall()
    rows = env.conn.execute("SELECT user_id FROM sync_state WHERE sliced_at = %s", [env.at])
    return {user_id for (user_id,) in rows}


def test_slices_of_many_at_once_take_no_more_than_one(env, trips):
    users = with_older_history(env, 5)
    trips.clear()

    results = each(env, users, LOOKS)

    assert [result.requests for result in results] == [2] * 5
    assert len(trips) == 17
    assert sliced(env) == {user.id for user in users}
    requests = env.conn.execute("SELECT requests FROM import_jobs ORDER BY id DESC LIMIT 5")
    assert requests.fetchall() == [(2,)] * 5


def test_a_slice_with_news_or_in_trouble_leaves_the_others_alone(env):
    users = with_older_history(env, 4)
    then = env.simulator.world.accounts["token-1"].newest_first()[40].created_at
    late = env.simulator.world.add("token-1", created_at=then, entered_at=int(env.at.timestamp()))

    def check_stop():
        if env.requests > len(users):  # the first of the slices
            raise Interrupted("stop")

    hooks = [LOOKS, LOOKS, Hooks(may_scrub=lambda: True, check_stop=check_stop), LOOKS]
    results = []
    Imports(env.services, WINDOW, in_run=True).each(
        list(zip(users, hooks, strict=True)), run_id=1, submit=at_once, end=results.extend
    )

    assert {number: result.saved.new for number, result in results} == {0: 0, 1: 1, 2: 0, 3: 0}
    assert late in env.stored(users[1])
    assert sliced(env) == {users[0].id, users[1].id, users[3].id}


def test_slices_that_can_not_be_stored_together_are_read_one_by_one(env, monkeypatch):
    users = with_older_history(env, 3)
    store = slices.store

    def fails(conn, read):
        if len(read) > 1:
            raise DatabaseError("a trigger refuses one of them")
        store(conn, read)

    monkeypatch.setattr(slices, "store", fails)

    results = each(env, users, LOOKS)

    assert [result.requests for result in results] == [3] * 3
    assert sliced(env) == {user.id for user in users}


def test_one_with_news_or_in_trouble_leaves_the_others_alone(env):
    users = caught_up(env, 5)
    env.simulator.world.add("token-1", created_at=int(env.at.timestamp()))
    env.simulator.world.revoke("token-2")
    with env.services.session(users[3]):
        results = each(env, users)

    assert [type(result) for result in results] == [
        Imported, Imported, InvalidAuth, AtWork, Imported
    ]  # fmt: skip
    assert [results[n].saved.new for n in (0, 1, 4)] == [0, 1, 0]
    assert env.lease_renewer.tokens() == set()


@pytest.mark.parametrize(
    ("at_most", "items"), [(0.01, import_user.ITEMS), (60.0, 1)], ids=["in time", "many check-ins"]
)
def test_those_who_are_there_are_finished_while_another_waits_for_an_answer(
    env, monkeypatch, at_most, items
):
    monkeypatch.setattr(import_user, "AT_MOST", at_most)
    monkeypatch.setattr(import_user, "ITEMS", items)
    users = caught_up(env, 4)
    others_are_done = threading.Event()
    results = []

    def end(done):
        results.extend(number for number, _ in done)
        if len(results) == len(users) - 1:
            others_are_done.set()

    waits = Hooks(check_stop=lambda: others_are_done.wait(60))
    tried = [(user, Hooks() if number else waits) for number, user in enumerate(users)]
    with ThreadPoolExecutor(2) as workers:
        Imports(env.services, WINDOW, in_run=True).each(
            tried, run_id=1, submit=workers.submit, end=end
        )

    assert results[-1] == 0


def test_what_fails_where_users_are_finished_together_is_each_ones_failure(env, monkeypatch):
    users = caught_up(env, 3)
    bug = RuntimeError("bug")

    def fails(conn, ends):
        raise bug

    monkeypatch.setattr(walks, "finish", fails)

    assert each(env, users) == [bug, bug, bug]
    assert env.lease_renewer.tokens() == set()


def test_a_run_begins_and_finishes_users_together_where_they_are_done_fast(env, trips):
    caught_up(env, USERS)
    env.conn.execute("UPDATE users SET last_login_at = %s", [env.at.replace(tzinfo=None)])
    env.conn.execute("UPDATE sync_state SET sliced_at = %s", [env.at])
    options = replace(OPTIONS, stagger=timedelta(0), workers=2)
    trips.clear()

    summary = run(env.services, options=options, check_stop=lambda: None)

    assert summary.synced == USERS
    assert len(trips) < 3 * USERS  # alone each takes nine


def test_a_page_takes_nine_four_if_it_is_stored_and_five_to_be_verified(env, trips):
    taken = {}
    for count in (1000, 1980):  # four pages more
        env.simulator.world.add_account(f"token-{count}", count=count)
        user = env.add(f"token-{count}")
        ways = {
            "new": lambda user=user: env.import_(user, scope=Full()),
            "stored": lambda user=user: env.import_(user, scope=Full()),
            "verified": lambda user=user: verify(user, services=env.services, hooks=Hooks()),
        }
        for kind, way in ways.items():
            trips.clear()
            way()
            taken[kind, count] = len(trips)

    more = {kind: (taken[kind, 1980] - taken[kind, 1000]) / 4 for kind in ways}
    assert more == {"new": 9, "stored": 4, "verified": 5}
