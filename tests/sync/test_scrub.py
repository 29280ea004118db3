"""Beyond the window, night after night: what came late, was edited or deleted is met in slices."""

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
        ("not_authorized", False, True),
        ("invalid_auth", False, True),
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


def test_without_the_endpoint_two_looks_are_enough_in_a_list_by_id(house, ada):
    house.simulator.switches.order = "id"
    house.simulator.switches.checkin_by_id = False
    user = ada(800, late=0.05)
    deleted = old_one(house, 0.003)
    house.simulator.world.delete(ADA, deleted)
    house.night(user)

    house.night(user)

    assert gone(house) == {deleted}


def test_without_the_endpoint_a_moved_one_is_no_deletion_and_a_deleted_one_is(house, ada):
    house.simulator.switches.checkin_by_id = False
    user = ada(1500)
    world = house.simulator.world
    moved, deleted = old_one(house, 0.003), old_one(house, 0.004)
    world.edit(ADA, moved, createdAt=days_ago(house, 400))
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        house.night(user)
        assert gone(house) <= {deleted}
        assert house.requests <= 4

    assert gone(house) == {deleted}
    assert marked(house) == {deleted}
    assert house.conn.execute("SELECT what FROM checkin_revisions").fetchall() == [(["time"],)]


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


@pytest.mark.parametrize("what", ["a slice", "a second look", "an answer about one"])
def test_who_slept_through_the_lease_writes_nothing_more(house, ada, what):
    user = ada(800)
    if what == "a slice":
        house.simulator.world.add(ADA, created_at=days_ago(house, 60))
    else:
        house.simulator.world.delete(ADA, old_one(house, 0.06 if "look" in what else 0.003))
    for _ in range(0 if what == "a slice" else 1):
        house.night(user)
        assert marked(house)
    before = []

    def take_over(_):
        if len(house.simulator.requests) == 2:
            house.conn.execute("UPDATE import_leases SET token = nextval('import_lease_tokens')")
            before.append(everything(house))

    house.simulator.on_request = take_over
    house.night(user)

    assert [everything(house)] == before


def everything(house) -> list:
    return [
        house.conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("checkins", "sync_state", "verified_spans", "import_leases")
    ]


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded"])
def test_one_that_nothing_is_ever_said_about_keeps_nothing_from_being_read(house, ada, kind):
    user = ada(600)
    world = house.simulator.world
    silent = old_one(house, 0.003)
    world.delete(ADA, silent)
    house.simulator.fail(Fault(kind, path=f"checkins/{silent}", times=None, seconds=60))
    house.night(user)
    house.night(user)
    late = world.add(ADA, created_at=days_ago(house, 120))
    deleted = old_one(house, 0.5)
    world.delete(ADA, deleted)

    for _ in range(2 * A_MONTH):
        house.night(user)

    assert late in house.stored(user)
    assert gone(house) == {deleted}
    assert silent in marked(house)


def test_a_slice_that_foursquare_calls_wrong_spoils_no_import(house, ada):
    user = ada(800)
    house.simulator.fail(Fault("no_endpoint", path=CHECKINS, nth=2))

    imported = house.night(user)

    assert imported.cursor == house.at


@ORDERS
def test_odd_items_and_late_ones_keep_nothing_from_being_read(house, ada, order):
    house.simulator.switches.order = order
    world = house.simulator.world
    user = ada(700, late=0.05)
    for number in range(20, 600, 90):
        at = world.accounts[ADA].newest_first()[number].created_at
        world.add(ADA, {"createdAt": at - 1, "type": "checkin"}, created_at=at - 1)
        world.add(ADA, created_at=at - 400 * 86_400, entered_at=at + 2)
    house.night(user)
    late = world.add(ADA, created_at=days_ago(house, 150), entered_at=int(house.at.timestamp()))
    edited, deleted = old_one(house, 0.7), old_one(house, 0.4)
    world.edit(ADA, edited, shout="edited")
    world.delete(ADA, deleted)

    for _ in range(A_MONTH):
        house.night(user)

    assert late in house.stored(user)
    assert row(house, edited, "shout") == ("edited",)
    assert gone(house) == {deleted}
    [oldest] = house.conn.execute("SELECT min(verified_at) FROM verified_spans").fetchone()
    assert house.at - oldest < timedelta(days=A_MONTH)


