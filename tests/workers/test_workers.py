"""Workers as an operator runs them: started, stopped, counted, behind a pooler."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import requires
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest
from psycopg.conninfo import conninfo_to_dict

from checkinsync.cli.migrate import QUEUE
from checkinsync.doctor import looks
from checkinsync.doctor.findings import Pooling
from checkinsync.errors import MissingExtra, SchemaBehind
from checkinsync.store.pool import transaction
from checkinsync.workers import queries, require, schema
from support.engines import QUICK
from support.pooler import pooled
from support.receiver import receiving
from support.stories import QUIET
from support.terminal import shown

CONTRIB = Path(__file__).parents[2] / "contrib"

POOL = 3
"""Connections of a worker at most."""


def no_sleep(_: float) -> None: ...


def test_migrate_tells_of_the_queue_s_tables_makes_them_and_is_then_quiet(story):
    plan, check = story.run("migrate", "--plan"), story.run("migrate", "--check")
    behind = story.run("orchestrate", "--engine", "procrastinate")

    assert f"-- pending: Procrastinate's schema.sql, in the schema {QUEUE}" in plan.out
    assert (check.code, behind.code) == (6, 6)
    assert story.run("migrate").out.count("Procrastinate's schema.sql") == 1
    assert "Procrastinate" not in story.run("migrate").out
    assert story.run("migrate", "--check").code == 0
    schemas = story.rows("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ 'procrast'")
    assert schemas == [(QUEUE,)]


def test_tables_of_an_older_procrastinate_are_brought_up_to_date(db, conn):
    queries.create_schema(conn)  # as before its first version
    files = schema.pending(db)

    assert schema.up(db, sleep=no_sleep) == files == sorted(files)

    assert len(files) > 30
    assert schema.pending(db) == []
    columns = """
        SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = 'checkinsync_queue' ORDER BY 1, 2
    """
    grown = conn.execute(columns).fetchall()
    conn.execute("DROP SCHEMA checkinsync_queue CASCADE")
    assert schema.up(db, sleep=no_sleep) == ["schema.sql"]
    assert conn.execute(columns).fetchall() == grown


def test_without_the_tables_a_worker_says_what_makes_them(pool):
    with pytest.raises(SchemaBehind, match="checkinsync migrate"):
        schema.check(pool)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "procrastinate"]:
        monkeypatch.delitem(sys.modules, name)

    with pytest.raises(MissingExtra, match=r"pip install 'checkinsync\[scale\]'"):
        require()


def test_the_doctor_says_how_workers_find_their_jobs(db, conn):
    assert list(looks.workers_queue(conn, Pooling.NONE)) == []
    schema.up(db, sleep=no_sleep)

    [direct] = looks.workers_queue(conn, Pooling.NONE)
    [pooled] = looks.workers_queue(conn, Pooling.TRANSACTION)

    assert "every 2 s" in direct.says
    assert "through the pooler" in pooled.says


def test_workers_come_and_go_in_mid_run(story):
    schema.up(story.url, sleep=no_sleep)
    people = [story.person(f"Person {number}", 20) for number in range(24)]
    first = quick(story)
    leaving = []
    story.at_request(9, lambda: leaving.append(first.signal(signal.SIGTERM)))
    run = story.start("orchestrate", "--engine", "procrastinate", "--wait")
    story.until(lambda: leaving)
    story.simulator.on_request = None
    assert first.ended().code == 0
    done = len(story.rows("SELECT FROM sync_state WHERE last_checked_at IS NOT NULL"))

    second = quick(story)

    assert run.ended() == QUIET
    assert 0 < done < len(people)
    assert story.complete(*people)
    assert story.rows("SELECT due, synced, outcome FROM sync_runs") == [(24, 24, "ok")]
    assert story.rows("SELECT count(*) FROM import_jobs WHERE status = 'completed'") == [(24,)]
    second.signal(signal.SIGTERM)
    assert second.ended() == QUIET


def test_a_worker_opens_three_sessions_and_keeps_them_from_night_to_night(story, databases):
    schema.up(story.url, sleep=no_sleep)
    for number in range(16):
        story.person(f"Person {number}", 5)
    totals, alive = [sessions(databases, story)], []
    worker = quick(story)

    for _ in range(2):
        assert story.run("orchestrate", "--engine", "procrastinate", "--wait") == QUIET
        story.until(lambda: len(story.rows(PROCESSES)) <= POOL)  # the run's own are just ending
        alive.append(story.rows(PROCESSES))
        totals.append(sessions(databases, story))

    worker.signal(signal.SIGTERM)
    assert worker.ended() == QUIET
    assert [len(each) for each in alive] == [POOL, POOL]
    assert alive[0] == alive[1]
    start, first, second = totals
    by_the_run = second - first
    assert first - start == POOL + by_the_run


PROCESSES = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'checkinsync' ORDER BY 1
"""


