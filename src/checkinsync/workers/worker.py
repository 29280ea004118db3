"""A worker: takes jobs from the queue and imports their users, until asked to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from procrastinate import App, JobContext
from procrastinate.manager import JobManager
from tenacity import Retrying

from checkinsync.errors import AtWork, CheckinsyncError, DatabaseError, sentence
from checkinsync.model.user import User
from checkinsync.nightly.attempt import Ended, ImportOne, attempt
from checkinsync.shutdown import Shutdown
from checkinsync.sync.import_user import Imports
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks, Services
from checkinsync.workers.queue import QUEUE, TASK, Connector, patience
from checkinsync.workers.shared import Admitted, Closed, SharedRuns, ignore

NAME = "checkinsync"
"""Of the worker in Procrastinate's log."""

SPARE_THREADS = 6
"""Beside those of the imports: for what Procrastinate and `tend` say to the database."""

POOL_SIZE = 3
"""Connections of a worker, at most."""

AGAIN = 5.0
"""Seconds before a worker that broke off begins anew."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a worker does what, in seconds."""

    looks: float = 2.0
    """For jobs that are due."""
    heartbeat: float = 10.0
    dead_after: float = 30.0
    """Without a heartbeat: the worker's jobs are given to others."""
    tends: float = 20.0
    """To the run's lease, its deadline and the jobs of dead workers."""
    wakes: float = 0.25
    """To see whether it was asked to stop."""


PACE = Pace()


def work(
    services: Services,
    *,
    concurrency: int,
    shutdown: Shutdown,
    closed: Closed = ignore,
    alive: Callable[[], None] = lambda: None,
    pace: Pace = PACE,
) -> None:
    """Work until asked to stop; then finish the pages in hand.

    `closed` is called with each run that this worker closes, and its pings' id; `alive` as long as
    it is responsive.
    """
    hear_errors_only()
    patiently = patience(shutdown.sleep, asked=shutdown.asked)
    runs = SharedRuns(services, asked=shutdown.asked)
    jobs = Jobs(services, runs, shutdown, patiently, closed)
    log.info("worker_started", extra={"concurrency": concurrency})
    asyncio.run(_Worker(jobs, concurrency, alive, pace).run())
    log.info("worker_stopped")


def hear_errors_only() -> None:
    """Let Procrastinate log nothing but errors, and none about a database that is away, which we
    tell ourselves."""
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    for name in ("utils", "worker", f"worker.{NAME}"):
        logging.getLogger(f"procrastinate.{name}").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], DatabaseError))


class ImportsOf(Protocol):
    """Return the imports of a run."""

    def __call__(self, services: Services, scope: Nightly, *, in_run: bool) -> ImportOne:
        """See `sync.import_user.Imports`."""


@dataclass(slots=True)
class Jobs:
    """The imports of one process, as jobs of the queue."""

    services: Services
    runs: SharedRuns
    shutdown: Shutdown
    patiently: Retrying
    closed: Closed = ignore
    imports_of: ImportsOf = Imports
    _imports: dict[tuple[Nightly, bool], ImportOne] = field(default_factory=dict)

    def do(self, *, run: int, user: int, turn: int, twin: bool) -> None:
        """Import a user, and let the run know how that ended. `twin`: the job was doubled."""
        admitted = self.patiently(self.runs.admit, run, user, turn)
        if admitted is not None:
            ended, busy = self._attempt(admitted)
            self.patiently(self.runs.end, run, ended, turn=turn, busy=busy and twin)
        self.patiently(self.runs.close_if_done, run, self.closed)

    def tend(self) -> None:
        """Look after the run at work, and close it if nobody else has."""
        self.runs.tend()
        for run_id in self.runs.open_runs():
            self.runs.close_if_done(run_id, self.closed)

    def _attempt(self, admitted: Admitted) -> tuple[Ended, bool]:
        """Import a user; return how that ended, and True if another import was at work."""
        course, busy = admitted.course, False
        key = (Nightly(course.options.overlap), not admitted.doubted)
        if key not in self._imports:
            self._imports[key] = self.imports_of(self.services, key[0], in_run=key[1])
        imports = self._imports[key]

        def import_one(user: User, *, run_id: int, hooks: Hooks) -> Imported:
            nonlocal busy
            try:
                return imports(user, run_id=run_id, hooks=hooks)
            except AtWork:
                busy = True
                raise

        def check_stop() -> None:
            self.shutdown.check()
            course.check_stop()

        def may_scrub() -> bool:
            asked = self.shutdown.asked()
            return not asked and admitted.has_time_to_spare(self.services.now())

        hooks = Hooks(check_stop=check_stop, may_scrub=may_scrub)
        return attempt(admitted.entry, import_one, run_id=course.run_id, hooks=hooks), busy


