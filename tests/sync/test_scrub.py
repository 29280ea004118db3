"""Scrubs: late, edited and deleted check-ins beyond the window are found within a month."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from checkinsync.errors import Interrupted
from checkinsync.simulator.faults import Fault
from checkinsync.sync.scope import Full
from checkinsync.sync.scrub import RESERVE
from support.factories import NOW

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"
CHECKINS = "users/self/checkins"
A_MONTH = 30
ORDERS = pytest.mark.parametrize("order", ["created", "id"])


@pytest.fixture
def ada(env):
    """Add a user whose whole history is stored."""

    def ada(count: int, **more):
        env.simulator.world.add_account(ADA, count=count, newest=NEWEST, **more)
        user = env.add(ADA)
        env.import_(user)
        return user

    return ada


def days_ago(env, days: float) -> int:
    return int((env.at - timedelta(days=days)).timestamp())


def row(env, item_id: str, columns: str):
    return env.conn.execute(
        f"SELECT {columns} FROM checkins WHERE foursquare_id = %s", [item_id]
    ).fetchone()


def gone(env) -> set[str]:
    rows = env.conn.execute("SELECT foursquare_id FROM checkins WHERE deleted_at IS NOT NULL")
    return {item_id for (item_id,) in rows}


def marked(env) -> set[str]:
    rows = env.conn.execute("SELECT foursquare_id FROM checkins WHERE missing_since IS NOT NULL")
    return {item_id for (item_id,) in rows}


def withheld(env) -> set[str]:
    rows = env.conn.execute("SELECT foursquare_id FROM checkins WHERE withheld_since IS NOT NULL")
    return {item_id for (item_id,) in rows}


def asked(env) -> list[str]:
    """The questions about single check-ins since the last import began."""
    paths = [seen.path for seen in env.simulator.requests]
    return [path for path in paths if path.startswith("checkins/")]


def old_one(env, depth: float) -> str:
    """Return the id of the check-in at a depth of the history, from 0 (newest) to 1 (oldest)."""
    entries = env.simulator.world.accounts[ADA].newest_first()
    return entries[round(depth * (len(entries) - 1))].id


@ORDERS
def test_a_month_of_nights_sees_what_was_entered_edited_or_deleted_years_ago(env, ada, order):
    env.simulator.switches.order = order
    user = ada(5000, late=0.01)
    world = env.simulator.world
    env.simulator.switches.drift = True
    late = world.add(ADA, created_at=days_ago(env, 3 * 365), entered_at=int(NOW.timestamp()) + 60)
    edited, deleted = old_one(env, 0.7), old_one(env, 0.4)
    world.edit(ADA, edited, shout="edited years later")
    world.delete(ADA, deleted)
    costs = []

    for _ in range(A_MONTH):
        env.night(user)
        costs.append(env.requests)

    assert late in env.stored(user)
    assert row(env, edited, "shout") == ("edited years later",)
    assert gone(env) == {deleted}
    assert env.has_everything(user, ADA)
    assert sorted(costs)[-2:] <= [2, 3]
    assert costs.count(3) <= 1
    [oldest] = env.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert env.at - oldest < timedelta(days=A_MONTH)


def test_an_entry_older_than_all_others_is_seen_though_a_short_page_ends_above_it(env, ada):
    env.simulator.switches.page_cap = 40
    user = ada(328)  # so that a page of a slice ends with the oldest of them
    oldest = env.simulator.world.accounts[ADA].newest_first()[-1].created_at
    late = env.simulator.world.add(
        ADA, created_at=oldest - 86_400, entered_at=int(NOW.timestamp()) + 60
    )

    for _ in range(A_MONTH):
        env.night(user)

    assert late in env.stored(user)


def test_a_count_that_is_too_high_costs_one_more_request_a_week(env, ada):
    env.simulator.switches.count_excess = 7
    user = ada(60)
    costs = []

    for _ in range(A_MONTH):
        env.night(user)
        costs.append(env.requests)

    assert max(costs) == 3
    assert costs.count(3) <= A_MONTH // 7


@ORDERS
def test_a_time_edited_far_back_is_one_revision_and_no_deletion(env, ada, order):
    env.simulator.switches.order = order
    user = ada(2500)
    moved = next(
        entry.id
        for entry in env.simulator.world.accounts[ADA].newest_first()
        if entry.created_at < days_ago(env, 4)
    )
    env.simulator.world.edit(ADA, moved, createdAt=days_ago(env, 800))

    for _ in range(A_MONTH):
        env.night(user)
        assert gone(env) == set()

    revisions = env.conn.execute("SELECT what FROM checkin_revisions").fetchall()
    assert revisions == [(["time"],)]
    assert env.has_everything(user, ADA)
    assert marked(env) == set()
    [at] = row(env, moved, "extract(epoch FROM checkin_date)")
    assert at == days_ago(env, 800 + A_MONTH)


@ORDERS
@pytest.mark.parametrize("depth", [0, 0.002, 0.1, 0.5, 0.97, 1])
def test_a_deletion_anywhere_is_seen_twice_and_then_asked_for(env, ada, order, depth):
    env.simulator.switches.order = order
    user = ada(1200)
    deleted = old_one(env, depth)
    env.simulator.world.delete(ADA, deleted)
    nights = 0
    while not marked(env):
        env.night(user)
        nights += 1
        assert env.requests <= 2
        assert nights <= A_MONTH

    assert marked(env) == {deleted}
    assert gone(env) == set()
    env.night(user)

    assert gone(env) == {deleted}
    assert env.requests <= 3
    assert asked(env) == [f"checkins/{deleted}"]
    assert env.stored(user).count(deleted) == 1


def test_it_is_looked_for_no_earlier_than_twenty_hours_later(env, ada):
    user = ada(800)
    env.simulator.world.delete(ADA, old_one(env, 0.003))
    env.night(user)
    assert len(marked(env)) == 1

    for _ in range(9):
        env.at += timedelta(hours=2)
        env.import_(user, may_scrub=lambda: True)
        assert env.requests == 1
    assert gone(env) == set()
    env.at += timedelta(hours=2)
    env.import_(user, may_scrub=lambda: True)

    assert gone(env) == marked(env) != set()


def test_what_the_endpoint_still_knows_is_not_gone(env, ada):
    user = ada(800)
    hidden = old_one(env, 0.004)
    account = env.simulator.world.accounts[ADA]
    entry = account.entry(hidden)
    listed = [other for other in account.newest_first() if other is not entry]
    account._listed["created"] = listed  # the list leaves it out, the endpoint does not
    env.night(user)
    assert marked(env) == {hidden}

    env.night(user)

    assert env.requests <= 3
    assert marked(env) == gone(env) == set()


@pytest.mark.parametrize(
    ("kind", "is_gone", "stays_marked"),
    [
        ("not_authorized", False, True),
        ("invalid_auth", False, True),
        ("server_error", False, True),
        ("html_403", False, True),
        ("rate_limit_exceeded", False, True),
        ("quota_exceeded", False, True),
    ],
)
def test_any_other_answer_about_it_deletes_nothing(env, ada, kind, is_gone, stays_marked):
    user = ada(800)
    deleted = old_one(env, 0.003)
    env.simulator.world.delete(ADA, deleted)
    env.night(user)
    env.simulator.fail(Fault(kind, path=f"checkins/{deleted}", times=None, seconds=60))

    env.night(user)

    assert (deleted in gone(env)) == is_gone
    assert (deleted in marked(env)) == stays_marked
    env.simulator.faults.clear()
    for _ in range(3):
        env.night(user)
    assert gone(env) == {deleted}


def test_without_the_endpoint_two_looks_are_enough_in_a_list_by_id(env, ada):
    env.simulator.switches.order = "id"
    env.simulator.switches.checkin_by_id = False
    user = ada(800, late=0.05)
    deleted = old_one(env, 0.003)
    env.simulator.world.delete(ADA, deleted)
    env.night(user)

    env.night(user)

    assert gone(env) == {deleted}


@pytest.mark.parametrize("order", ["id", "created"])
def test_without_the_endpoint_the_oldest_of_all_is_gone_once_the_end_was_looked_behind(
    env, ada, order
):
    env.simulator.switches.order = order
    env.simulator.switches.checkin_by_id = False
    user = ada(60)
    oldest = env.simulator.world.accounts[ADA].newest_first()[-1].id
    env.simulator.world.delete(ADA, oldest)

    requests = []
    for _ in range(20):
        env.night(user)
        requests.append(env.requests)

    assert gone(env) == {oldest}
    assert max(requests) == 4
    assert requests.count(4) == 1


def test_without_the_endpoint_a_moved_one_is_no_deletion_and_a_deleted_one_is(env, ada):
    env.simulator.switches.checkin_by_id = False
    user = ada(1500)
    world = env.simulator.world
    moved, deleted = old_one(env, 0.003), old_one(env, 0.004)
    world.edit(ADA, moved, createdAt=days_ago(env, 400))
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        env.night(user)
        assert gone(env) <= {deleted}
        assert env.requests <= 4

    assert gone(env) == {deleted}
    assert marked(env) == {deleted}
    assert env.conn.execute("SELECT what FROM checkin_revisions").fetchall() == [(["time"],)]


def test_what_is_shown_again_is_restored(env, ada):
    user = ada(800)
    account = env.simulator.world.accounts[ADA]
    entries = [account.entry(old_one(env, depth)) for depth in (0.003, 0.004)]
    for entry in entries:
        account.delete(entry.id)
    env.night(user)
    account.add(entries[0])
    env.night(user)
    assert gone(env) == {entries[1].id}
    account.add(entries[1])

    imported = env.night(user)

    assert gone(env) == marked(env) == set()
    assert (imported.saved.new, imported.saved.changed) == (0, 1)
    assert env.has_everything(user, ADA)


def test_too_many_at_once_are_not_believed_and_stop_nothing(env, ada):
    env.simulator.switches.checkin_by_id = False
    user = ada(800)
    account = env.simulator.world.accounts[ADA]
    deleted = {entry.id for entry in account.newest_first()[2:40:2]}
    for item_id in deleted:
        account.delete(item_id)
    new = env.simulator.world.add(ADA, created_at=int(NOW.timestamp()) + 60)

    for _ in range(A_MONTH):
        imported = env.night(user)
        assert env.requests <= 5

    assert gone(env) == set()
    assert marked(env) == withheld(env) == deleted
    assert new in env.stored(user)
    assert imported.cursor == env.at


@pytest.mark.parametrize("by_id", [True, False])
def test_more_than_a_twentieth_within_a_month_needs_foursquare_s_own_word(env, ada, by_id):
    env.simulator.switches.checkin_by_id = by_id
    user = ada(1000)
    account = env.simulator.world.accounts[ADA]
    deleted = {entry.id for entry in account.newest_first()[300:900:10]}
    for item_id in deleted:
        account.delete(item_id)

    for _ in range(2 * A_MONTH):
        env.night(user)

    assert gone(env) == (deleted if by_id else set())
    assert withheld(env) == (set() if by_id else deleted)


@pytest.mark.parametrize("by_id", [True, False])
def test_four_deletions_in_a_short_history_are_believed(env, ada, by_id):
    env.simulator.switches.checkin_by_id = by_id
    env.simulator.switches.order = "id"
    user = ada(58)
    deleted = {old_one(env, depth) for depth in (0.1, 0.12, 0.5, 0.8)}
    for item_id in deleted:
        env.simulator.world.delete(ADA, item_id)

    for _ in range(A_MONTH):
        env.night(user)

    assert gone(env) == deleted
    assert withheld(env) == set()


def test_what_is_held_back_keeps_its_dates_and_costs_next_to_nothing(env, ada):
    env.simulator.switches.checkin_by_id = False
    user = ada(300)
    account = env.simulator.world.accounts[ADA]
    for item_id in [*account.ids[40:50], *account.ids[200:205], account.ids[280]]:
        account.delete(item_id)
    costs = []
    first: dict[str, tuple] = {}

    for _ in range(2 * A_MONTH):
        env.night(user)
        costs.append(env.requests)
        dates = env.conn.execute(
            "SELECT foursquare_id, missing_since, withheld_since FROM checkins "
            "WHERE missing_since IS NOT NULL"
        ).fetchall()
        assert all(first.setdefault(key, since) == since for key, since, _ in dates)
        assert all(held is None or held >= since for _, since, held in dates)

    assert len(first) == len(withheld(env)) == 16
    assert gone(env) == set()
    assert sum(costs[-28:]) <= 28 * 2 + 24


def test_what_was_held_back_with_others_is_believed_once_those_are_shown_again(env, ada):
    env.simulator.switches.checkin_by_id = False
    env.simulator.switches.order = "id"
    user = ada(300)
    account = env.simulator.world.accounts[ADA]
    deleted, left_out = set(account.ids[4:8]), account.ids[12:22]
    for item_id in deleted:
        account.delete(item_id)
    env.night(user)
    assert (marked(env), withheld(env)) == (deleted, set())
    first = env.at
    env.simulator.world.leave_out(ADA, left_out)
    env.night(user)
    assert withheld(env) == deleted | set(left_out)
    assert {row(env, item_id, "missing_since") for item_id in deleted} == {(first,)}
    assert gone(env) == set()

    env.simulator.world.leave_out(ADA, [])
    for _ in range(2):
        env.night(user)

    assert gone(env) == deleted
    assert withheld(env) == set()


def test_those_missed_before_it_became_too_much_are_held_back_too(env, ada):
    env.simulator.switches.checkin_by_id = False
    env.simulator.switches.order = "id"
    user = ada(1200, late=0.05)
    account = env.simulator.world.accounts[ADA]
    deleted = set(account.ids[500:1200:10])
    for item_id in deleted:
        account.delete(item_id)
    env.conn.execute(
        """
        UPDATE checkins SET missing_since = %(at)s, missing_again_at = %(at)s
         WHERE foursquare_id = ANY (%(ids)s)
        """,
        {"at": env.at, "ids": list(deleted)},
    )

    env.night(user)

    assert gone(env) == set()
    assert withheld(env) == deleted


def test_thirty_of_three_hundred_are_believed_once_foursquare_denies_each(env, ada):
    user = ada(300)
    account = env.simulator.world.accounts[ADA]
    cleared = set(account.ids[60:90])
    for item_id in cleared:
        account.delete(item_id)

    questions = []
    for _ in range(A_MONTH):
        env.night(user)
        questions.append(len(asked(env)))

    assert gone(env) == cleared
    assert withheld(env) == set()
    assert sum(questions) == max(questions) == 31, "and one about a check-in that is there"


def test_an_endpoint_that_denies_what_the_list_shows_buries_nothing_held_back(env, ada):
    user = ada(300)
    ids = env.simulator.world.accounts[ADA].ids
    left_out = ids[60:90]
    env.simulator.world.leave_out(ADA, left_out)
    env.simulator.fail(*map(denied, ids))

    for _ in range(10):
        env.night(user)

    assert gone(env) == set()
    assert withheld(env) == set(left_out)


def denied(item_id: str) -> Fault:
    """Foursquare's word that there is no such check-in."""
    body = '{"meta":{"code":400,"errorType":"param_error"},"response":{}}'
    return Fault("says", path=f"checkins/{item_id}", times=None, status=400, body=body)


