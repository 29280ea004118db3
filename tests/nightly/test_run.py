"""A run on a handed-in clock: starts, retries, pauses, and what it came to."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from checkinsync.errors import (
    AtWork,
    DatabaseAway,
    FoursquareAway,
    Interrupted,
    OffsetIgnored,
    QuotaExceeded,
    RateLimited,
    SettingsError,
    TokenRejected,
)
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.changes import Saved
from checkinsync.nightly import run as nightly
from checkinsync.nightly.plan import RunOptions
from checkinsync.store import leases
from checkinsync.store.pool import transaction
from checkinsync.sync.outcome import Failed, Imported, RetryAt, Skipped
from checkinsync.sync.session import Services
from support.environment import KEYRING, add_users
from support.factories import NOW

MINUTE = timedelta(minutes=1)
DONE = Imported(Saved(new=1), requests=1, seconds=0.5, cursor=NOW)

OPTIONS = RunOptions(
    active_days=30,
    stagger=2 * MINUTE,
    window=timedelta(hours=4),
    workers=4,
    deadline=timedelta(hours=6),
    max_age=None,
    overlap=timedelta(days=14),
    retries=3,
    retry_delay=MINUTE,
)


class Imports:
    """Imports that end as they are told: by user, one ending after the other, then well."""

    def __init__(self, clock, pool=None):
        self.clock = clock
        self.pool = pool
        self.away_until = NOW
        self.endings = defaultdict(list)
        self.starts = defaultdict(list)
        self.lock = threading.Lock()

    def __call__(self, user, *, run_id, hooks):
        hooks.check_stop()
        with self.lock:
            self.starts[user.id].append(self.clock.now() - NOW)
            if self.clock.now() < self.away_until:
                raise FoursquareAway("away")
            ending = self.endings[user.id].pop(0) if self.endings[user.id] else DONE
        if self.pool is not None:
            with transaction(self.pool) as conn:
                conn.execute("SELECT 1")
        if isinstance(ending, Exception):
            raise ending
        return ending


@pytest.fixture
def foursquare(clock):
    """A client that is never used: imports end as they are told."""
    client = Foursquare(
        api_url="http://127.0.0.1:1", token_in="auto", sleep=clock.sleep, now=clock.now
    )
    yield client
    client.close()


@pytest.fixture
def imports(clock):
    return Imports(clock)


@pytest.fixture
def run(pool, lease_renewer, clock, imports, foursquare):
    def run(options=OPTIONS, *, keyring=KEYRING, check_stop=lambda: None, **changes):
        return nightly.run(
            Services(pool, foursquare, keyring, lease_renewer, clock.now),
            options=replace(options, **changes),
            check_stop=check_stop,
            import_one=imports,
            wait=clock.wait,
        )

    return run


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
    """Sessions this database ever had, counted from another one."""
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


def state(conn, user):
    return conn.execute(
        "SELECT state, consecutive_failures FROM sync_state WHERE user_id = %s", [user]
    ).fetchone()
