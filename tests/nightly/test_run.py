"""A run on a clock that is handed in: starts, retries, pauses, and its outcome."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from checkinsync.errors import (
    AccountSuspended,
    ApiGone,
    ApplicationSuspended,
    AtWork,
    CertificateRejected,
    DatabaseAway,
    DatabaseExhausted,
    FoursquareAway,
    Interrupted,
    OffsetIgnored,
    PlanExhausted,
    QuotaExceeded,
    RateLimited,
    SettingsError,
    TokenRejected,
)
from checkinsync.keys.keyring import Keyring
from checkinsync.nightly import outages
from checkinsync.nightly import run as nightly
from checkinsync.nightly.course import LATE
from checkinsync.store import leases
from checkinsync.store.pool import transaction
from checkinsync.sync.outcome import Failed, Imported, RetryAt, Skipped
from checkinsync.verify import queries as verifications
from support.environment import KEYRING, add_users
from support.factories import NOW
from support.nightly import DONE

MINUTE = timedelta(minutes=1)


def outcomes(summary) -> dict:
    return {report.user.id: report.outcome for report in summary.reports}


def test_ten_thousand_users_start_in_their_slots_through_one_small_pool(
    db, conn, pool, clock, imports, run
):
    add_users(conn, 10_000)
    imports.pool = pool
    imports.endings[17] = [FoursquareAway("reset")] * 2
    before = sessions(db)

    summary = run()

    assert (summary.synced, summary.exit_code) == (10_000, 0)
    starts = [imports.starts[n][0] for n in sorted(imports.starts)]
    assert starts == sorted(starts)
    assert starts[-1] <= timedelta(hours=4)
    assert starts[1] - starts[0] == timedelta(hours=4) / 9_999
    assert len(imports.starts[17]) == 3
    assert sessions(db) - before <= 5


def sessions(db: str) -> int:
    """Return the number of sessions that this database has had, asked from another one."""
    name = conninfo_to_dict(db)["dbname"]
    with psycopg.connect(make_conninfo(db, dbname="postgres")) as conn:
        row = conn.execute("SELECT sessions FROM pg_stat_database WHERE datname = %s", [name])
        return row.fetchone()[0]


def test_retries_come_after_one_two_and_four_minutes(conn, imports, run):
    [user] = add_users(conn, 1)
    away = FoursquareAway("reset")
    away.answered = True
    imports.endings[user] = [away] * 4

    summary = run()

    gaps = [
        (later - earlier).total_seconds()
        for earlier, later in zip(imports.starts[user], imports.starts[user][1:], strict=False)
    ]
    assert [round(gap / 60) for gap in gaps] == [1, 2, 4]
    assert summary.exit_code == 3
    assert state(conn, user) == ("failing", 1)


def test_what_can_t_be_mended_is_not_retried(conn, imports, run):
    one, two = add_users(conn, 2)
    imports.endings[one] = [OffsetIgnored("the same page")]

    summary = run()

    assert len(imports.starts[one]) == 1
    assert isinstance(outcomes(summary)[two], Imported)
    assert summary.exit_code == 3


def test_an_error_nobody_foresaw_stays_with_its_user(conn, imports, run):
    one, two = add_users(conn, 2)
    imports.endings[one] = [ZeroDivisionError("a bug")]

    summary = run()

    assert isinstance(outcomes(summary)[one], Failed)
    assert isinstance(outcomes(summary)[two], Imported)


def test_a_rate_limit_waits_for_its_reset_and_uses_up_no_retry(conn, imports, run, clock):
    users = add_users(conn, 3)
    limits = [RateLimited("limit", until=NOW + n * 40 * MINUTE) for n in (1, 2, 3, 4, 5)]
    imports.endings[users[0]] = list(limits)

    summary = run()

    assert summary.exit_code == 0
    assert imports.starts[users[0]][1:] == [limit.until - NOW for limit in limits]
    assert imports.starts[users[2]] == [4 * MINUTE]


def test_a_rate_limit_beyond_the_deadline_ends_it_with_5(conn, imports, run):
    [user] = add_users(conn, 1)
    imports.endings[user] = [RateLimited("limit", until=NOW + timedelta(hours=1))]

    summary = run(deadline=timedelta(minutes=30))

    assert isinstance(outcomes(summary)[user], RetryAt)
    assert summary.exit_code == 5


def test_a_limit_known_from_before_that_outlasts_the_run_is_not_waited_for(
    conn, imports, run, clock
):
    one, two = add_users(conn, 2)
    conn.execute(
        "INSERT INTO sync_state (user_id, state, retry_at) VALUES (%s, 'rate_limited', %s)",
        [one, NOW + timedelta(hours=1)],
    )

    summary = run(deadline=timedelta(minutes=30))

    assert summary.exit_code == 5
    assert isinstance(outcomes(summary)[one], RetryAt)
    assert list(imports.starts) == [two]
    assert clock.now() < NOW + timedelta(minutes=5)


def test_the_daily_quota_ends_the_run_for_everybody(conn, imports, run):
    users = add_users(conn, 5)
    imports.endings[users[1]] = [QuotaExceeded("quota")]

    summary = run()

    assert sum(map(len, imports.starts.values())) == 2
    assert summary.exit_code == 5
    assert isinstance(outcomes(summary)[users[4]], Skipped)


def test_three_users_without_an_answer_pause_the_starts_until_it_is_back(conn, imports, run):
    users = add_users(conn, 12)
    imports.away_until = NOW + 9 * MINUTE

    summary = run(retries=0)

    assert (summary.exit_code, summary.synced) == (0, 12)
    assert min(imports.starts[users[11]]) > 18 * MINUTE


def test_who_is_begun_when_foursquare_goes_away_asks_nothing_and_comes_again(conn, imports, run):
    users = add_users(conn, 4)

    def turn_comes_late(hooks):
        for _ in range(1000):
            hooks.check_start()
            threading.Event().wait(0.01)
        return DONE

    for user in users[:3]:
        imports.endings[user] = [FoursquareAway("away")]
    imports.endings[users[3]] = [turn_comes_late]

    summary = run(retries=0, stagger=timedelta(0))

    assert (summary.synced, summary.exit_code) == (4, 0)
    assert imports.starts[users[3]][-1] >= outages.FOURSQUARE.first_pause
    assert {report.attempts for report in summary.reports} == {1}


def test_a_busy_run_stores_its_progress_once_a_minute(conn, imports, run):
    add_users(conn, 30)
    conn.execute(
        """
        CREATE TABLE noted (waiting int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO noted VALUES ((NEW.progress ->> 'waiting')::int); RETURN NEW;
        END $$;
        CREATE TRIGGER note AFTER UPDATE OF progress ON sync_runs
            FOR EACH ROW EXECUTE FUNCTION note();
        """
    )

    assert run(workers=2, stagger=timedelta(0)).synced == 30

    noted = conn.execute("SELECT waiting FROM noted WHERE waiting IS NOT NULL").fetchall()
    assert noted == [(28,), (0,)]


def test_after_an_outage_of_foursquare_the_starts_keep_their_distance(conn, imports, run):
    users = add_users(conn, 6)
    imports.away_until = NOW + 9 * MINUTE

    run(retries=0)

    one, two, three = (imports.starts[user][0] for user in users[3:])
    assert one > 9 * MINUTE
    assert (two - one, three - two) == (2 * MINUTE, 2 * MINUTE)


def test_an_outage_of_the_database_postpones_the_starts_by_its_length(conn, imports, run):
    one, two, three = add_users(conn, 3)
    imports.endings[one] = [DatabaseAway("away")]

    run()

    paused = outages.DATABASE.first_pause
    assert imports.starts[one] == [timedelta(0), paused]
    assert imports.starts[two] == [2 * MINUTE + paused]
    assert imports.starts[three] == [4 * MINUTE + paused]


def test_no_retry_is_used_up_while_foursquare_is_away(conn, imports, run):
    add_users(conn, 6)
    imports.away_until = NOW + 20 * MINUTE

    summary = run(retries=1)

    assert (summary.synced, summary.exit_code) == (6, 0)
    assert sum(map(len, imports.starts.values())) < 25


def test_a_database_that_was_away_gives_no_retry_back_to_whom_foursquare_did_not_answer(
    conn, imports, run
):
    one, two = add_users(conn, 2)
    imports.endings[one] = [FoursquareAway("away")]
    imports.endings[two] = [DatabaseAway("away")]

    summary = run(retries=0)

    assert isinstance(outcomes(summary)[one], Failed)
    assert isinstance(outcomes(summary)[two], Imported)
    assert [len(imports.starts[user]) for user in (one, two)] == [1, 2]


def test_foursquare_away_for_half_an_hour_ends_the_run_with_69(conn, imports, run, clock):
    users = add_users(conn, 20)
    for user in users:
        imports.endings[user] = [FoursquareAway("away")] * 99

    summary = run()

    assert summary.exit_code == 69
    assert summary.outcome == "away"
    assert clock.now() - NOW < timedelta(minutes=45)
    assert all(isinstance(outcome, Skipped) for outcome in outcomes(summary).values())
    assert state(conn, users[0]) is None


def test_one_user_whom_foursquare_never_answers_is_69_too(conn, imports, run):
    [user] = add_users(conn, 1)
    imports.endings[user] = [FoursquareAway("away")] * 9

    assert run().exit_code == 69


def test_a_deadline_that_falls_into_the_retries_of_an_outage_is_69_and_says_so(conn, imports, run):
    users = add_users(conn, 4)
    imports.away_until = NOW + timedelta(days=1)

    alone = run(deadline=timedelta(seconds=90), stagger=timedelta(minutes=5))
    several = run(deadline=timedelta(minutes=7))

    assert (alone.exit_code, several.exit_code) == (69, 69)
    for summary in (alone, several):
        assert "Foursquare did not answer" in outcomes(summary)[users[-1]].reason


def test_the_deadline_ends_the_run_and_names_who_is_left(conn, imports, run):
    users = add_users(conn, 10)

    summary = run(deadline=timedelta(minutes=5))

    assert summary.exit_code == 3
    assert sum(isinstance(o, Imported) for o in outcomes(summary).values()) == 3
    assert "deadline" in outcomes(summary)[users[-1]].reason


def take_longer_than_a_start_may_wait(clock, imports, users):
    def take_long(hooks):
        clock.at += LATE
        return DONE

    imports.endings.update({user: [take_long] for user in users})


def test_an_import_looks_beyond_its_window_only_where_no_start_is_late(clock, conn, imports, run):
    one, two, three = add_users(conn, 3)
    take_longer_than_a_start_may_wait(clock, imports, [one, two, three])

    run(workers=1, stagger=timedelta(0))

    assert imports.may_scrub == {one: True, two: False, three: True}  # nobody waits for the last


def compared(conn, users, *, sliced, at=NOW - timedelta(days=31)):
    """Older history of these users, compared then; the last slice that many days ago each."""
    conn.execute(
        """
        WITH them AS (SELECT * FROM unnest(%(users)s::int[], %(days)s::int[]) AS u (id, days)),
        spans AS (
            INSERT INTO verified_spans (user_id, newest, verified_at)
            SELECT id, %(at)s, %(at)s FROM them)
        INSERT INTO sync_state (user_id, cursor, last_checked_at, sliced_at)
        SELECT id, %(now)s, %(now)s, %(now)s - make_interval(days => days) FROM them
        """,
        {"users": users, "days": sliced, "at": at, "now": NOW - timedelta(hours=23)},
    )


def test_however_full_a_night_a_tenth_is_looked_back_at_those_first_who_wait_longest(
    clock, conn, imports, run
):
    users = add_users(conn, 20)
    compared(conn, users, sliced=[n % 7 for n in range(20)])
    take_longer_than_a_start_may_wait(clock, imports, users)

    summary = run(workers=1, stagger=timedelta(0))

    looked_back = {user for user in users[1:-1] if imports.may_scrub[user]}
    assert looked_back == {users[6], users[13]}  # nobody waits for the last one
    assert any("history of 2 users has" in notice for notice in summary.notices)


def test_nights_that_read_the_older_history_say_nothing_of_it(conn, run):
    users = add_users(conn, 3)
    compared(conn, users[:2], sliced=[4, 1])
    compared(conn, users[2:], sliced=[9], at=NOW - timedelta(days=29))

    assert not any("older history" in notice for notice in run().notices)


@pytest.mark.parametrize(("left", "may_scrub"), [(timedelta(0), False), (MINUTE, True)])
def test_an_import_looks_beyond_its_window_only_a_while_before_the_deadline(
    conn, imports, run, left, may_scrub
):
    [user] = add_users(conn, 1)

    run(deadline=nightly.SPARE + left)

    assert imports.may_scrub == {user: may_scrub}


def test_an_import_that_outlasts_the_end_of_the_run_does_not_look_beyond_its_window(
    conn, imports, run
):
    one, two = add_users(conn, 2)
    begun, looks = threading.Event(), []

    def end_the_run(hooks):
        begun.wait()
        raise QuotaExceeded("quota")

    def outlast_it(hooks):
        begun.set()
        while not is_asked_to_stop(hooks):
            pass
        looks.append(hooks.may_scrub())
        return DONE

    imports.endings.update({one: [end_the_run], two: [outlast_it]})

    run(stagger=timedelta(0))

    assert looks == [False]


def is_asked_to_stop(hooks) -> bool:
    try:
        hooks.check_stop()
    except Interrupted:
        return True
    return False


def test_users_who_are_being_imported_elsewhere_take_no_slot(conn, imports, run):
    ours, applications, due = add_users(conn, 3)
    conn.execute(
        """
        INSERT INTO import_leases VALUES (%s, 'elsewhere 1 1', nextval('import_lease_tokens'),
                                          now() + '1 minute')
        """,
        [ours],
    )
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, created_at)
        VALUES (%s, 'running', 'foursquare', now() AT TIME ZONE 'UTC')
        """,
        [applications],
    )

    summary = run()

    assert imports.starts == {due: [timedelta(0)]}
    reason = "another import of this user is at work"
    assert [(user.id, told) for user, told in summary.not_due] == [
        (ours, reason),
        (applications, reason),
    ]