def test_those_without_an_answer_keep_no_other_waiting(env, ada):
    user = ada(600)
    deleted = [old_one(env, depth) for depth in (0.002, 0.004, 0.006, 0.008)]
    for item_id in deleted:
        env.simulator.world.delete(ADA, item_id)
    env.night(user)
    for item_id in deleted[:3]:
        env.simulator.fail(Fault("server_error", path=f"checkins/{item_id}", times=None))

    for _ in range(7):
        env.night(user)

    assert gone(env) == {deleted[3]}
    assert marked(env) == set(deleted)


def test_a_mark_that_a_wrong_clock_made_is_looked_for_and_made_anew(env, ada):
    user = ada(800)
    deleted = old_one(env, 0.5)
    env.simulator.world.delete(ADA, deleted)
    env.conn.execute(
        """
        UPDATE checkins SET missing_since = '2031-01-01Z', missing_again_at = '2031-01-02Z'
         WHERE foursquare_id = %s
        """,
        [deleted],
    )

    env.night(user)
    assert row(env, deleted, "missing_since, missing_again_at > missing_since") == (env.at, True)
    assert gone(env) == set()
    for _ in range(3):
        env.night(user)

    assert gone(env) == {deleted}


def test_a_comparison_that_a_wrong_clock_dated_proves_nothing(env, ada):
    env.simulator.switches.checkin_by_id = False
    user = ada(1500)
    moved = old_one(env, 0.003)
    env.simulator.world.edit(ADA, moved, createdAt=days_ago(env, 400))
    env.night(user)
    env.conn.execute("UPDATE verified_spans SET verified_at = '2031-01-01Z'")

    for _ in range(A_MONTH):
        env.night(user)
        assert gone(env) == set()

    assert env.conn.execute("SELECT what FROM checkin_revisions").fetchall() == [(["time"],)]


