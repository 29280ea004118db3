"""Verification: a history is complete, or the missing, different and extra ones are named."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checkinsync.cli.render import verify as render
from checkinsync.errors import AtWork, FoursquareAway, Interrupted, RateLimited, TokenRejected
from checkinsync.foursquare import parse
from checkinsync.model.listing import PAGE
from checkinsync.simulator.faults import Fault
from checkinsync.sync.session import Hooks
from checkinsync.sync.walk import OVERLAP
from checkinsync.verify import queries
from checkinsync.verify.result import Kind, Unfinished, VerificationResult
from checkinsync.verify.verifier import verify
from support.factories import NOW

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"
CHECKINS = "users/self/checkins"
STEP = PAGE - OVERLAP
"""From page to page; several may be asked for at a time, so that a place tells which one it is."""
WEEK = timedelta(days=7)
ORDERS = pytest.mark.parametrize("order", ["created", "id"])


@pytest.fixture
def ada(env):
    """Add a user whose whole history is stored."""

    def ada(count: int, **more):
        env.simulator.world.add_account(ADA, count=count, newest=NEWEST, **more)
        user = env.add(ADA)
        env.import_(user)
        env.at += timedelta(days=1)
        return user

    return ada


@pytest.fixture
def prove(env):
    def prove(user, **more):
        env.simulator.requests.clear()
        hooks = Hooks(check_stop=more.pop("check_stop", lambda: None))
        return verify(user, services=env.services, hooks=hooks, **more)

    return prove


def found(proof: VerificationResult, kind: Kind) -> set[str]:
    return {finding.foursquare_id for finding in proof.findings if finding.kind is kind}


def forget(env, item_id: str) -> None:
    env.conn.execute("DELETE FROM checkins WHERE foursquare_id = %s", [item_id])


def rows(env) -> list:
    return env.conn.execute("SELECT * FROM checkins ORDER BY id").fetchall()


@ORDERS
@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 1700])
def test_a_complete_history_is_complete(env, ada, prove, order, count):
    env.simulator.switches.order = order
    user = ada(count, late=0.05)
    before = rows(env)

    proof = prove(user)

    assert proof.complete
    assert (proof.shown, proof.stored, proof.reported_total) == (count, count, count)
    assert not proof.findings
    assert rows(env) == before
    assert env.conn.execute("SELECT count(*) FROM verification_items").fetchone() == (0,)


def rows_read(env) -> int:
    """Return the number of rows of `checkins` that this connection has read so far."""
    env.conn.execute("SELECT pg_stat_force_next_flush()")
    read = env.conn.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'checkins'"
    )
    return read.fetchone()[0]


def test_a_page_is_compared_without_reading_the_rest_of_the_history(env, ada):
    """Also in a table that was never analyzed, as after a first import."""
    user = ada(5000)
    stored = env.conn.execute("SELECT raw::text FROM checkins ORDER BY foursquare_id")
    page = [parse.checkin(raw.encode()) for (raw,) in stored.fetchall()[2000:2250]]
    env.conn.execute("UPDATE checkins SET city = 'Nowhere' WHERE foursquare_id = %s", [page[7].id])
    before = rows_read(env)

    assert list(queries.overwritten(env.conn, user.id, page)) == [page[7].id]

    assert rows_read(env) - before <= 2 * len(page)


@ORDERS
def test_one_missing_row_among_many_is_found_and_repaired(env, ada, prove, order):
    env.simulator.switches.order = order
    user = ada(3000, late=0.01)
    lost = env.simulator.world.accounts[ADA].ids[1717]
    forget(env, lost)

    proof = prove(user)

    assert not proof.complete
    assert found(proof, Kind.MISSING) == {lost}
    assert lost not in env.stored(user)
    repaired = prove(user, repair=True)
    assert repaired.complete
    assert found(repaired, Kind.MISSING) == {lost}
    assert env.has_everything(user, ADA)
    assert not prove(user).findings


def test_what_differs_is_told_by_kind_month_and_part(env, ada, prove):
    user = ada(600)
    world = env.simulator.world
    ids = world.accounts[ADA].ids
    world.edit(ADA, ids[200], shout="edited")
    world.delete(ADA, ids[300])
    forget(env, ids[400])
    forget(env, ids[401])

    proof = prove(user)

    assert found(proof, Kind.MISSING) == {ids[400], ids[401]}
    assert found(proof, Kind.EXTRA) == {ids[300]}
    [edit] = [finding for finding in proof.findings if finding.kind is Kind.DIFFERENT]
    assert (edit.foursquare_id, edit.detail) == (ids[200], "shout")
    assert sum(counted.total() for _, counted in proof.by_month) == 4
    text = render.as_text(proof)
    assert all(ids[n] in text for n in (200, 300, 400, 401))
    assert "Not complete: 2 missing, 1 different, 1 extra" in text


def test_a_repair_marks_what_is_extra_and_the_next_nights_bury_it(env, ada, prove):
    user = ada(600, late=0.3)
    gone = env.simulator.world.accounts[ADA].ids[300]
    env.simulator.world.delete(ADA, gone)

    repaired = prove(user, repair=True)

    assert repaired.complete
    assert found(repaired, Kind.EXTRA) == {gone}
    env.night(user)
    assert env.conn.execute(
        "SELECT foursquare_id FROM checkins WHERE deleted_at IS NOT NULL"
    ).fetchall() == [(gone,)]
    assert not prove(user).findings


def test_more_than_can_be_believed_waits_for_an_operator_s_word(env, ada, prove):
    user = ada(400)
    account = env.simulator.world.accounts[ADA]
    gone = account.ids[100:200]
    for item_id in gone:
        account.delete(item_id)

    repaired = prove(user, repair=True)

    assert found(repaired, Kind.EXTRA) == set(gone)
    assert not repaired.complete
    assert "--accept-deletions" in render.verdict(repaired)
    accepted = prove(user, repair=True, accept_deletions=True)
    assert accepted.complete
    assert accepted.stored == 300
    assert not prove(user).findings
    env.night(user)
    assert not prove(user).findings


def test_what_counts_as_gone_and_is_shown_is_missing(env, ada, prove):
    user = ada(300)
    item_id = env.simulator.world.accounts[ADA].ids[100]
    env.conn.execute("UPDATE checkins SET deleted_at = now() WHERE foursquare_id = %s", [item_id])

    assert found(prove(user), Kind.MISSING) == {item_id}
    assert prove(user, repair=True).complete
    assert env.conn.execute("SELECT count(deleted_at) FROM checkins").fetchone() == (0,)


@ORDERS
def test_it_goes_on_where_a_rate_limit_cut_it_off(env, ada, prove, order):
    env.simulator.switches.order = order
    user = ada(3000)
    lost = env.simulator.world.accounts[ADA].ids[50]
    forget(env, lost)
    env.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, offset=5 * STEP, seconds=600))

    first = prove(user)

    assert isinstance(first, Unfinished)
    assert isinstance(first.error, RateLimited)
    assert 1000 < first.seen < 1300
    assert "no verdict yet" in render.unfinished(first)
    env.at += timedelta(minutes=11)
    env.simulator.world.add(ADA, created_at=int(env.at.timestamp()) - 30)
    second = prove(user)
    assert env.requests < 13
    assert found(second, Kind.MISSING) >= {lost}
    assert second.shown == 3001


@pytest.mark.parametrize(
    ("later", "repair", "resumed"),
    [
        (WEEK, False, True),
        (WEEK + timedelta(seconds=1), False, False),
        (-timedelta(seconds=1), False, False),  # a clock that went wrong had dated it
        (timedelta(hours=1), True, False),
    ],
)
def test_it_is_resumed_for_a_week_and_by_one_that_does_the_same(
    env, ada, prove, later, repair, resumed
):
    user = ada(1500)
    env.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, offset=3 * STEP, seconds=600))
    begun = env.at
    assert isinstance(prove(user), Unfinished)
    env.at = begun + later

    proof = prove(user, repair=repair)

    assert proof.complete
    assert (proof.started_at == begun) == resumed
    assert (proof.requests > env.requests) == resumed


def test_it_waits_for_the_reset_if_told_to(env, ada, prove):
    user = ada(1500)
    env.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, offset=3 * STEP, seconds=600))
    waited = []

    proof = prove(user, wait=waited.append)

    assert proof.complete
    assert len(waited) == 1


@pytest.mark.parametrize(
    ("kind", "error"), [("server_error", FoursquareAway), ("invalid_auth", TokenRejected)]
)
def test_cut_off_it_tells_how_far_it_got_and_no_verdict(env, ada, prove, kind, error):
    user = ada(1500)
    env.simulator.fail(Fault(kind, path=CHECKINS, nth=4, times=None))

    result = prove(user)

    assert isinstance(result, Unfinished)
    assert isinstance(result.error, error)
    assert result.seen
    assert env.conn.execute(
        "SELECT count(*) FROM checkins WHERE missing_since IS NOT NULL"
    ).fetchone() == (0,)
    assert env.conn.execute(
        "SELECT count(*) FROM import_leases WHERE expires_at > now()"
    ).fetchone() == (0,)


def test_asked_to_stop_it_stops_between_two_pages(env, ada, prove):
    user = ada(1500)

    def check_stop():
        if env.requests == 3:
            raise Interrupted("stop")

    result = prove(user, check_stop=check_stop)

    assert isinstance(result, Unfinished)
    assert result.seen > 700
    assert prove(user).complete


def test_an_import_at_work_is_left_alone(env, ada, prove):
    user = ada(10)
    env.conn.execute(
        "UPDATE import_leases SET expires_at = now() + '90 s', owner = 'elsewhere 1 1'"
    )

    result = prove(user)

    assert isinstance(result, Unfinished)
    assert isinstance(result.error, AtWork)


def test_the_application_s_rows_without_an_id_are_told(env, prove):
    env.simulator.world.add_account(ADA, count=50, newest=NEWEST)
    user = env.add(ADA)
    item = env.simulator.world.accounts[ADA].items[7]
    env.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
        VALUES (%(user)s, %(venue)s, 'the same', to_timestamp(%(at)s) AT TIME ZONE 'UTC'),
               (%(user)s, 'nowhere', 'lost upstream', '2011-01-01')
        """,
        {"user": user.id, "venue": item["venue"]["id"], "at": item["createdAt"]},
    )

    proof = prove(user)

    assert [row.venue_name for row in proof.nameless] == ["lost upstream"]
    assert found(proof, Kind.DIFFERENT) == {item["id"]}
    assert len(found(proof, Kind.MISSING)) == 49
    repaired = prove(user, repair=True)
    assert repaired.complete
    assert [row.venue_name for row in repaired.nameless] == ["lost upstream"]
    assert "lost upstream" in render.as_text(repaired)