def test_a_signal_leaves_the_rest_undone_and_says_so(conn, imports, run, clock):
    add_users(conn, 5)

    def check_stop():
        if clock.now() > NOW + 3 * MINUTE:
            raise Interrupted("interrupted by SIGTERM", exit_code=143)

    summary = run(check_stop=check_stop)

    assert summary.exit_code == 143
    assert (summary.synced, summary.skipped) == (2, 3)
    row = conn.execute("SELECT outcome, skipped FROM sync_runs").fetchone()
    assert row == ("interrupted", 3)


def test_a_rejected_token_is_written_down_and_skipped_the_next_night(conn, imports, run):
    one, two = add_users(conn, 2)
    imports.endings[one] = [TokenRejected("no longer accepted")]

    assert run().exit_code == 3
    assert state(conn, one) == ("needs_reauth", 1)
    second = run()

    assert second.exit_code == 0
    assert len(imports.starts[one]) == 1
    assert len(imports.starts[two]) == 2
    assert [user.id for user, _ in second.not_due] == [one]


def test_a_token_refused_before_any_was_taken_is_asked_about_after_the_others(conn, imports, run):
    one, two, three = add_users(conn, 3)
    doubtful = TokenRejected("refused in the header")
    doubtful.sure = False
    imports.endings[one] = [doubtful, TokenRejected("no longer accepted")]

    summary = run()

    assert summary.exit_code == 3
    assert [len(imports.starts[user]) for user in (one, two, three)] == [2, 1, 1]
    assert imports.starts[one][1] >= imports.starts[three][0]
    assert state(conn, one) == ("needs_reauth", 1)


