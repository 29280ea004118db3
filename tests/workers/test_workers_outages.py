"""A database that is really stopped in mid-run, and comes back when a handed-in clock says so."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from checkinsync.embedded import serving
from checkinsync.errors import DatabaseAway
from checkinsync.foursquare.client import Foursquare
from checkinsync.migrations import migrate
from checkinsync.nightly import run as nightly
from checkinsync.shutdown import Shutdown
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import open_pool
from checkinsync.sync.import_user import Imports
from checkinsync.sync.session import Services
from checkinsync.workers import schema
from checkinsync.workers.worker import Pace, hear_errors_only, work
from support.concurrent import server_of
from support.engines import Machines
from support.environment import HandedClock
from support.nightly import MINUTE, OPTIONS
from support.stories import Story, telling

QUICK = Pace(looks=0.02, heartbeat=0.1, dead_after=0.5, tends=0.1, wakes=0.02)


@dataclass
class Outage(HandedClock):
    """The server, and a clock whose pauses end its absence."""

    home: Path
    stack: ExitStack
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    back_at: datetime | None = None

    def start(self) -> str:
        self.back_at = None
        return self.stack.enter_context(serving(self.home, allow_nobody=True, for_tests=True)).url

    def stop(self, *, seconds: float) -> None:
        self.back_at = self.at + timedelta(seconds=seconds)
        os.kill(server_of(self.home), signal.SIGINT)
        while server_of(self.home) is not None:
            time.sleep(0.005)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.look()

    def wait(self, inbox, *, until, running):
        ended = super().wait(inbox, until=until, running=running)
        self.look()
        return ended

    def look(self) -> None:
        if self.back_at is not None and self.at >= self.back_at:
            self.start()


@dataclass
class Place:
    """An installation whose database can be stopped."""

    outage: Outage
    story: Story
    services: Services

    def look(self) -> psycopg.Connection:
        """Connect again: the sessions of the test have been ended, too."""
        self.story.conn.close()
        self.story.conn = psycopg.connect(self.story.url, autocommit=True)
        self.outage.stack.callback(self.story.conn.close)
        return self.story.conn


@pytest.fixture
def place(used_home, tmp_path) -> Iterator[Place]:
    with ExitStack() as stack:
        outage = Outage(used_home, stack)
        url = outage.start()
        migrate.up(url)
        schema.up(url, sleep=time.sleep)
        story = stack.enter_context(telling(tmp_path, url))
        pool = open_pool(url, size=3)
        pool.timeout, pool.reconnect_timeout = 0.3, 0.05  # the driver's; all pauses are handed in
        stack.callback(pool.close)
        renewer = LeaseRenewer(pool)
        stack.callback(renewer.close)
        client = Foursquare(
            api_url=story.simulator.url, token_in="auto", sleep=outage.sleep, now=outage.now
        )
        stack.callback(client.close)
        services = Services(pool, client, story.keyring, renewer, outage.now)
        yield Place(outage, story, services)


def in_one_process(place: Place):
    return nightly.run(
        place.services,
        options=replace(OPTIONS, stagger=0 * MINUTE, workers=2),
        check_stop=lambda: None,
        wait=place.outage.wait,
    )


def machines_of(place: Place) -> Machines:
    machines = Machines(place.story.url, place.story.conn, place.outage, place.services, None)
    for jobs in machines.jobs:
        jobs.imports_of = Imports
    return machines


def on_workers(place: Place):
    machines = machines_of(place)
    run_id = machines.hand_over(stagger=0 * MINUTE)
    turns = itertools.cycle(machines.jobs)
    while (job := machines.take()) is not None:
        next(turns).do(**job)
        machines.conn = place.look()
    return next(turns).runs.summary(run_id)


@pytest.mark.parametrize("engine", [in_one_process, on_workers])
def test_a_database_gone_for_12_and_for_50_seconds_costs_nothing(place, engine):
    people = place.story.people(700, 300, 20)
    began, lasting = place.outage.at, {2: 12, 5: 50}

    def trouble(_) -> None:
        seconds = lasting.pop(len(place.story.simulator.requests), None)
        if seconds:
            place.outage.stop(seconds=seconds)

    place.story.simulator.on_request = trouble
    summary = engine(place)

    place.look()
    assert (summary.outcome, summary.synced, summary.failed) == ("ok", 3, 0)
    assert {report.attempts for report in summary.reports} == {1}
    assert not lasting
    assert place.outage.at - began >= timedelta(seconds=12 + 50)
    assert place.story.complete(*people)


def test_a_run_that_waits_outlasts_50_seconds_without_a_database_but_not_two_minutes(place):
    place.story.people(20)
    machines = machines_of(place)
    run_id = machines.hand_over(stagger=0 * MINUTE)
    runs = machines.jobs[0].runs

    def rarely(seconds: float) -> None:
        place.outage.sleep(10 * seconds)
        if place.outage.back_at is None:
            machines.conn = place.look()
            machines.work()

    place.outage.stop(seconds=50)
    summary = runs.wait(run_id, rarely)

    assert (summary.outcome, summary.synced) == ("ok", 1)
    place.outage.stop(seconds=300)
    began = place.outage.at
    with pytest.raises(DatabaseAway):
        runs.wait(run_id, rarely)
    assert place.outage.at - began == timedelta(seconds=120)


def test_a_worker_asked_to_stop_while_the_database_is_away_leaves_its_user_to_others(place, caplog):
    people = place.story.people(700, 300)
    shutdown = Shutdown()

    def trouble() -> None:
        place.outage.stop(seconds=1)
        shutdown.ask(signal.SIGTERM)

    place.story.at_request(2, trouble)
    machines_of(place).hand_over(stagger=0 * MINUTE)
    with caplog.at_level(logging.ERROR):
        work(place.services, concurrency=2, shutdown=shutdown, pace=QUICK)
    place.outage.start()
    place.look()

    another = Shutdown()
    worker = threading.Thread(
        target=work, args=(place.services,), kwargs={"concurrency": 2, "shutdown": another,
                                                     "pace": QUICK},
    )  # fmt: skip
    worker.start()
    ended = "SELECT synced, failed, outcome FROM sync_runs WHERE outcome <> 'running'"
    place.story.until(lambda: place.story.rows(ended))
    another.ask(signal.SIGTERM)
    worker.join()

    assert caplog.records == []
    assert place.story.rows(ended) == [(2, 0, "ok")]
    assert place.story.complete(*people)


def test_procrastinate_tells_of_errors_but_not_of_a_database_that_is_away(caplog):
    hear_errors_only()

    for error in (DatabaseAway("away"), KeyError("x")):
        logging.getLogger("procrastinate.worker").error("poll error", exc_info=error)
        logging.getLogger("procrastinate.worker.checkinsync").error("lost", exc_info=error)

    assert [type(record.exc_info[1]) for record in caplog.records] == [KeyError, KeyError]
