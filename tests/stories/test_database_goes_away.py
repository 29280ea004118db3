"""The database is missing, goes away or comes back; and few connections are used."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import psycopg

from checkinsync.embedded import serving
from checkinsync.migrations import migrate
from checkinsync.simulator.faults import Fault
from support.concurrent import server_of
from support.stories import PASSWORD, QUIET, telling

POOL = 5
"""Maximum of connections of a run with four workers."""


def test_without_a_database_a_command_says_so_within_seconds(story):
    nowhere = (f"postgresql://nobody:{PASSWORD}@127.0.0.1:9/none", "host=/nonexistent dbname=none")
    waiting = [
        story.start(*words, database_url=address)
        for address in nowhere
        for words in (("orchestrate",), ("status",))
    ]

    for process in waiting:
        told = process.ended()

        assert (told.code, told.out) == (69, "")
        assert "cannot reach the database" in told.err.splitlines()[0]
        assert told.err.splitlines()[1:] in ([], ['help: docs/runbook.md, "Exit code 69"'])


def test_sessions_that_are_cut_off_in_mid_run_cost_nothing(story):
    people = story.people(800, 600, 400, 200)
    story.simulator.on_request = lambda _: cut_off_at(story, {2, 3, 8})

    night = story.run("orchestrate", "--workers", "2")

    assert night == QUIET
    assert story.complete(*people)
    assert story.rows("SELECT failed, outcome FROM sync_runs") == [(0, "ok")]
    assert not story.rows("SELECT FROM import_jobs WHERE status IN ('pending', 'running')")
    assert story.rows("SELECT DISTINCT state FROM sync_state") == [("ok",)]


def test_sessions_that_are_cut_off_while_pages_are_stored_cost_nothing(story):
    people = story.people(1000, 1000, 1000)
    run = story.start("orchestrate", "--workers", "3")
    story.until(story.requests)  # a run that can not begin says so
    cuts = 0
    while run.popen.poll() is None:
        cuts += cut_off_who_writes(story)
        time.sleep(0.05)
        if cuts > 8:
            break

    assert run.ended() == QUIET
    assert cuts
    assert story.complete(*people)


def test_an_import_by_hand_cut_off_from_the_database_goes_on_next_time(story):
    person = story.person("Ada", 800)
    story.simulator.on_request = lambda _: cut_off_at(story, {2, 3})

    first = story.run("import-user", "Ada")
    story.simulator.on_request = None

    assert first.code in {0, 69}
    assert story.run("import-user", "Ada").code == 0
    assert story.complete(person)


def cut_off_at(story, requests: set[int]) -> None:
    if len(story.simulator.requests) in requests:
        story.conn.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'checkinsync'
            """
        )


def cut_off_who_writes(story) -> int:
    """End the sessions in a transaction that stores check-ins; return their number."""
    return len(
        story.rows(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'checkinsync'
               AND query ILIKE '%checkins%' AND state <> 'idle'
            """
        )
    )


def test_a_server_that_is_stopped_in_mid_run_and_started_again_costs_nothing(home, tmp_path):
    with serving(home, allow_nobody=True, for_tests=True) as running:
        migrate.up(running.url)
        with telling(tmp_path, running.url) as story:
            people = story.people(900, 700, 500)
            story.simulator.fail(Fault("slow", times=None, seconds=0.3))
            run = story.start("-v", "orchestrate", "--workers", "2")
            story.until(lambda: len(story.requests()) >= 3)

            os.kill(server_of(home), signal.SIGINT)
            story.until(partial(gone, home))
            time.sleep(3)
            with serving(home, allow_nobody=True, for_tests=True):
                ended = run.ended()

                story.conn = psycopg.connect(running.url, autocommit=True)
                with story.conn:
                    assert ended.code == 0, ended.err
                    assert "import_crashed" not in ended.err
                    assert story.complete(*people)
                    assert story.rows("SELECT failed, outcome FROM sync_runs") == [(0, "ok")]
                    story.end()


def gone(home) -> bool:
    return server_of(home) is None


def test_a_run_of_forty_users_opens_no_more_sessions_than_its_pool_holds(story, databases):
    people = [story.person(f"Person {number}", 3) for number in range(40)]
    name = story.conn.info.dbname
    before = sessions(databases, name)

    assert story.run("orchestrate", "--stagger", "0s", "--workers", "4") == QUIET

    story.until(lambda: not alive(databases, name))
    assert 1 <= sessions(databases, name) - before <= POOL
    assert story.complete(*people)


def sessions(databases, name: str) -> int:
    """Return the number of sessions ever begun on that database, asked from another one."""
    [count] = databases.administrator.execute(
        "SELECT sessions FROM pg_stat_database WHERE datname = %s", [name]
    ).fetchone()
    return count


def alive(databases, name: str) -> int:
    """Return the number of the program's sessions on that database."""
    [count] = databases.administrator.execute(
        """
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = %s AND application_name = 'checkinsync'
        """,
        [name],
    ).fetchone()
    return count