def test_another_stored_token_makes_him_due_again(conn, imports, run):
    one, _ = add_users(conn, 2)
    imports.endings[one] = [TokenRejected("no longer accepted")]
    run()

    conn.execute(
        "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
        [KEYRING.encrypt("another"), one],
    )
    run()

    assert len(imports.starts[one]) == 2
    [row] = conn.execute("SELECT state FROM sync_status(%s, 30) WHERE id = %s", [NOW, one])
    assert row == ("new",)


def test_if_most_tokens_are_rejected_we_suspect_ourselves(conn, imports, run):
    users = add_users(conn, 4)
    for user in users[:3]:
        imports.endings[user] = [TokenRejected("no longer accepted")]

    summary = run()

    assert (summary.outcome, summary.exit_code) == ("suspect", 69)
    assert [state(conn, user) for user in users] == [None] * 4


def test_a_key_that_opens_nothing_changes_nothing(conn, imports, run):
    users = add_users(conn, 3)

    with pytest.raises(SettingsError, match="CHECKINSYNC_ENCRYPTION_KEY"):
        run(keyring=Keyring(["11" * 32]))

    assert not imports.starts
    assert [state(conn, user) for user in users] == [None] * 3


def test_a_token_that_no_key_opens_is_tried_again_each_night(conn, imports, run):
    one, two = add_users(conn, 2)

    lost = Keyring(["11" * 32])
    conn.execute(
        "UPDATE users SET access_token_encrypted = %s WHERE id = %s", [lost.encrypt("one"), one]
    )

    first = run()
    assert (first.exit_code, state(conn, one)[0]) == (3, "needs_reauth")
    assert run().exit_code == 0
    run(keyring=Keyring(["00" * 32, "11" * 32]))

    assert (len(imports.starts[one]), len(imports.starts[two])) == (1, 3)


