"""One user's import: a real database, and a simulated Foursquare in each reading of its docs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from checkinsync.errors import (
    AtWork,
    FoursquareAway,
    Interrupted,
    LeaseLost,
    OffsetIgnored,
    QuotaExceeded,
    RateLimited,
    TokenRejected,
)
from checkinsync.model.listing import PAGE
from checkinsync.simulator.faults import Fault
from checkinsync.sync.ahead import MOST
from checkinsync.sync.scope import Since
from checkinsync.sync.walk import OVERLAP
from support.factories import NOW

STEP = PAGE - OVERLAP
"""From page to page; several may be asked for at a time, so that a place tells which one it is."""

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"
CHECKINS = "users/self/checkins"


@pytest.fixture
def ada(env):
    """Add a user with a history of several years."""

    def ada(count: int, **more):
        env.simulator.world.add_account(ADA, count=count, newest=NEWEST, **more)
        return env.add(ADA)

    return ada


READINGS = {
    "documented": {},
    "ordered by id": {"order": "id"},
    "sort ignored": {"sort_ignored": True},
    "oldest first by default": {"sort_ignored": True, "default_sort": "oldestfirst"},
    "small pages": {"page_cap": 50},
    "tiny pages": {"page_cap": 3},
    "count too large": {"count_excess": 17},
    "short pages": {"hide_every": 7},
    "token in the query": {"token_in": "query"},
    "token in the header": {"token_in": "header"},
    "deprecated": {"deprecated": True},
    "bare": {"bare": True, "header_case": "lower"},
    "drift": {"drift": True},
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize("count", [0, 1, 6, 251])
def test_everything_is_stored_once_under_each_reading(env, ada, reading, count):
    user = ada(count, late=0.1)
    for name, value in reading.items():
        setattr(env.simulator.switches, name, value)

    env.import_(user)

    assert env.has_everything(user, ADA)
    assert env.conn.execute("SELECT last_sync_at FROM users").fetchone() == (
        NOW.replace(tzinfo=None),
    )


@pytest.mark.parametrize("order", ["created", "id"])
@pytest.mark.parametrize(("count", "most"), [(1, 2), (40, 2), (1200, 1)])
def test_a_second_import_writes_nothing_and_costs_one_request_or_two(env, ada, order, count, most):
    user = ada(count, late=0.02)
    env.simulator.switches.order = order
    env.simulator.switches.drift = True
    env.import_(user)
    before = env.writes()

    again = env.import_(user)

    assert env.writes() == before
    assert env.requests <= most
    assert (again.saved.new, again.saved.changed) == (0, 0)


def test_what_is_new_late_or_edited_comes_with_the_next_night(env, ada):
    user = ada(800)
    world = env.simulator.world
    env.import_(user)
    new = world.add(ADA, created_at=int(NOW.timestamp()) + 60)
    late = world.add(ADA, created_at=int((NOW - timedelta(days=9)).timestamp()))
    edited = world.accounts[ADA].newest_first()[5].id
    world.edit(ADA, edited, shout="edited")

    env.at += timedelta(days=1)
    imported = env.import_(user)

    assert (imported.saved.new, imported.saved.changed) == (2, 1)
    assert {new, late} <= set(env.stored(user))
    [shout] = env.conn.execute(
        "SELECT shout FROM checkins WHERE foursquare_id = %s", [edited]
    ).fetchone()
    assert shout == "edited"


@pytest.mark.parametrize("order", ["created", "id"])
def test_what_was_there_all_the_time_is_stored_though_the_list_changes_between_pages(
    env, ada, order
):
    user = ada(1200)
    world = env.simulator.world
    env.simulator.switches.order = order
    always = set(world.accounts[ADA].ids)

    def change(seen):
        for entry in world.accounts[ADA].newest_first()[:9]:
            always.discard(entry.id)
            world.delete(ADA, entry.id)
        world.add(ADA, created_at=NEWEST - 86400 * 30 - len(env.simulator.requests))

    env.simulator.on_request = change
    env.import_(user)

    stored = env.stored(user)
    assert len(always) > 1000
    assert always <= set(stored)
    assert len(stored) == len(set(stored))


def test_every_variant_is_stored_or_quarantined_by_name(env, ada):
    user = ada(30)
    names = env.simulator.world.add_variants(ADA, newest=NEWEST)
    assert names

    env.import_(user)

    usable = {item_id for item_id in names.values() if item_id in raw_ids(env)}
    known = set(env.stored(user)) | set(env.quarantined(user))
    nameless = sum(key.startswith("sha256:") for key in known)
    assert usable <= known
    assert len(known) >= 30 + len(usable)
    assert nameless >= 3
    assert all(env.quarantined(user).values())
    assert len(env.stored(user)) > 30 + len(usable) / 2


def raw_ids(env) -> set[str]:
    """Return all ids that are texts."""
    items = env.simulator.world.accounts[ADA].items
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    return {item_id for item_id in ids if isinstance(item_id, str) and item_id}


@pytest.mark.parametrize("excess", [2**31, 3 * 10**9, 10**30])
def test_a_count_beyond_all_measure_is_no_reason_to_stop(env, ada, excess):
    user = ada(40)
    env.simulator.switches.count_excess = excess

    env.import_(user)

    assert env.has_everything(user, ADA)


@pytest.mark.parametrize("count", [1, 60, 700])
def test_a_check_in_made_before_every_request_stops_nothing(env, ada, count):
    user = ada(count)
    before = set(env.simulator.world.accounts[ADA].ids)
    env.simulator.on_request = lambda seen: env.simulator.world.add(
        ADA, created_at=NEWEST + len(env.simulator.requests)
    )

    env.import_(user)

    assert before <= set(env.stored(user))


def test_a_group_of_one_second_larger_than_a_page_is_stored_whole(env, ada):
    user = ada(10)
    env.simulator.world.add_group(ADA, 620, at=NEWEST - 86400)

    env.import_(user)

    assert env.has_everything(user, ADA)


STUMBLES = ["server_error", "bad_gateway", "html", "cut_json", "cut_transfer", "empty", "reset"]
STUMBLES += ["items_missing", "error_in_200", "html_401", "html_403"]


@pytest.mark.parametrize("kind", STUMBLES)
def test_a_fault_in_mid_walk_is_got_over(env, ada, kind):
    user = ada(700)
    env.simulator.fail(Fault(kind, path=CHECKINS, nth=2))

    env.import_(user)

    assert env.has_everything(user, ADA)


def test_a_service_that_stays_away_keeps_what_was_stored_and_goes_on_from_there(env, ada):
    user = ada(2000)
    env.simulator.fail(Fault("server_error", path=CHECKINS, offset=4 * STEP, times=3))

    with pytest.raises(FoursquareAway) as away:
        env.import_(user)

    assert away.value.answered
    assert len(env.stored(user)) > 900
    assert job(env) == ("failed", 4)
    imported = env.import_(user)
    assert env.has_everything(user, ADA)
    assert imported.requests <= 8


def test_a_rate_limit_parks_the_job_until_its_reset(env, ada):
    user = ada(900)
    env.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, nth=3, seconds=600))

    with pytest.raises(RateLimited) as limit:
        env.import_(user)

    assert limit.value.until == NOW + timedelta(seconds=600)
    assert job(env)[0] == "rate_limited"
    row = env.conn.execute("SELECT state, retry_at FROM sync_state").fetchone()
    assert row == ("rate_limited", limit.value.until)
    env.import_(user)
    assert env.has_everything(user, ADA)
    assert env.conn.execute("SELECT state FROM sync_state").fetchone() == ("ok",)


def test_the_quota_is_told(env, ada):
    user = ada(10)
    env.simulator.fail(Fault("quota_exceeded"))

    with pytest.raises(QuotaExceeded):
        env.import_(user)

    assert env.requests == 1


def test_a_revoked_token_is_told_after_one_request(env, ada):
    user = ada(10)
    env.import_(user)
    env.simulator.revoke(ADA)

    with pytest.raises(TokenRejected):
        env.import_(user)

    assert env.requests == 1


def test_an_ignored_offset_moves_no_cursor(env, ada):
    user = ada(600)
    env.simulator.switches.offset_ignored = True

    with pytest.raises(OffsetIgnored):
        env.import_(user)

    assert env.conn.execute("SELECT last_sync_at FROM users").fetchone() == (None,)
    assert len(env.stored(user)) == 250


def test_a_walk_with_a_start_of_its_own_moves_no_cursor(env, ada):
    user = ada(900)

    env.import_(user, scope=Since(datetime(2026, 2, 1, tzinfo=UTC)))

    assert 0 < len(env.stored(user)) < 900
    assert env.conn.execute("SELECT last_sync_at FROM users").fetchone() == (None,)
    env.import_(user)
    assert env.has_everything(user, ADA)


def test_a_stop_finishes_the_page_in_hand_and_gives_the_lease_back(env, ada):
    user = ada(900)

    def check_stop():
        if env.requests == 2:
            raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        env.import_(user, check_stop=check_stop)

    assert len(env.stored(user)) > 400
    env.import_(user)
    assert env.has_everything(user, ADA)


def test_few_threads_ask_for_all_pages_and_end_with_the_import(env, ada, monkeypatch):
    user = ada(12 * STEP)
    started = []
    start = Thread.start

    def noted(thread):
        started.append(thread)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", noted)
        env.import_(user)

    asking = [thread for thread in started if thread.name.endswith("(_serve)")]
    assert 1 <= len(asking) <= MOST
    for thread in asking:
        thread.join(10)
        assert not thread.is_alive()


def test_a_first_import_resumed_weeks_later_loses_nothing(env, ada):
    user = ada(3000)
    world = env.simulator.world
    env.simulator.fail(Fault("server_error", path=CHECKINS, offset=6 * STEP, times=3))
    with pytest.raises(FoursquareAway):
        env.import_(user)
    env.simulator.faults.clear()
    for entry in world.accounts[ADA].newest_first()[300:360]:
        world.delete(ADA, entry.id)
    for day in range(20):
        world.add(ADA, created_at=int((NOW + timedelta(days=day)).timestamp()))
    late = world.accounts[ADA].newest_first()[600].created_at - 1
    world.add(ADA, created_at=late, entered_at=int((NOW + timedelta(days=9)).timestamp()))
    started, env.at = env.at, NOW + timedelta(days=20)

    imported = env.import_(user)

    assert env.has_everything(user, ADA)
    assert imported.cursor == started
    assert env.requests < 17


# --- leases -------------------------------------------------------------------------------------


def test_an_import_at_work_elsewhere_is_left_alone(env, ada):
    user = ada(10)
    hold_elsewhere(env, user, "90 s")

    with pytest.raises(AtWork):
        env.import_(user)

    assert env.requests == 0


def test_a_lease_that_ran_out_is_taken_over(env, ada):
    user = ada(10)
    hold_elsewhere(env, user, "-1 s")

    env.import_(user)

    assert env.has_everything(user, ADA)


def test_whoever_slept_through_his_lease_writes_nothing_more(env, ada):
    user = ada(900)

    def sleep_through(progress):
        if progress.page == 2:
            hold_elsewhere(env, user, "90 s")

    with pytest.raises(LeaseLost):
        env.import_(user, on_page=sleep_through)

    assert len(env.stored(user)) < 500
    assert job(env) == ("running", 2)
    [owner] = env.conn.execute("SELECT owner FROM import_leases").fetchone()
    assert owner == "elsewhere 1 1"


def hold_elsewhere(env, user, left: str) -> None:
    env.conn.execute(
        """
        INSERT INTO import_leases
        VALUES (%s, 'elsewhere 1 1', nextval('import_lease_tokens'), now() + %s::interval)
        ON CONFLICT (user_id) DO UPDATE
           SET owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at
        """,
        [user.id, left],
    )


@pytest.mark.parametrize("source", ["foursquare", None])
def test_the_application_s_import_is_respected_for_an_hour(env, ada, source):
    user = ada(10)
    env.conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, created_at)
        VALUES (%s, 'pending', %s, now() AT TIME ZONE 'UTC' - interval '59 minutes')
        """,
        [user.id, source],
    )

    with pytest.raises(AtWork, match="application"):
        env.import_(user)

    env.conn.execute("UPDATE import_jobs SET created_at = created_at - interval '2 minutes'")
    env.import_(user)
    rows = env.conn.execute("SELECT status FROM import_jobs ORDER BY id").fetchall()
    assert rows == [("failed",), ("completed",)]