@dataclass(slots=True)
class _Worker:
    """Procrastinate's worker, and what watches over it."""

    jobs: Jobs
    concurrency: int
    alive: Callable[[], None]
    pace: Pace
    connector: Connector = field(init=False)

    async def run(self) -> None:
        """Work until asked to stop; begin anew where Procrastinate's worker breaks off."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self.concurrency + SPARE_THREADS))
        self.connector = Connector(self.jobs.services.pool, self.jobs.patiently)
        app = App(connector=self.connector)
        app.task(name=TASK, queue=QUEUE, pass_context=True, retry=False)(self._job)
        watch = asyncio.create_task(self._watch(app.job_manager))
        while not watch.done():
            worker = asyncio.create_task(self._procrastinate(app))
            await asyncio.wait({worker, watch}, return_when=asyncio.FIRST_COMPLETED)
            worker.cancel()
            with suppress(asyncio.CancelledError):
                try:
                    await worker
                except Exception as error:  # noqa: BLE001 - of any kind: its jobs are taken up again
                    log.warning("worker_broke_off", extra={"reason": sentence(error)})
            if not watch.done():
                await asyncio.wait({watch}, timeout=AGAIN)
        await watch

    def _job(self, context: JobContext, /, *, twin: bool, **what: int) -> None:
        """A job, in a thread; one given out before had a worker that was taken for dead. One whose
        end can't be told is left to the others."""
        try:
            self.jobs.do(**what, twin=twin or context.job.attempts > 0)
        except DatabaseError as error:
            assert context.job.id is not None
            self.connector.left.add(context.job.id)
            log.info("job_left", extra={"user_id": what["user"], "reason": str(error)})

    async def _watch(self, manager: JobManager) -> None:
        """Tend the run from time to time, until asked to stop."""
        loop = asyncio.get_running_loop()
        next_time, tending = loop.time(), None
        while not self.jobs.shutdown.asked():
            self.alive()
            if loop.time() >= next_time and (tending is None or tending.done()):
                next_time = loop.time() + self.pace.tends
                tending = asyncio.create_task(self._tend(manager))
            await asyncio.sleep(self.pace.wakes)
        if tending is not None:
            await tending

    async def _tend(self, manager: JobManager) -> None:
        """Take the jobs of dead workers up again, and end a run that nobody else ends."""
        try:
            stalled = await manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=self.pace.dead_after
            )
            for job in stalled:
                await manager.retry_job(job)
            await asyncio.to_thread(self.jobs.tend)
        except CheckinsyncError as error:
            log.info("run_not_tended", extra={"reason": sentence(error)})

    async def _procrastinate(self, app: App) -> None:
        await app.run_worker_async(
            queues=[QUEUE],
            name=NAME,
            concurrency=self.concurrency,
            listen_notify=False,  # jobs have start times, which no notification tells
            fetch_job_polling_interval=self.pace.looks,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=self.pace.heartbeat,
            stalled_worker_timeout=self.pace.dead_after,
        )