def test_paused_inactive_fresh_and_unconnected_users_take_no_slot(conn, imports, run):
    paused, inactive, fresh, unconnected, due = add_users(conn, 5)
    conn.execute("INSERT INTO sync_state (user_id, paused_at) VALUES (%s, now())", [paused])
    conn.execute("UPDATE users SET last_login_at = '2020-01-01' WHERE id = %s", [inactive])
    conn.execute(
        "INSERT INTO sync_state (user_id, last_checked_at) VALUES (%s, %s)",
        [fresh, NOW - timedelta(hours=3)],
    )
    conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s", [unconnected])

    summary = run(max_age=timedelta(hours=20))

    assert imports.starts == {due: [timedelta(0)]}
    assert {user.id for user, _ in summary.not_due} == {paused, fresh, unconnected}


def test_nobody_due_is_a_good_night(run):
    assert run().exit_code == 0


def test_a_second_run_is_refused_at_once(conn, pool, run):
    conn.execute(
        """
        INSERT INTO import_leases VALUES (0, 'elsewhere 1 1', nextval('import_lease_tokens'),
                                          now() + '1 minute')
        """
    )

    with pytest.raises(AtWork):
        run()

    with transaction(pool) as other:
        assert leases.acquire(other, 7, alive=()) is not None


def test_a_run_that_ended_lets_the_next_one_start(conn, run):
    add_users(conn, 1)

    assert [run().exit_code, run().exit_code] == [0, 0]
    assert conn.execute("SELECT count(*) FROM sync_runs").fetchone() == (2,)