def test_another_source_s_import_is_none_of_our_business(env, ada):
    user = ada(10)
    env.conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, created_at)
        VALUES (%s, 'running', 'strava', now() AT TIME ZONE 'UTC')
        """,
        [user.id],
    )

    env.import_(user)

    rows = env.conn.execute("SELECT status FROM import_jobs ORDER BY id").fetchall()
    assert rows == [("running",), ("completed",)]


# --- the application's rows ---------------------------------------------------------------------


def test_the_application_s_rows_are_taken_over_and_none_is_doubled(env, ada):
    user = ada(300)
    give_ids_away(env, user)

    imported = env.import_(user)

    assert imported.saved.new == 0
    assert env.has_everything(user, ADA)
    assert len(env.stored(user)) == 300


def give_ids_away(env, user) -> None:
    """Leave the table as the application does: the same check-ins without an id."""
    env.import_(user)
    env.conn.execute("UPDATE checkins SET foursquare_id = NULL, fingerprint = NULL, raw = NULL")
    env.conn.execute("DELETE FROM sync_state")


def test_a_twin_that_turns_up_later_is_merged(env, ada):
    user = ada(50)
    env.import_(user)
    env.conn.execute("ALTER TABLE checkins DROP CONSTRAINT checkins_user_venue_date_unique")
    env.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
        SELECT user_id, venue_id, venue_name, checkin_date FROM checkins
         ORDER BY checkin_date DESC LIMIT 7
        """
    )

    env.import_(user)

    assert len(env.stored(user)) == 50
    assert None not in env.stored(user)


