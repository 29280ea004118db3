"""The nightly run by either engine: in one process, or as jobs of workers."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from psycopg.rows import dict_row

from checkinsync.shutdown import Shutdown
from checkinsync.sync.session import Services
from checkinsync.workers import schema
from checkinsync.workers.queue import patience
from checkinsync.workers.shared import SharedRuns
from checkinsync.workers.worker import Jobs
from support.environment import KEYRING
from support.nightly import OPTIONS
from support.stories import Done, Story

QUICK = """
import os
from dataclasses import replace
from checkinsync.app import open_app
from checkinsync.cli.worker import closing
from checkinsync.config.settings import read_settings
from checkinsync.shutdown import Shutdown
from checkinsync.workers.worker import POOL_SIZE, Pace, work

shutdown = Shutdown()
shutdown.listen()
pace = Pace(looks=0.1, heartbeat=0.2, dead_after=1.0, tends=0.3, wakes=0.05)
settings = replace(read_settings(os.environ), connections=POOL_SIZE)
with open_app(settings, shutdown) as app, shutdown.gracefully():
    work(app.services, concurrency=2, shutdown=shutdown, closed=closing(app), pace=pace)
"""
"""A worker that takes others for dead after a second."""


# --- on a clock that is handed in -----------------------------------------------------------------


@dataclass
class Machines:
    """Two machines in one process, which take jobs in turn, on a clock that jumps to each start."""

    url: str
    conn: psycopg.Connection
    clock: object
    services: Services
    imports: object
    asked: list[bool] = field(default_factory=lambda: [False, False])

    def __post_init__(self) -> None:
        schema.up(self.url, sleep=lambda _: None)
        self.jobs = [self._machine(number) for number in range(2)]

    def _machine(self, number: int) -> Jobs:
        runs = SharedRuns(self.services, asked=lambda: self.asked[number])
        patiently = patience(self.clock.sleep, asked=lambda: False)
        jobs = Jobs(self.services, runs, Shutdown(), patiently)
        jobs.imports_of = lambda services, scope, in_run: self.imports
        return jobs

    def hand_over(self, options=OPTIONS, on_begun=lambda: None, **changes) -> int:
        return self.jobs[0].runs.hand_over(
            options=replace(options, **changes),
            check_stop=lambda: None,
            on_begun=on_begun,
            wait=self.clock.wait,
        )

    def take(self) -> dict | None:
        """Remove the next job from the queue, and let its time come."""
        with self.conn.transaction(), self.conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SET LOCAL search_path = checkinsync_queue")
            job = cursor.execute(
                """
                DELETE FROM checkinsync_queue.procrastinate_jobs
                 WHERE id = (SELECT id FROM checkinsync_queue.procrastinate_jobs
                              ORDER BY greatest(scheduled_at, %(now)s), priority DESC, id LIMIT 1)
                RETURNING args, scheduled_at
                """,
                {"now": self.clock.now()},
            ).fetchone()
        if job is None:
            return None
        self.clock.at = max(self.clock.at, job["scheduled_at"])
        return job["args"]

    def work(self) -> None:
        """Do all jobs, one machine after the other."""
        for jobs in itertools.cycle(self.jobs):
            job = self.take()
            if job is None:
                break
            jobs.do(**job)

    def run(self, options=OPTIONS, **changes):
        run_id = self.hand_over(options, **changes)
        self.jobs[0].tend()
        self.work()
        self.jobs[1].tend()
        return self.jobs[0].runs.summary(run_id)


@pytest.fixture
def machines(db, conn, pool, lease_renewer, clock, imports, foursquare) -> Machines:
    services = Services(pool, foursquare, KEYRING, lease_renewer, clock.now)
    return Machines(db, conn, clock, services, imports)


@pytest.fixture(params=["embedded", "procrastinate"])
def either(request):
    """A run by either engine, as `run` and `Machines.run`."""
    if request.param == "embedded":
        return request.getfixturevalue("run")
    return request.getfixturevalue("machines").run


# --- real processes -------------------------------------------------------------------------------


class Embedded:
    """One process."""

    name = "embedded"

    def __init__(self, story: Story) -> None:
        self.story = story

    def begin(self) -> None:
        self.process = self.story.start("orchestrate", "--workers", "2")

    def another(self) -> None:
        """Take over from a process that is dead or asleep: by the next start."""
        self.process = self.story.start("orchestrate", "--workers", "2")

    def ended(self) -> Done:
        return self.process.ended()


class OnWorkers:
    """Two workers and a run that is waited for."""

    name = "procrastinate"

    def __init__(self, story: Story) -> None:
        self.story = story
        schema.up(story.url, sleep=lambda _: None)

    def begin(self) -> None:
        self.another()
        self.run = self.story.start("orchestrate", "--engine", "procrastinate", "--wait")

    def another(self) -> None:
        self.process = self.story.start_program([sys.executable, "-W", "error", "-c", QUICK])

    def ended(self) -> Done:
        done = self.run.ended()
        self.process.signal(signal.SIGTERM)
        assert self.process.ended().code == 0
        return done


ENGINES = {engine.name: engine for engine in (Embedded, OnWorkers)}


@pytest.fixture(params=list(ENGINES))
def engine(request, story) -> Iterator[Embedded | OnWorkers]:
    """A whole installation with either engine."""
    return ENGINES[request.param](story)