def test_the_end_of_a_run_drops_verifications_that_are_too_old_to_be_resumed(conn, run):
    old, young = add_users(conn, 2)
    for user, begun in (
        (old, NOW - timedelta(days=7, seconds=1)),
        (young, NOW - timedelta(days=7)),
    ):
        verifications.start(conn, user, at=begun, repairs=False)

    run()

    assert verifications.load(conn, old) is None
    assert verifications.load(conn, young) is not None


def state(conn, user):
    return conn.execute(
        "SELECT state, consecutive_failures FROM sync_state WHERE user_id = %s", [user]
    ).fetchone()


# --- instants that a wrong clock wrote ------------------------------------------------------------

FUTURE = NOW + timedelta(days=400)


@pytest.mark.parametrize("column", ["last_checked_at", "cursor", "last_new_at", "retry_at"])
def test_an_instant_in_the_future_makes_no_night_skip_a_user(conn, imports, run, column):
    [user] = add_users(conn, 1)
    conn.execute(
        sql.SQL(
            "INSERT INTO sync_state (user_id, state, {}) VALUES (%s, 'rate_limited', %s)"
        ).format(sql.Identifier(column)),
        [user, FUTURE],
    )

    summary = run(max_age=timedelta(hours=20))

    assert (summary.due, imports.starts) == (1, {user: [timedelta(0)]})