def test_items_in_quarantine_are_freed_when_they_parse(env, ada):
    user = ada(20)
    env.import_(user)
    [item_id] = env.stored(user)[:1]
    [raw] = env.conn.execute(
        "DELETE FROM checkins WHERE foursquare_id = %s RETURNING raw::text", [item_id]
    ).fetchone()
    env.conn.execute(
        """
        INSERT INTO quarantined_checkins VALUES (%s, %s, convert_to(%s, 'UTF8'),
                                                 'an older version could not read it', now(), now())
        """,
        [user.id, item_id, raw],
    )

    env.import_(user)

    assert item_id in env.stored(user)
    assert not env.quarantined(user)


def test_a_value_that_the_database_refuses_keeps_only_its_check_in_out(env, ada):
    user = ada(30)
    victim = env.simulator.world.accounts[ADA].newest_first()[3].id
    env.conn.execute(f"ALTER TABLE checkins ADD CONSTRAINT odd CHECK (foursquare_id <> '{victim}')")

    imported = env.import_(user)

    assert imported.saved.quarantined == 1
    assert set(env.quarantined(user)) == {victim}
    assert len(env.stored(user)) == 29


def test_a_constraint_that_the_application_checks_at_the_end_refuses_one_check_in(env, ada, conn):
    conn.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.shout = 'refused' THEN RAISE check_violation USING MESSAGE = 'no'; END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT OR UPDATE ON checkins
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    user = ada(30)
    victim = env.simulator.world.add(ADA, created_at=NEWEST, shout="refused")

    imported = env.import_(user)

    assert (imported.saved.new, set(env.quarantined(user))) == (30, {victim})