def test_deletions_that_a_wrong_clock_dated_do_not_hold_back_the_next_ones(env, ada):
    user = ada(300)
    env.conn.execute("UPDATE checkins SET deleted_at = '2031-01-01Z' WHERE id % 3 = 0")
    account = env.simulator.world.accounts[ADA]
    for number, item_id in enumerate(account.ids):
        if row(env, item_id, "deleted_at IS NOT NULL")[0]:
            account.delete(item_id)
        elif number < 6:
            deleted = item_id
    account.delete(deleted)

    for _ in range(2):
        env.night(user)

    assert row(env, deleted, "deleted_at") == (env.at,)


def test_a_look_back_is_dropped_when_requests_or_time_are_short(env, ada):
    user = ada(800)
    env.simulator.switches.hourly_limit = RESERVE + 1
    env.night(user)
    assert env.requests == 1

    env.simulator.switches.hourly_limit = 500
    env.at += timedelta(days=1)
    env.import_(user, may_scrub=lambda: False)
    assert env.requests == 1
    env.night(user)
    assert env.requests == 2


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded", "quota_exceeded", "html"])
def test_trouble_in_a_slice_spoils_no_import(env, ada, kind):
    user = ada(800)
    env.simulator.fail(Fault(kind, path=CHECKINS, nth=2, times=3, seconds=60))

    imported = env.night(user)

    assert imported.cursor == env.at
    assert env.conn.execute("SELECT status FROM import_jobs ORDER BY id DESC").fetchone() == (
        "completed",
    )
    assert env.conn.execute(
        "SELECT count(*) FROM import_leases WHERE expires_at > now()"
    ).fetchone() == (0,)


