"""A run that machines share: jobs done twice, machines that die or stop, one state for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import pytest
from procrastinate.jobs import Status
from procrastinate.manager import JobManager

from checkinsync import errors
from checkinsync.errors import AtWork, FoursquareAway, Interrupted, RateLimited, TokenRejected
from checkinsync.foursquare.responses import InvalidAuth
from checkinsync.model.changes import Saved
from checkinsync.nightly.course import LATE
from checkinsync.store import shared_runs
from checkinsync.store.pool import open_pool, transaction
from checkinsync.sync.outcome import Failed, Imported, RetryAt, Skipped
from checkinsync.workers import handover, schema
from checkinsync.workers.queue import Connector, patience
from checkinsync.workers.stored import StoredError, StoredOutcome, from_json, to_json
from support.environment import add_users
from support.factories import NOW
from support.nightly import DONE, MINUTE


def outcome(conn, run_id: int) -> str:
    return conn.execute("SELECT outcome FROM sync_runs WHERE id = %s", [run_id]).fetchone()[0]


def queued(conn) -> int:
    return conn.execute("SELECT count(*) FROM checkinsync_queue.procrastinate_jobs").fetchone()[0]


def test_a_job_that_is_done_twice_imports_once(conn, machines, imports):
    [one] = add_users(conn, 1)
    run_id = machines.hand_over()
    job = machines.take()

    for jobs in machines.jobs:
        jobs.do(**job)

    assert len(imports.starts[one]) == 1
    assert outcome(conn, run_id) == "ok"


def test_the_twin_of_a_job_at_work_waits_and_does_not_tell_it_skipped(conn, machines, imports):
    [one] = add_users(conn, 1)
    run_id = machines.hand_over()
    job = machines.take()
    seen = []

    def meanwhile(hooks):
        machines.jobs[1].do(**{**job, "twin": True})
        seen.append((outcome(conn, run_id), queued(conn)))
        return DONE

    imports.endings[one] = [meanwhile, AtWork("another import of this user is at work")]
    machines.jobs[0].do(**job)

    assert seen == [("running", 1)]
    assert outcome(conn, run_id) == "ok"
    machines.work()
    assert len(imports.starts[one]) == 2


def test_a_user_whom_another_import_is_at_work_on_is_skipped_as_in_one_process(
    conn, machines, imports
):
    [one] = add_users(conn, 1)
    imports.endings[one] = [AtWork("another import of this user is at work")]

    summary = machines.run()

    assert [type(report.outcome) for report in summary.reports] == [Skipped]


def test_if_the_worker_that_ended_the_last_import_dies_the_next_one_closes_the_run(conn, machines):
    add_users(conn, 1)
    run_id = machines.hand_over()
    closed = []
    dying, other = machines.jobs
    dying.closed = lambda summary, rid: 1 / 0
    other.closed = lambda summary, rid: closed.append(summary)

    with pytest.raises(ZeroDivisionError):
        dying.do(**machines.take())
    other.tend()
    assert closed == []  # it may be at it still

    conn.execute("UPDATE checkinsync_queue.runs SET closing_until = now() - interval '1 s'")
    other.tend()
    assert [summary.outcome for summary in closed] == ["ok"]
    assert other.runs.open_runs() == []
    assert outcome(conn, run_id) == "ok"
    other.tend()
    assert len(closed) == 1


def test_a_worker_that_is_asked_to_stop_gives_its_user_back_with_all_retries(
    conn, machines, imports
):
    [one] = add_users(conn, 1)
    machines.hand_over(retries=0)
    stop = Interrupted("interrupted by SIGTERM")
    imports.endings[one] = [lambda hooks: (_ for _ in ()).throw(stop), DONE]
    machines.asked[0] = True
    machines.jobs[0].do(**machines.take())

    machines.asked[0] = False
    machines.work()

    [run_id] = [row[0] for row in conn.execute("SELECT id FROM sync_runs")]
    summary = machines.jobs[1].runs.summary(run_id)
    assert (summary.synced, summary.outcome, summary.reports[0].attempts) == (1, "ok", 1)


def test_what_one_machine_learns_of_foursquare_holds_for_the_other(conn, machines, imports):
    users = add_users(conn, 5)
    machines.hand_over(retries=0)
    for number, user in enumerate(users[:3]):
        imports.endings[user] = [FoursquareAway("away")]
        machines.jobs[number % 2].do(**machines.take())
    assert sum(map(len, imports.starts.values())) == 3

    job = machines.take()
    machines.clock.at = NOW + 4 * MINUTE  # before the next probe
    machines.jobs[0].do(**job)

    assert sum(map(len, imports.starts.values())) == 3
    machines.work()
    [synced] = conn.execute("SELECT synced FROM sync_runs").fetchone()
    assert synced == 5


def test_a_run_is_kept_by_its_workers_and_another_begins_when_there_are_none(conn, machines):
    add_users(conn, 2)
    first = machines.hand_over()
    machines.jobs[0].tend()
    with pytest.raises(AtWork):
        machines.hand_over()

    conn.execute("UPDATE import_leases SET expires_at = now() - interval '1 s'")
    second = machines.hand_over()
    machines.work()

    assert [outcome(conn, run) for run in (first, second)] == ["killed", "ok"]


def test_a_worker_that_looks_after_a_run_just_closed_does_not_revive_its_lease(conn, machines):
    add_users(conn, 1)
    first = machines.hand_over()
    machines.work()

    with transaction(machines.services.pool) as own:
        assert not shared_runs.renew(own, first)

    second = machines.hand_over()
    machines.work()
    assert [outcome(conn, run) for run in (first, second)] == ["ok", "ok"]


def test_a_run_of_one_process_takes_over_from_workers_that_are_gone(conn, machines, run):
    add_users(conn, 2)
    first = machines.hand_over()
    conn.execute("UPDATE import_leases SET expires_at = now() - interval '1 s'")

    assert run().synced == 2

    machines.jobs[0].tend()
    machines.work()
    assert outcome(conn, first) == "killed"
    assert machines.jobs[0].runs.open_runs() == []


def test_after_the_deadline_an_import_that_never_came_back_counts_as_lost(conn, machines):
    add_users(conn, 2)
    run_id = machines.hand_over(deadline=5 * MINUTE)
    lost = machines.take()
    machines.jobs[0].runs.admit(lost["run"], lost["user"], lost["turn"])  # and dies

    machines.clock.at = NOW + 6 * MINUTE
    machines.jobs[1].tend()
    assert outcome(conn, run_id) == "running"

    machines.clock.at = NOW + 16 * MINUTE
    machines.jobs[1].tend()
    summary = machines.jobs[1].runs.summary(run_id)
    assert (summary.outcome, summary.due, summary.skipped) == ("partial", 2, 2)


def test_a_user_removed_in_mid_run_is_skipped(conn, machines, imports):
    users = add_users(conn, 2)
    machines.hand_over()
    conn.execute("DELETE FROM users WHERE id = %s", [users[1]])
    imports.endings[users[1]] = [errors.UserRemoved("removed")]

    machines.work()

    assert conn.execute("SELECT synced, skipped FROM sync_runs").fetchone() == (1, 1)


def test_a_token_renewed_in_mid_run_is_not_taken_for_the_dead_one(conn, machines, imports):
    users = add_users(conn, 3)
    imports.endings[users[2]] = [TokenRejected("log in again")]
    run_id = machines.hand_over()
    conn.execute(
        "UPDATE users SET access_token_encrypted = access_token_encrypted || '00' WHERE id = %s",
        [users[2]],
    )
    machines.work()

    [(hash_,)] = conn.execute(
        "SELECT rejected_token_sha256 FROM sync_state WHERE state = 'needs_reauth'"
    ).fetchall()
    [current] = conn.execute(
        "SELECT sha256(convert_to(access_token_encrypted, 'UTF8')) FROM users WHERE id = %s",
        [users[2]],
    ).fetchone()
    assert hash_ != current
    assert outcome(conn, run_id) == "partial"


def test_no_queueing_lock_is_used_and_the_queue_is_empty_after_a_run(conn, pool, machines):
    add_users(conn, 3)
    run_id = machines.hand_over()
    locks = conn.execute(
        "SELECT lock, queueing_lock, queue_name FROM checkinsync_queue.procrastinate_jobs"
    ).fetchall()
    machines.work()

    assert {row[1:] for row in locks} == {(None, "checkinsync")}
    assert {row[0].partition(":")[0] for row in locks} == {"user"}
    with transaction(pool) as own:
        assert own.execute(
            "SELECT count(*) FROM checkinsync_queue.procrastinate_jobs"
        ).fetchone() == (0,)
    assert outcome(conn, run_id) == "ok"


@pytest.mark.parametrize(
    "value",
    [
        Imported(Saved(new=2), requests=3, seconds=0.5, cursor=NOW),
        Imported(Saved(), requests=1, seconds=0.5, cursor=None),
        Skipped("paused"),
        RetryAt(NOW, "limit"),
    ],
)
def test_outcomes_are_what_they_were(value):
    stored = StoredOutcome.of(value, 3)

    assert from_json(to_json(stored), StoredOutcome) == stored
    assert stored.outcome() == value


@pytest.mark.parametrize(
    "error",
    [
        TokenRejected("log in again"),
        errors.ApiGone("gone", status=410, sure=True),
        Interrupted("stopped", exit_code=3),
        errors.WrongEncryptionKey(),
        RateLimited("limit", until=NOW),
        KeyError("a secret"),
    ],
)
def test_errors_are_what_they_were_but_for_the_text_of_those_that_are_not_ours(error):
    stored = from_json(to_json(StoredOutcome.of(Failed(error), 1)), StoredOutcome).outcome()

    assert type(stored.error).__name__ == type(error).__name__
    assert getattr(stored.error, "exit_code", None) == getattr(error, "exit_code", None)
    assert getattr(stored.error, "sure", None) == getattr(error, "sure", None)
    assert errors.sentence(stored.error) == errors.sentence(error)
    assert "secret" not in str(StoredError.of(error))


def test_an_error_that_only_the_client_knows_is_stored_as_what_it_is_a_kind_of():
    stored = StoredError.of(InvalidAuth("log in again")).error()

    assert type(stored) is TokenRejected
    assert (str(stored), stored.sure) == ("log in again", True)


def test_a_long_plan_is_queued_in_parts_in_its_order(conn, machines, imports, monkeypatch):
    monkeypatch.setattr(handover, "PART", 3)
    users = add_users(conn, 8)
    run_id = machines.hand_over(stagger=0 * MINUTE)
    lengths = []

    while job := machines.take():
        lengths.append(queued(conn))
        machines.jobs[0].do(**job)
        if not queued(conn):
            machines.jobs[1].tend()

    assert list(imports.starts) == users
    assert max(lengths) == 2
    assert outcome(conn, run_id) == "ok"


def test_a_run_that_ends_early_skips_those_who_were_not_queued_yet(
    conn, machines, imports, monkeypatch
):
    monkeypatch.setattr(handover, "PART", 2)
    users = add_users(conn, 6)
    imports.endings[users[0]] = [errors.QuotaExceeded("quota")]

    summary = machines.run(stagger=0 * MINUTE)

    assert (summary.outcome, summary.due, summary.skipped) == ("quota", 6, 6)
    assert list(imports.starts) == users[:1]
    assert queued(conn) == 0


def test_a_run_whose_lease_was_lost_while_it_was_planned_hands_nothing_over(conn, machines):
    add_users(conn, 2)

    def another_begins() -> None:
        conn.execute("UPDATE import_leases SET token = token + 1 WHERE user_id = 0")

    with pytest.raises(errors.LeaseLost, match="nothing was handed over"):
        machines.hand_over(on_begun=another_begins)

    assert queued(conn) == 0
    assert machines.jobs[0].runs.open_runs() == []


def test_the_end_of_a_job_that_another_worker_has_ended_is_no_error(db, pool):
    schema.up(db, sleep=lambda _: None)
    patiently = patience(lambda _: None, asked=lambda: False)
    jobs = JobManager(Connector(pool, patiently))

    asyncio.run(jobs.finish_job_by_id_async(1, Status.SUCCEEDED, delete_job=True))


FIRST_SEEN = """
from checkinsync.workers import loading
from checkinsync.model.changes import Saved
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.outages import CircuitBreaker, Outages, Patience
from checkinsync.nightly.plan import RunOptions

kinds = (Saved, Circumstances, CircuitBreaker, Outages, Patience, RunOptions)
print([kind.__name__ for kind in kinds if not hasattr(kind, "__msgspec_cache__")])
"""


def test_no_thread_is_the_first_to_convert_into_a_type():
    """Two that are so at a time crash the process."""
    told = subprocess.run([sys.executable, "-c", FIRST_SEEN], capture_output=True, check=True)

    assert told.stdout == b"[]\n"


def test_an_import_is_told_if_it_may_scrub_without_a_second_connection(db, conn, machines, imports):
    """A worker has three for all its imports, and a page is being stored while it asks."""
    users = add_users(conn, 3)
    alone = open_pool(db, size=1)
    machines.services = replace(machines.services, pool=alone)
    machines.__post_init__()
    told = []

    def ask(hooks):
        with transaction(alone):
            told.append(hooks.may_scrub())
        machines.clock.at += LATE
        return DONE

    for user in users:
        imports.endings[user] = [ask]
    try:
        summary = machines.run(stagger=0 * MINUTE)
    finally:
        alone.close()

    assert summary.synced == 3
    assert told == [True, False, True]  # nobody waits for the last
