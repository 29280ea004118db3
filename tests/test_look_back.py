"""Beyond the window, night after night: what came late, was edited or deleted is met in slices."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checkinsync.errors import Interrupted
from checkinsync.look_back import RESERVE
from checkinsync.simulator.faults import Fault
from making import NOW

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"
CHECKINS = "users/self/checkins"
A_MONTH = 30
ORDERS = pytest.mark.parametrize("order", ["created", "id"])


@pytest.fixture
def ada(house):
    """A user whose whole history is stored."""

    def ada(count: int, **more):
        house.simulator.world.add_account(ADA, count=count, newest=NEWEST, **more)
        user = house.add(ADA)
        house.import_(user)
        return user

    return ada


def days_ago(house, days: float) -> int:
    return int((house.at - timedelta(days=days)).timestamp())


def row(house, item_id: str, columns: str):
    return house.conn.execute(
        f"SELECT {columns} FROM checkins WHERE foursquare_id = %s", [item_id]
    ).fetchone()


def gone(house) -> set[str]:
    rows = house.conn.execute("SELECT foursquare_id FROM checkins WHERE deleted_at IS NOT NULL")
    return {item_id for (item_id,) in rows}


def marked(house) -> set[str]:
    rows = house.conn.execute("SELECT foursquare_id FROM checkins WHERE missing_since IS NOT NULL")
    return {item_id for (item_id,) in rows}


def old_one(house, depth: float) -> str:
    """The id of a check-in so far down the history, 0 the newest and 1 the oldest."""
    entries = house.simulator.world.accounts[ADA].newest_first()
    return entries[round(depth * (len(entries) - 1))].id


@ORDERS
def test_a_month_of_nights_sees_what_was_entered_edited_or_deleted_years_ago(house, ada, order):
    house.simulator.switches.order = order
    user = ada(5000, late=0.01)
    world = house.simulator.world
    house.simulator.switches.drift = True
    late = world.add(ADA, created_at=days_ago(house, 3 * 365), entered_at=int(NOW.timestamp()) + 60)
    edited, deleted = old_one(house, 0.7), old_one(house, 0.4)
    world.edit(ADA, edited, shout="edited years later")
    world.delete(ADA, deleted)
    costs = []

    for _ in range(A_MONTH):
        house.night(user)
        costs.append(house.requests)

    assert late in house.stored(user)
    assert row(house, edited, "shout") == ("edited years later",)
    assert gone(house) == {deleted}
    assert house.has_everything(user, ADA)
    assert sorted(costs)[-2:] <= [2, 3]
    assert costs.count(3) <= 1
    [oldest] = house.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert house.at - oldest < timedelta(days=A_MONTH)


@ORDERS
def test_a_time_edited_far_back_is_one_revision_and_no_deletion(house, ada, order):
    house.simulator.switches.order = order
    user = ada(2500)
    moved = next(
        entry.id
        for entry in house.simulator.world.accounts[ADA].newest_first()
        if entry.created_at < days_ago(house, 4)
    )
    house.simulator.world.edit(ADA, moved, createdAt=days_ago(house, 800))

    for _ in range(A_MONTH):
        house.night(user)
        assert gone(house) == set()

    revisions = house.conn.execute("SELECT what FROM checkin_revisions").fetchall()
    assert revisions == [(["time"],)]
    assert house.has_everything(user, ADA)
    assert marked(house) == set()
    [at] = row(house, moved, "extract(epoch FROM checkin_date)")
    assert at == days_ago(house, 800 + A_MONTH)


@ORDERS
@pytest.mark.parametrize("depth", [0, 0.002, 0.1, 0.5, 0.97, 1])
def test_a_deletion_anywhere_is_seen_twice_and_then_asked_for(house, ada, order, depth):
    house.simulator.switches.order = order
    user = ada(1200)
    deleted = old_one(house, depth)
    house.simulator.world.delete(ADA, deleted)
    nights = 0
    while not marked(house):
        house.night(user)
        nights += 1
        assert house.requests <= 2
        assert nights <= A_MONTH

    assert marked(house) == {deleted}
    assert gone(house) == set()
    house.night(user)

    assert gone(house) == {deleted}
    assert house.requests <= 3
    asked = [seen.path for seen in house.simulator.requests if seen.path.startswith("checkins/")]
    assert asked == [f"checkins/{deleted}"]
    assert house.stored(user).count(deleted) == 1


def test_it_is_looked_for_no_earlier_than_twenty_hours_later(house, ada):
    user = ada(800)
    house.simulator.world.delete(ADA, old_one(house, 0.003))
    house.night(user)
    assert len(marked(house)) == 1

    for _ in range(9):
        house.at += timedelta(hours=2)
        house.import_(user, spare=lambda: True)
        assert house.requests == 1
    assert gone(house) == set()
    house.at += timedelta(hours=2)
    house.import_(user, spare=lambda: True)

    assert gone(house) == marked(house) != set()


def test_what_the_endpoint_still_knows_is_not_gone(house, ada):
    user = ada(800)
    hidden = old_one(house, 0.004)
    account = house.simulator.world.accounts[ADA]
    entry = account.entry(hidden)
    listed = [other for other in account.newest_first() if other is not entry]
    account._listed["created"] = listed  # the list leaves it out, the endpoint does not
    house.night(user)
    assert marked(house) == {hidden}

    house.night(user)

    assert house.requests <= 3
    assert marked(house) == gone(house) == set()


@pytest.mark.parametrize(
    ("kind", "is_gone", "stays_marked"),
    [
        ("not_authorized", False, False),
        ("invalid_auth", False, False),
        ("server_error", False, True),
        ("html_403", False, True),
        ("rate_limit_exceeded", False, True),
        ("quota_exceeded", False, True),
    ],
)
def test_any_other_answer_about_it_deletes_nothing(house, ada, kind, is_gone, stays_marked):
    user = ada(800)
    deleted = old_one(house, 0.003)
    house.simulator.world.delete(ADA, deleted)
    house.night(user)
    house.simulator.fail(Fault(kind, path=f"checkins/{deleted}", times=None, seconds=60))

    house.night(user)

    assert (deleted in gone(house)) == is_gone
    assert (deleted in marked(house)) == stays_marked
    house.simulator.faults.clear()
    for _ in range(3):
        house.night(user)
    assert gone(house) == {deleted}


def test_where_the_endpoint_does_not_exist_two_looks_are_enough(house, ada):
    user = ada(800)
    deleted = old_one(house, 0.003)
    house.simulator.world.delete(ADA, deleted)
    house.simulator.fail(Fault("no_endpoint", path=f"checkins/{deleted}", times=None))
    house.night(user)

    house.night(user)

    assert gone(house) == {deleted}


def test_what_is_shown_again_is_restored(house, ada):
    user = ada(800)
    account = house.simulator.world.accounts[ADA]
    entries = [account.entry(old_one(house, depth)) for depth in (0.003, 0.004)]
    for entry in entries:
        account.delete(entry.id)
    house.night(user)
    account.add(entries[0])
    house.night(user)
    assert gone(house) == {entries[1].id}
    account.add(entries[1])

    imported = house.night(user)

    assert gone(house) == marked(house) == set()
    assert (imported.saved.new, imported.saved.changed) == (0, 1)
    assert house.has_everything(user, ADA)


def test_too_many_at_once_are_not_believed_and_stop_nothing(house, ada):
    user = ada(800)
    account = house.simulator.world.accounts[ADA]
    for entry in account.newest_first()[2:40:2]:
        account.delete(entry.id)
    new = house.simulator.world.add(ADA, created_at=int(NOW.timestamp()) + 60)

    for _ in range(3):
        imported = house.night(user)

    assert gone(house) == marked(house) == set()
    [withheld] = house.conn.execute(
        "SELECT count(*) FROM checkins WHERE withheld_since IS NOT NULL"
    ).fetchone()
    assert withheld == 19
    assert new in house.stored(user)
    assert imported.cursor == house.at


def test_more_than_a_twentieth_within_a_month_is_not_believed(house, ada):
    user = ada(1000)
    account = house.simulator.world.accounts[ADA]
    for entry in account.newest_first()[300:900:10]:
        account.delete(entry.id)

    for _ in range(A_MONTH):
        house.night(user)

    assert 0 < len(gone(house)) <= 50
    assert house.conn.execute(
        "SELECT count(*) FROM checkins WHERE deleted_at IS NOT NULL OR withheld_since IS NOT NULL"
    ).fetchone() == (60,)


def test_a_look_back_is_dropped_when_requests_or_time_are_short(house, ada):
    user = ada(800)
    house.simulator.switches.hourly_limit = RESERVE + 1
    house.night(user)
    assert house.requests == 1

    house.simulator.switches.hourly_limit = 500
    house.at += timedelta(days=1)
    house.import_(user, spare=lambda: False)
    assert house.requests == 1
    house.night(user)
    assert house.requests == 2


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded", "quota_exceeded", "html"])
def test_trouble_in_a_slice_spoils_no_import(house, ada, kind):
    user = ada(800)
    house.simulator.fail(Fault(kind, path=CHECKINS, nth=2, times=3, seconds=60))

    imported = house.night(user)

    assert imported.cursor == house.at
    assert house.conn.execute("SELECT status FROM import_jobs ORDER BY id DESC").fetchone() == (
        "completed",
    )
    assert house.conn.execute(
        "SELECT count(*) FROM import_leases WHERE expires_at > now()"
    ).fetchone() == (0,)


def test_asked_to_stop_in_a_slice_the_import_is_done_all_the_same(house, ada):
    user = ada(800)

    def go_on():
        if house.requests == 1:
            raise Interrupted("stop")

    imported = house.night(user, go_on=go_on)

    assert imported.cursor == house.at
    assert house.requests == 1


def test_missed_nights_are_caught_up_with(house, ada):
    user = ada(2500)
    for _ in range(5):
        house.night(user)
    house.at += timedelta(days=10)
    late = house.simulator.world.add(ADA, created_at=days_ago(house, 500))

    for _ in range(20):
        house.night(user)

    assert late in house.stored(user)
    [oldest] = house.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert house.at - oldest < timedelta(days=A_MONTH)


@pytest.mark.parametrize(
    "reading",
    [{"page_cap": 100}, {"hide_every": 7}, {"count_excess": 50}, {"token_in": "query"}],
    ids=str,
)
@ORDERS
def test_other_readings_of_the_list_are_read_to_their_end_too(house, ada, order, reading):
    house.simulator.switches.order = order
    for name, value in reading.items():
        setattr(house.simulator.switches, name, value)
    user = ada(1500, late=0.02)
    world = house.simulator.world
    late = world.add(ADA, created_at=days_ago(house, 700), entered_at=int(NOW.timestamp()) + 60)
    deleted = next(i for i in house.stored(user) if i < f"{days_ago(house, 400):08x}")
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        house.night(user)

    assert late in house.stored(user) or late not in house.simulator.shown_ids(ADA)
    assert gone(house) == {deleted}
    assert house.has_everything(user, ADA)


def test_a_list_without_any_check_in_left_is_not_believed(house, ada):
    user = ada(40)
    account = house.simulator.world.accounts[ADA]
    for entry in list(account.entries):
        account.delete(entry.id)

    for _ in range(3):
        house.night(user)

    assert gone(house) == set()
    assert house.conn.execute("SELECT count(withheld_since) FROM checkins").fetchone() == (40,)


def test_the_only_one_of_two_is_gone(house, ada):
    user = ada(2)
    [_, oldest] = house.simulator.world.accounts[ADA].ids
    house.simulator.world.delete(ADA, oldest)

    for _ in range(2):
        house.night(user)

    assert gone(house) == {oldest}