def test_what_is_in_quarantine_is_no_gap(env, prove):
    env.simulator.world.add_account(ADA, count=30, newest=NEWEST)
    env.simulator.world.add_variants(ADA, newest=NEWEST)
    user = env.add(ADA)
    env.import_(user)

    proof = prove(user)

    assert proof.complete
    assert proof.unreadable


@pytest.mark.parametrize("reading", [{"page_cap": 50}, {"hide_every": 7}, {"count_excess": 17}])
def test_foursquare_s_own_total_is_told_and_decides_nothing(env, ada, prove, reading):
    for name, value in reading.items():
        setattr(env.simulator.switches, name, value)
    user = ada(700)

    proof = prove(user)

    assert proof.complete
    assert proof.reported_total == 700 + reading.get("count_excess", 0)
    assert proof.shown == len(env.simulator.shown_ids(ADA))


def test_a_history_that_changes_while_it_is_verified_is_no_gap(env, ada, prove):
    user = ada(1500)
    account = env.simulator.world.accounts[ADA]

    def change(seen):
        account.delete(account.newest_first()[3].id)

    env.simulator.on_request = change
    proof = prove(user)

    assert not found(proof, Kind.MISSING)
    assert not found(proof, Kind.DIFFERENT)


@pytest.mark.long
def test_one_missing_row_among_seventy_thousand_is_found_and_repaired(env, ada, prove):
    env.simulator.switches.hourly_limit = 1000  # the simulator's clock stands still
    user = ada(70_000)
    lost = env.simulator.world.accounts[ADA].ids[43_210]
    forget(env, lost)

    repaired = prove(user, repair=True)

    assert found(repaired, Kind.MISSING) == {lost}
    assert repaired.complete
    proof = prove(user)
    assert (proof.shown, proof.stored, proof.findings) == (70_000, 70_000, ())