def test_a_job_of_the_application_from_the_future_blocks_nobody(conn, imports, run):
    [user] = add_users(conn, 1)
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, created_at)
        VALUES (%s, 'running', 'foursquare', now() AT TIME ZONE 'UTC' + interval '1 year')
        """,
        [user],
    )

    run()

    assert imports.starts == {user: [timedelta(0)]}


def test_a_failure_is_stored_though_the_last_success_lies_in_the_future(conn, imports, run):
    [user] = add_users(conn, 1)
    conn.execute(
        "INSERT INTO sync_state (user_id, last_checked_at) VALUES (%s, %s)", [user, FUTURE]
    )
    imports.endings[user] = [OffsetIgnored("it")]

    run()

    assert state(conn, user)[0] == "failing"


# --- the start of a run ---------------------------------------------------------------------------


def test_jobs_that_a_killed_run_left_open_are_closed_though_nobody_is_due(conn, run):
    [user] = add_users(conn, 1)
    conn.execute("UPDATE users SET last_login_at = '2020-01-01'")
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source, lease_token)
        VALUES (%s, 'running', 'foursquare', 7)
        """,
        [user],
    )

    run()

    assert conn.execute("SELECT status FROM import_jobs").fetchall() == [("failed",)]


def test_a_table_that_is_locked_at_the_start_does_not_end_the_night(db, conn, clock, imports, run):
    [user] = add_users(conn, 1)
    other = psycopg.connect(db)
    other.execute("LOCK TABLE sync_runs")
    waits = []

    def wait(inbox, *, until, running):
        if not imports.starts:
            waits.append(until)
            other.rollback()
        return clock.wait(inbox, until=until, running=running)

    summary = run(wait=wait)
    other.close()

    assert (summary.exit_code, summary.synced) == (0, 1)
    assert waits[0] == NOW + timedelta(seconds=10)
    assert imports.starts[user]


# --- what every user would meet -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [
        (PlanExhausted("the plan is used up"), 5, "quota"),
        (ApiGone("the API is gone", sure=True), 69, "away"),
        (ApplicationSuspended("suspended", sure=True), 69, "away"),
        (CertificateRejected("not trusted"), 69, "away"),
    ],
)
def test_what_every_user_would_meet_ends_the_run_after_one(
    conn, imports, run, error, code, outcome
):
    users = add_users(conn, 5)
    for user in users:
        imports.endings[user] = [error] * 9

    summary = run(workers=1)

    assert (summary.exit_code, summary.outcome) == (code, outcome)
    assert list(imports.starts) == users[:1]
    assert [state(conn, user) for user in users] == [None] * 5


def test_an_api_that_is_gone_for_three_users_in_a_row_is_gone_for_all(conn, imports, run):
    users = add_users(conn, 6)
    for user in users:
        imports.endings[user] = [ApiGone("no such page")] * 9

    summary = run(workers=1)

    assert (summary.exit_code, summary.outcome) == (69, "away")
    assert list(imports.starts) == users[:3]


def test_an_api_that_is_gone_for_one_user_is_that_user_s_failure(conn, imports, run):
    one, *_ = add_users(conn, 6)
    imports.endings[one] = [ApiGone("no such page")]

    summary = run(workers=1)

    assert (summary.exit_code, summary.outcome, summary.synced) == (3, "partial", 5)
    assert imports.starts[one] == [timedelta(0)]


def test_an_api_that_is_gone_for_the_only_user_is_away(conn, imports, run):
    [one] = add_users(conn, 1)
    imports.endings[one] = [ApiGone("no such page")]

    assert run().outcome == "away"


def test_a_suspended_account_fails_alone_and_is_not_tried_again(conn, imports, run):
    one, _ = add_users(conn, 2)
    imports.endings[one] = [AccountSuspended("suspended")]

    summary = run()

    assert (summary.exit_code, summary.synced) == (3, 1)
    assert len(imports.starts[one]) == 1


def test_a_database_without_room_for_anybody_is_away(conn, imports, run):
    for user in add_users(conn, 2):
        imports.endings[user] = [DatabaseExhausted("full")] * 9

    assert run().outcome == "away"
