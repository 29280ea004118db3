"""Turns: how many users ask Foursquare at a time, and how many are begun ahead of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from checkinsync.sync.import_user import Imports
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks
from checkinsync.sync.turns import BUSY, COMPANY, LATELY, MOST_AHEAD, Turns
from support.factories import NOW

USERS = 5


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_are_in_at_a_time_than_there_are_turns(count):
    turns, inside, most = Turns(count, now=lambda: NOW), set(), []
    full = threading.Barrier(count)

    def take(number):
        with turns:
            inside.add(number)
            full.wait(10)
            most.append(len(inside))
            full.wait(10)
            inside.remove(number)

    with ThreadPoolExecutor(3 * count) as threads:
        list(threads.map(take, range(3 * count)))

    assert most == [count] * (3 * count)


def test_as_many_are_begun_ahead_as_were_done_within_the_last_second():
    at = [NOW]
    turns = Turns(4, now=lambda: at[0])

    counts = []
    for _ in range(4):
        for _ in range(3):
            turns.note_end()
        counts.append(turns.ahead)
        at[0] += LATELY / 2

    assert counts == [3, 6, 6, 6]
    at[0] += LATELY
    assert turns.ahead == 0
    for _ in range(2 * MOST_AHEAD):
        turns.note_end()
    assert turns.ahead == MOST_AHEAD


def test_company_is_waited_for_only_where_it_comes():
    at = [NOW]
    turns = Turns(4, now=lambda: at[0])

    assert turns.patience == 0
    for _ in range(BUSY):
        turns.note_end()
    assert turns.patience == COMPANY
    at[0] += LATELY + timedelta(microseconds=1)
    assert turns.patience == 0


def test_who_waits_for_their_turn_has_their_lease_and_asks_nothing_yet(env):
    users = []
    for number in range(USERS):
        env.simulator.world.add_account(f"token-{number}", count=30)
        users.append(env.add(f"token-{number}"))
    turns = Turns(1, now=env.now)
    imports = Imports(env.services, Nightly(timedelta(days=14)), in_run=True, turns=turns)
    begun = "SELECT count(*) FROM import_jobs WHERE status = 'running'"
    asking, goes_on = [], threading.Event()

    def check_start():
        asking.append(None)
        assert goes_on.wait(10)

    hooks = Hooks(check_start=check_start)
    with ThreadPoolExecutor(USERS) as threads:
        ends = [threads.submit(imports, user, run_id=1, hooks=hooks) for user in users]
        while env.conn.execute(begun).fetchone() != (USERS,):
            threading.Event().wait(0.01)
        assert len(asking) == 1
        goes_on.set()
        saved = [end.result(10).saved.new for end in ends]

    assert saved == [30] * USERS
    assert turns.ahead == USERS