def test_asked_to_stop_in_a_slice_the_import_is_done_all_the_same(env, ada):
    user = ada(800)

    def check_stop():
        if env.requests == 1:
            raise Interrupted("stop")

    imported = env.night(user, check_stop=check_stop)

    assert imported.cursor == env.at
    assert env.requests == 1


@pytest.mark.parametrize("what", ["a slice", "a second look", "an answer about one"])
def test_who_slept_through_the_lease_writes_nothing_more(env, ada, what):
    user = ada(800)
    if what == "a slice":
        env.simulator.world.add(ADA, created_at=days_ago(env, 60))
    else:
        env.simulator.world.delete(ADA, old_one(env, 0.06 if "look" in what else 0.003))
    for _ in range(0 if what == "a slice" else 1):
        env.night(user)
        assert marked(env)
    before = []

    def take_over(_):
        if len(env.simulator.requests) == 2:
            env.conn.execute("UPDATE import_leases SET token = nextval('import_lease_tokens')")
            before.append(everything(env))

    env.simulator.on_request = take_over
    env.night(user)

    assert [everything(env)] == before


def everything(env) -> list:
    return [
        env.conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("checkins", "sync_state", "verified_spans", "import_leases")
    ]


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded"])
def test_one_that_nothing_is_ever_said_about_keeps_nothing_from_being_read(env, ada, kind):
    user = ada(600)
    world = env.simulator.world
    silent = old_one(env, 0.003)
    world.delete(ADA, silent)
    env.simulator.fail(Fault(kind, path=f"checkins/{silent}", times=None, seconds=60))
    env.night(user)
    env.night(user)
    late = world.add(ADA, created_at=days_ago(env, 120))
    deleted = old_one(env, 0.5)
    world.delete(ADA, deleted)

    for _ in range(2 * A_MONTH):
        env.night(user)

    assert late in env.stored(user)
    assert gone(env) == {deleted}
    assert silent in marked(env)


