"""What a run promises, by either engine: in one process, or shared by workers."""

from __future__ import annotations

import signal
from datetime import timedelta

from checkinsync.errors import (
    ApiGone,
    DatabaseBusy,
    FoursquareAway,
    QuotaExceeded,
    RateLimited,
    TokenRejected,
)
from checkinsync.sync.outcome import Failed, Imported, RetryAt, Skipped
from support.environment import add_users
from support.factories import NOW
from support.nightly import DONE, MINUTE
from support.stories import QUIET

HOUR = timedelta(hours=1)


def outcomes(summary):
    return {report.user.id: report.outcome for report in summary.reports}


# --- on a clock that is handed in -----------------------------------------------------------------


def test_users_start_in_their_slots_and_all_are_imported(conn, imports, either):
    one, two, three = add_users(conn, 3)

    summary = either()

    assert (summary.outcome, summary.exit_code, summary.synced) == ("ok", 0, 3)
    assert imports.starts == {one: [0 * MINUTE], two: [2 * MINUTE], three: [4 * MINUTE]}
    assert summary.saved.new == 3
    stored = conn.execute("SELECT due, synced, failed, new, outcome FROM sync_runs").fetchall()
    assert stored == [(3, 3, 0, 3, "ok")]


def test_a_failure_is_tried_again_by_one_policy_and_told_once(conn, imports, either):
    one, two = add_users(conn, 2)
    imports.endings[one] = [DatabaseBusy("busy"), DatabaseBusy("busy")]
    imports.endings[two] = [DatabaseBusy("busy")] * 4

    summary = either()

    first, second, third = imports.starts[one]
    assert MINUTE <= second - first <= 1.05 * MINUTE
    assert 2 * MINUTE <= third - second <= 2.05 * MINUTE
    assert isinstance(outcomes(summary)[one], Imported)
    assert isinstance(outcomes(summary)[two], Failed)
    assert {report.attempts for report in summary.reports} == {3, 4}
    assert (summary.outcome, summary.exit_code) == ("partial", 3)
    failing = conn.execute("SELECT user_id, consecutive_failures FROM sync_state").fetchall()
    assert failing == [(two, 1)]


def test_a_rate_limit_uses_up_no_retry_and_may_outlast_the_run(conn, imports, either):
    one, two = add_users(conn, 2)
    imports.endings[one] = [RateLimited("limit", until=NOW + 40 * MINUTE)] * 2 + [DONE]
    imports.endings[two] = [RateLimited("limit", until=NOW + 7 * HOUR)]

    summary = either(retries=0)

    assert imports.starts[one] == [0 * MINUTE, 40 * MINUTE, 40 * MINUTE]
    assert outcomes(summary)[two] == RetryAt(NOW + 7 * HOUR, "limit")
    assert (summary.outcome, summary.exit_code) == ("rate_limited", 5)


def test_the_daily_quota_ends_the_run_for_everybody(conn, imports, either):
    users = add_users(conn, 5)
    imports.endings[users[1]] = [QuotaExceeded("quota")]

    summary = either()

    assert sum(map(len, imports.starts.values())) == 2
    assert (summary.outcome, summary.exit_code) == ("quota", 5)
    assert isinstance(outcomes(summary)[users[4]], Skipped)


def test_an_api_that_is_gone_for_three_users_ends_the_run(conn, imports, either):
    users = add_users(conn, 9)
    for user in users:
        imports.endings[user] = [ApiGone("gone")]

    summary = either()

    assert summary.exit_code == 69
    assert sum(map(len, imports.starts.values())) == 3


def test_three_users_without_an_answer_pause_the_starts_until_it_is_back(conn, imports, either):
    add_users(conn, 12)
    imports.away_until = NOW + 9 * MINUTE

    summary = either(retries=0)

    assert (summary.exit_code, summary.synced) == (0, 12)


def test_no_retry_is_used_up_while_foursquare_is_away(conn, imports, either):
    add_users(conn, 6)
    imports.away_until = NOW + 20 * MINUTE

    summary = either(retries=1)

    assert (summary.synced, summary.exit_code) == (6, 0)
    assert sum(map(len, imports.starts.values())) < 25


def test_a_foursquare_that_stays_away_ends_the_run(conn, imports, either):
    add_users(conn, 6)
    imports.away_until = NOW + 12 * HOUR

    summary = either()

    assert (summary.outcome, summary.exit_code, summary.synced) == ("away", 69, 0)
    assert sum(map(len, imports.starts.values())) < 25