def test_many_that_went_unbelieved_shift_the_list_and_stop_no_slice(house, ada):
    user = ada(900)
    world = house.simulator.world
    for entry in world.accounts[ADA].newest_first()[50:200]:
        world.delete(ADA, entry.id)
    for _ in range(2):
        house.night(user)
    late = world.add(ADA, created_at=days_ago(house, 250))
    deleted = old_one(house, 0.8)
    world.delete(ADA, deleted)

    for _ in range(A_MONTH + 5):
        house.night(user)

    assert late in house.stored(user)
    assert deleted in gone(house) or withheld(house) >= {deleted}


def withheld(house) -> set[str]:
    rows = house.conn.execute("SELECT foursquare_id FROM checkins WHERE withheld_since IS NOT NULL")
    return {item_id for (item_id,) in rows}


def test_a_group_of_one_second_is_compared_whole(house, ada):
    user = ada(700)
    group = house.simulator.world.add_group(ADA, 60, at=days_ago(house, 100))
    house.import_(user, scope=Full())
    deleted = set(group[10:50:20])
    for item_id in deleted:
        house.simulator.world.delete(ADA, item_id)

    for _ in range(A_MONTH + 5):
        house.night(user)

    assert gone(house) == deleted


def test_a_history_of_which_the_older_half_is_shown_no_more_is_said(house, ada):
    user = ada(400)
    world = house.simulator.world
    half = set(world.accounts[ADA].ids[200:])
    for item_id in half:
        world.delete(ADA, item_id)

    for _ in range(A_MONTH):
        house.night(user)

    assert gone(house) == set()
    assert withheld(house) == half


@ORDERS
@pytest.mark.parametrize("count", [3, 4, 6])
def test_deletions_at_the_oldest_end_stop_no_slice(house, ada, order, count):
    house.simulator.switches.order = order
    user = ada(600)
    world = house.simulator.world
    oldest = set(world.accounts[ADA].ids[-count:])
    for item_id in oldest:
        world.delete(ADA, item_id)
    for _ in range(A_MONTH):
        house.night(user)
    edited = old_one(house, 0.5)
    world.edit(ADA, edited, shout="edited")

    for _ in range(A_MONTH):
        house.night(user)
        assert house.requests <= 4

    assert gone(house) | withheld(house) >= oldest
    assert row(house, edited, "shout") == ("edited",)


def test_an_odd_item_at_the_top_stops_no_slice(house, ada):
    user = ada(800)
    house.simulator.world.add(ADA, {"createdAt": NEWEST + 60, "type": "checkin"})

    house.night(user)

    assert house.requests == 2


def test_a_lock_in_a_slice_spoils_no_import(house, ada):
    user = ada(800)
    edited = old_one(house, 0.1)
    house.simulator.world.edit(ADA, edited, shout="edited")
    with psycopg.connect(house.conn.info.dsn) as other:
        other.execute("SELECT FROM checkins WHERE foursquare_id = %s FOR UPDATE", [edited])

        imported = house.night(user)

    assert imported.cursor == house.at
    for _ in range(A_MONTH):
        house.night(user)
    assert row(house, edited, "shout") == ("edited",)


def test_what_was_entered_in_bulk_is_read_like_anything_else(house, ada):
    house.simulator.switches.order = "id"
    user = ada(600)
    world = house.simulator.world
    for number in range(300):
        at = NEWEST - 200 * 86_400 - number * 3600
        world.add(ADA, created_at=at, entered_at=NEWEST - 20 * 86_400 + number * 60)
    house.import_(user, scope=Full())
    edited = old_one(house, 0.9)
    world.edit(ADA, edited, shout="edited")

    for _ in range(A_MONTH):
        house.night(user)

    assert row(house, edited, "shout") == ("edited",)


def test_an_odd_id_is_missed_where_the_order_is_known(house, ada):
    user = ada(300, late=0.2)
    at = days_ago(house, 60)
    odd = house.simulator.world.add(ADA, {"id": "zodd-id-1", "createdAt": at, "type": "checkin"})
    house.import_(user, scope=Full())
    assert odd in house.stored(user)
    house.simulator.world.delete(ADA, odd)

    for _ in range(A_MONTH):
        house.night(user)

    assert gone(house) == {odd}


def test_a_clock_that_went_wrong_once_stops_no_slice(house, ada):
    user = ada(800)
    house.conn.execute("UPDATE sync_state SET sliced_at = '2031-01-01Z'")

    house.night(user)

    assert house.requests == 2


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