def test_a_session_time_zone_changes_nothing(env, ada):
    name = env.conn.info.dbname
    env.conn.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    user = ada(5)

    env.import_(user)

    [date] = env.conn.execute("SELECT max(checkin_date) FROM checkins").fetchone()
    newest = env.simulator.world.accounts[ADA].newest_first()[0].item["createdAt"]
    assert date.replace(tzinfo=UTC).timestamp() == newest


def job(env):
    return env.conn.execute(
        "SELECT status, current_batch FROM import_jobs ORDER BY id DESC LIMIT 1"
    ).fetchone()


def test_a_cursor_and_a_checkpoint_from_the_future_hide_no_check_in(env):
    """A wrong clock wrote them: what was made since the last true walk is not known."""
    env.simulator.world.add_account(ADA, count=600, newest=NEWEST)
    user = env.add(ADA)
    env.import_(user)
    env.conn.execute("DELETE FROM checkins WHERE id IN (SELECT id FROM checkins LIMIT 400)")
    env.conn.execute("UPDATE sync_state SET cursor = %s", [env.at + timedelta(days=400)])

    env.import_(user)

    assert env.has_everything(user, ADA)
    cursor = env.conn.execute("SELECT cursor FROM sync_state").fetchone()
    assert cursor == (env.at,)