def test_a_slice_that_foursquare_calls_wrong_spoils_no_import(env, ada):
    user = ada(800)
    env.simulator.fail(Fault("no_endpoint", path=CHECKINS, nth=2))

    imported = env.night(user)

    assert imported.cursor == env.at


@ORDERS
def test_odd_items_and_late_ones_keep_nothing_from_being_read(env, ada, order):
    env.simulator.switches.order = order
    world = env.simulator.world
    user = ada(700, late=0.05)
    for number in range(20, 600, 90):
        at = world.accounts[ADA].newest_first()[number].created_at
        world.add(ADA, {"createdAt": at - 1, "type": "checkin"}, created_at=at - 1)
        world.add(ADA, created_at=at - 400 * 86_400, entered_at=at + 2)
    env.night(user)
    late = world.add(ADA, created_at=days_ago(env, 150), entered_at=int(env.at.timestamp()))
    edited, deleted = old_one(env, 0.7), old_one(env, 0.4)
    world.edit(ADA, edited, shout="edited")
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        env.night(user)

    assert late in env.stored(user)
    assert row(env, edited, "shout") == ("edited",)
    assert gone(env) == {deleted}
    [oldest] = env.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert env.at - oldest < timedelta(days=A_MONTH)


def test_many_that_went_unbelieved_shift_the_list_and_stop_no_slice(env, ada):
    user = ada(900)
    world = env.simulator.world
    for entry in world.accounts[ADA].newest_first()[50:200]:
        world.delete(ADA, entry.id)
    for _ in range(2):
        env.night(user)
    late = world.add(ADA, created_at=days_ago(env, 250))
    deleted = old_one(env, 0.8)
    world.delete(ADA, deleted)

    for _ in range(A_MONTH + 5):
        env.night(user)

    assert late in env.stored(user)
    assert deleted in gone(env) or withheld(env) >= {deleted}