def test_one_empty_answer_is_not_taken_for_an_empty_history(env, ada, prove):
    user = ada(300)
    empty = '{"meta":{"code":200},"response":{"checkins":{"count":0,"items":[]}}}'
    env.simulator.fail(Fault("says", path=CHECKINS, status=200, body=empty))

    proof = prove(user, repair=True, accept_deletions=True)

    assert (proof.complete, proof.shown, proof.stored) == (True, 300, 300)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("shout", "written over"),
        ("venue_name", "Elsewhere"),
        ("checkin_date", "2001-01-01"),
        ("latitude", 1.5),
        ("is_private", None),
    ],
)
def test_a_row_that_somebody_wrote_over_is_found_and_repaired(env, ada, prove, column, value):
    user = ada(300)
    item_id = env.simulator.world.accounts[ADA].ids[100]
    before = rows(env)
    env.conn.execute(
        f"UPDATE checkins SET {column} = %s WHERE foursquare_id = %s", [value, item_id]
    )

    proof = prove(user)

    assert found(proof, Kind.DIFFERENT) == {item_id}
    assert prove(user, repair=True).complete
    assert not prove(user).findings
    assert len(rows(env)) == len(before)
    assert env.conn.execute("SELECT count(*) FROM checkin_revisions").fetchone() == (0,)