def test_a_dead_token_is_told_and_not_asked_again(conn, imports, either):
    users = add_users(conn, 3)
    imports.endings[users[2]] = [TokenRejected("log in again")]

    summary = either()

    assert (summary.outcome, summary.exit_code, summary.failed) == ("partial", 3, 1)
    assert conn.execute(
        "SELECT user_id, state FROM sync_state WHERE state = 'needs_reauth'"
    ).fetchall() == [(users[2], "needs_reauth")]
    later = either()
    assert (later.due, later.exit_code) == (2, 0)


def test_a_doubted_token_is_asked_again_after_the_others(conn, imports, either):
    [one, *_] = add_users(conn, 3)
    doubt = TokenRejected("log in again")
    doubt.sure = False
    imports.endings[one] = [doubt, DONE]

    summary = either()

    assert summary.synced == 3
    assert imports.starts[one] == [0 * MINUTE, 4 * MINUTE]


def test_an_unforeseen_error_is_that_user_s_alone(conn, imports, either):
    [one, _] = add_users(conn, 2)
    imports.endings[one] = [KeyError("x")]

    summary = either()

    assert (summary.failed, summary.synced, summary.exit_code) == (1, 1, 3)
    [reason] = conn.execute("SELECT reason FROM sync_state WHERE user_id = %s", [one]).fetchone()
    assert reason == "unexpected error (KeyError); the log has more"


def test_without_anybody_who_is_due_the_run_is_over_at_once(either):
    summary = either()

    assert (summary.due, summary.outcome, summary.exit_code) == (0, "ok", 0)


def test_the_deadline_ends_the_run(conn, imports, either):
    users = add_users(conn, 4)
    imports.endings[users[0]] = [FoursquareAway("away")] * 9

    summary = either(deadline=5 * MINUTE, retries=9, retry_delay=4 * MINUTE)

    assert (summary.outcome, summary.exit_code, summary.synced) == ("partial", 3, 2)
    skipped = [o.reason for o in outcomes(summary).values() if isinstance(o, Skipped)]
    assert skipped
    assert all("deadline" in reason for reason in skipped)


# --- real processes -------------------------------------------------------------------------------


def test_a_process_killed_in_mid_page_is_followed_by_another(story, engine):
    people = story.people(700, 20, 300)
    story.at_request(3, lambda: engine.process.signal(signal.SIGKILL))

    engine.begin()
    engine.process.popen.wait(30)
    story.simulator.on_request = None
    engine.another()

    assert engine.ended() == QUIET
    assert story.complete(*people)
    assert story.rows("SELECT outcome FROM sync_runs ORDER BY id DESC LIMIT 1") == [("ok",)]
    assert not story.rows("SELECT FROM import_jobs WHERE status IN ('pending', 'running')")


def test_a_process_that_slept_through_its_leases_doubles_nothing(story, engine):
    people = story.people(700)
    asleep = []
    story.at_request(1, lambda: asleep.append(engine.process.signal(signal.SIGSTOP)))

    engine.begin()
    story.until(lambda: asleep)
    story.simulator.on_request = None
    sleeper = engine.process
    story.conn.execute(
        """
        UPDATE import_leases SET owner = 'elsewhere/0/0 1 1', expires_at = now() - interval '1 s'
         WHERE user_id > 0 OR owner <> 'workers'
        """
    )
    engine.another()
    story.until(lambda: story.complete(*people))
    sleeper.signal(signal.SIGCONT)

    assert engine.ended().code == 0
    sleeper.signal(signal.SIGTERM)
    sleeper.ended()
    assert story.complete(*people)


def test_the_second_of_two_runs_leaves_the_first_alone(story, engine):
    people = story.people(300, 20)
    begun = []
    story.at_request(1, lambda: begun.append(engine.process.signal(signal.SIGSTOP)))
    engine.begin()
    story.until(lambda: begun)
    story.simulator.on_request = None

    words = ("orchestrate", "--engine", engine.name)
    second = story.run(*words)

    assert second.code == 75
    assert "another run is at work" in second.err
    engine.process.signal(signal.SIGCONT)
    assert engine.ended() == QUIET
    assert story.complete(*people)


def test_sessions_that_are_cut_off_cost_nothing(story, engine):
    people = story.people(300, 200, 20)

    def cut(_) -> None:
        if len(story.requests()) in {2, 3, 5}:
            story.conn.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'checkinsync'
                """
            )

    story.simulator.on_request = cut
    engine.begin()

    assert engine.ended().code == 0
    assert story.complete(*people)
    assert story.rows("SELECT failed, outcome FROM sync_runs") == [(0, "ok")]