def quick(story):
    return story.start_program([sys.executable, "-W", "error", "-c", QUICK])


def sessions(databases, story) -> int:
    name = conninfo_to_dict(story.url)["dbname"]
    [count] = databases.administrator.execute(
        "SELECT sessions FROM pg_stat_database WHERE datname = %s", [name]
    ).fetchone()
    return count


def test_workers_work_through_a_pooler_in_transaction_mode(story):
    schema.up(story.url, sleep=no_sleep)
    people = story.people(300, 20)
    with pooled(story.url, transactional=True) as url:
        story.environ["CHECKINSYNC_DATABASE_URL"] = url
        worker = quick(story)
        run = story.run("orchestrate", "--engine", "procrastinate", "--wait")
        worker.signal(signal.SIGTERM)
        assert worker.ended() == QUIET

    assert run == QUIET
    assert story.complete(*people)


def test_procrastinate_s_names_are_looked_up_in_the_queue_s_schema_only(pool, db, conn):
    schema.up(db, sleep=no_sleep)
    conn.execute("CREATE TABLE procrastinate_jobs (application_s_own int)")

    with transaction(pool) as own:
        [row] = queries.answer(own, "SELECT count(id) AS jobs FROM procrastinate_jobs", {})
    assert row == {"jobs": 0}


def test_a_worker_tells_systemd_that_it_is_ready_alive_and_stopping(story, tmp_path):
    schema.up(story.url, sleep=no_sleep)
    story.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    with socket(AF_UNIX, SOCK_DGRAM) as systemd:
        systemd.bind(story.environ["NOTIFY_SOCKET"])
        systemd.settimeout(30)
        worker = story.start("worker")
        told = [systemd.recv(100), systemd.recv(100)]
        worker.signal(signal.SIGTERM)
        while told[-1] == b"WATCHDOG=1":
            told.append(systemd.recv(100))

        assert worker.ended() == QUIET
    assert (told[0], told[1], told[-1]) == (b"READY=1", b"WATCHDOG=1", b"STOPPING=1")


def test_the_unit_of_a_worker_is_as_strict_as_that_of_the_run():
    run, worker = (
        (CONTRIB / name).read_text(encoding="utf-8")
        for name in ("checkinsync.service", "checkinsync-worker.service")
    )
    hardening = run.partition("# It needs the network")[2]

    assert hardening
    assert hardening in worker
    assert {"Type=notify", "Restart=always", "WatchdogSec=2min"} <= set(worker.splitlines())
    assert "ExecStart=/opt/checkinsync/bin/checkinsync -v worker --concurrency 4" in worker


def test_the_plain_installation_does_not_install_procrastinate():
    needed = [text for text in requires("checkinsync") if "procrastinate" in text]

    assert needed
    assert all("extra ==" in text for text in needed)


def test_a_shared_run_is_watched_to_its_end_and_told_by_one_pair_of_pings(story):
    schema.up(story.url, sleep=no_sleep)
    people = story.people(20, 5)
    with receiving() as receiver:
        story.environ["CHECKINSYNC_PING_URL"] = f"{receiver.url}/check"
        worker = quick(story)
        assert story.run("orchestrate", "--engine", "procrastinate", "--stagger", "1h") == QUIET
        with shown(story, "status", "--watch") as screen:
            story.until(lambda: "next: " in screen.text)
            story.conn.execute(
                """
                SET search_path = public, checkinsync_queue;  -- its triggers name no schema
                UPDATE procrastinate_jobs SET scheduled_at = now()
                """
            )
            code = screen.ended()
        worker.signal(signal.SIGTERM)
        worker.ended()

    last = screen.raw.rpartition("\x1b[2J")[2]
    assert code == 0
    assert "run 1 at work since " in screen.text
    assert "at work" not in last
    assert "2 users: 2 ok" in last
    assert receiver.paths() == ["/check/start", "/check"]
    assert len({taken.query["rid"] for taken in receiver.taken}) == 1
    assert story.complete(*people)


def test_a_run_that_can_t_be_handed_over_is_told_by_its_notices(story):
    with receiving() as receiver:
        story.environ["CHECKINSYNC_PING_URL"] = f"{receiver.url}/check"
        told = story.run("orchestrate", "--engine", "procrastinate")

    assert told.code == 6
    assert receiver.paths() == ["/check/fail"]