def test_a_group_of_one_second_is_compared_whole(env, ada):
    user = ada(700)
    group = env.simulator.world.add_group(ADA, 60, at=days_ago(env, 100))
    env.import_(user, scope=Full())
    deleted = set(group[10:50:20])
    for item_id in deleted:
        env.simulator.world.delete(ADA, item_id)

    for _ in range(A_MONTH + 5):
        env.night(user)

    assert gone(env) == deleted


def test_a_history_of_which_the_older_half_is_shown_no_more_is_said(env, ada):
    user = ada(400)
    world = env.simulator.world
    half = set(world.accounts[ADA].ids[200:])
    for item_id in half:
        world.delete(ADA, item_id)

    for _ in range(A_MONTH):
        env.night(user)
        assert not asked(env)
        assert env.conn.execute("SELECT slice_owed FROM sync_state").fetchone() == (False,)

    assert gone(env) == set()
    assert withheld(env) == half


@ORDERS
@pytest.mark.parametrize("count", [3, 4, 6])
def test_deletions_at_the_oldest_end_stop_no_slice(env, ada, order, count):
    env.simulator.switches.order = order
    user = ada(600)
    world = env.simulator.world
    oldest = set(world.accounts[ADA].ids[-count:])
    for item_id in oldest:
        world.delete(ADA, item_id)
    for _ in range(A_MONTH):
        env.night(user)
    edited = old_one(env, 0.5)
    world.edit(ADA, edited, shout="edited")

    for _ in range(A_MONTH):
        env.night(user)
        assert env.requests <= 4

    assert gone(env) | withheld(env) >= oldest
    assert row(env, edited, "shout") == ("edited",)


def test_an_odd_item_at_the_top_stops_no_slice(env, ada):
    user = ada(800)
    env.simulator.world.add(ADA, {"createdAt": NEWEST + 60, "type": "checkin"})

    env.night(user)

    assert env.requests == 2


def test_a_lock_in_a_slice_spoils_no_import(env, ada):
    user = ada(800)
    edited = old_one(env, 0.1)
    env.simulator.world.edit(ADA, edited, shout="edited")
    with psycopg.connect(env.conn.info.dsn) as other:
        other.execute("SELECT FROM checkins WHERE foursquare_id = %s FOR UPDATE", [edited])

        imported = env.night(user)

    assert imported.cursor == env.at
    for _ in range(A_MONTH):
        env.night(user)
    assert row(env, edited, "shout") == ("edited",)


def test_what_was_entered_in_bulk_is_read_like_anything_else(env, ada):
    env.simulator.switches.order = "id"
    user = ada(600)
    world = env.simulator.world
    for number in range(300):
        at = NEWEST - 200 * 86_400 - number * 3600
        world.add(ADA, created_at=at, entered_at=NEWEST - 20 * 86_400 + number * 60)
    env.import_(user, scope=Full())
    edited = old_one(env, 0.9)
    world.edit(ADA, edited, shout="edited")

    for _ in range(A_MONTH):
        env.night(user)

    assert row(env, edited, "shout") == ("edited",)


def test_an_odd_id_is_missed_where_the_order_is_known(env, ada):
    user = ada(300, late=0.2)
    at = days_ago(env, 60)
    odd = env.simulator.world.add(ADA, {"id": "zodd-id-1", "createdAt": at, "type": "checkin"})
    env.import_(user, scope=Full())
    assert odd in env.stored(user)
    env.simulator.world.delete(ADA, odd)

    for _ in range(A_MONTH):
        env.night(user)

    assert gone(env) == {odd}


def test_a_clock_that_went_wrong_once_stops_no_slice(env, ada):
    user = ada(800)
    env.conn.execute("UPDATE sync_state SET sliced_at = '2031-01-01Z'")

    env.night(user)

    assert env.requests == 2


def test_missed_nights_are_caught_up_with(env, ada):
    user = ada(2500)
    for _ in range(5):
        env.night(user)
    env.at += timedelta(days=10)
    late = env.simulator.world.add(ADA, created_at=days_ago(env, 500))

    for _ in range(20):
        env.night(user)

    assert late in env.stored(user)
    [oldest] = env.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert env.at - oldest < timedelta(days=A_MONTH)


@pytest.mark.parametrize(
    "reading",
    [{"page_cap": 100}, {"hide_every": 7}, {"count_excess": 50}, {"token_in": "query"}],
    ids=str,
)
@ORDERS
def test_other_readings_of_the_list_are_read_to_their_end_too(env, ada, order, reading):
    env.simulator.switches.order = order
    for name, value in reading.items():
        setattr(env.simulator.switches, name, value)
    user = ada(1500, late=0.02)
    world = env.simulator.world
    late = world.add(ADA, created_at=days_ago(env, 700), entered_at=int(NOW.timestamp()) + 60)
    deleted = next(i for i in env.stored(user) if i < f"{days_ago(env, 400):08x}")
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        env.night(user)

    assert late in env.stored(user) or late not in env.simulator.shown_ids(ADA)
    assert gone(env) == {deleted}
    assert env.has_everything(user, ADA)


def test_a_list_without_any_check_in_left_is_not_believed(env, ada):
    user = ada(40)
    account = env.simulator.world.accounts[ADA]
    for entry in list(account.entries):
        account.delete(entry.id)

    for _ in range(3):
        env.night(user)

    assert gone(env) == set()
    assert env.conn.execute("SELECT count(withheld_since) FROM checkins").fetchone() == (40,)


def test_the_only_one_of_two_is_gone(env, ada):
    user = ada(2)
    [_, oldest] = env.simulator.world.accounts[ADA].ids
    env.simulator.world.delete(ADA, oldest)

    for _ in range(2):
        env.night(user)

    assert gone(env) == {oldest}
