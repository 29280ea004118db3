"""A worker: takes jobs from the queue and imports their users, until asked to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from procrastinate import App, JobContext
from procrastinate.manager import JobManager
from tenacity import Retrying

from checkinsync.errors import AtWork, CheckinsyncError, DatabaseError, sentence
from checkinsync.nightly.attempt import Ended, ImportOne, attempt
from checkinsync.nightly.summary import RunSummary
from checkinsync.shutdown import Shutdown
from checkinsync.sync.import_user import Imports
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks, Services
from checkinsync.workers.queue import QUEUE, TASK, Connector, patience
from checkinsync.workers.shared import Admitted, SharedRuns

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
    closed: Callable[[RunSummary], None] = lambda _: None,
    alive: Callable[[], None] = lambda: None,
    pace: Pace = PACE,
) -> None:
    """Work until asked to stop; then finish the pages in hand.

    `closed` is called with each run that this worker closes; `alive` as long as it is responsive.
    """
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    patiently = patience(shutdown.sleep, asked=shutdown.asked)
    runs = SharedRuns(services, asked=shutdown.asked)
    worker = _Worker(services, runs, shutdown, patiently, closed)
    log.info("worker_started", extra={"concurrency": concurrency})
    asyncio.run(worker.run(concurrency, alive, pace))
    log.info("worker_stopped")


@dataclass(slots=True)
class _Worker:
    """A worker's collaborators."""

    services: Services
    runs: SharedRuns
    shutdown: Shutdown
    patiently: Retrying
    closed: Callable[[RunSummary], None]
    imports: Callable[..., ImportOne] = field(init=False)

    def __post_init__(self) -> None:
        self.imports = cache(self._imports)

    def _imports(self, scope: Nightly, *, in_run: bool) -> Imports:
        return Imports(self.services, scope, in_run=in_run)

    # --- the loop ---------------------------------------------------------------------------------

    async def run(self, concurrency: int, alive: Callable[[], None], pace: Pace) -> None:
        """Work until asked to stop; begin anew where Procrastinate's worker breaks off."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(concurrency + SPARE_THREADS))
        app = App(connector=Connector(self.services.pool, self.patiently))
        app.task(name=TASK, queue=QUEUE, pass_context=True, retry=False)(self.job)
        watch = asyncio.create_task(self._watch(app.job_manager, alive, pace))
        while not watch.done():
            worker = asyncio.create_task(_procrastinate(app, concurrency, pace))
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

    async def _watch(self, manager: JobManager, alive: Callable[[], None], pace: Pace) -> None:
        """Tend the run from time to time, until asked to stop."""
        loop = asyncio.get_running_loop()
        next_time, tending = loop.time(), None
        while not self.shutdown.asked():
            alive()
            if loop.time() >= next_time and (tending is None or tending.done()):
                next_time = loop.time() + pace.tends
                tending = asyncio.create_task(self._tend(manager, pace))
            await asyncio.sleep(pace.wakes)
        if tending is not None:
            await tending

    async def _tend(self, manager: JobManager, pace: Pace) -> None:
        """Take the jobs of dead workers up again, and end a run that nobody else ends."""
        try:
            stalled = await manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=pace.dead_after
            )
            for job in stalled:
                with suppress(DatabaseError):  # another worker was quicker
                    await manager.retry_job(job)
            await asyncio.to_thread(self._end_runs)
        except CheckinsyncError as error:
            log.info("run_not_tended", extra={"reason": sentence(error)})

    def _end_runs(self) -> None:
        self.runs.tend()
        for run_id in self.runs.open_runs():
            self.runs.close_if_done(run_id, self.closed)

    # --- a job ------------------------------------------------------------------------------------

    def job(self, context: JobContext, *, run: int, user: int, turn: int, twin: bool) -> None:
        """Import a user, in a thread. Whatever comes of it, the run knows when this returns."""
        admitted = self.patiently(self.runs.admit, run, user, turn)
        if admitted is not None:
            ended, busy = self._attempt(admitted)
            busy = busy and (twin or context.job.attempts > 0)
            self.patiently(self.runs.end, run, ended, turn=turn, busy=busy)
        self.patiently(self.runs.close_if_done, run, self.closed)

    def _attempt(self, admitted: Admitted) -> tuple[Ended, bool]:
        """Import a user; return how that ended, and True if another import was at work."""
        course, busy = admitted.course, False
        imports = self.imports(Nightly(course.options.overlap), in_run=not admitted.doubted)

        def import_one(user: Any, *, run_id: int, hooks: Hooks) -> Imported:
            nonlocal busy
            try:
                return imports(user, run_id=run_id, hooks=hooks)
            except AtWork:
                busy = True
                raise

        def check_stop() -> None:
            self.shutdown.check()
            course.check_stop()

        hooks = Hooks(check_stop=check_stop, may_scrub=lambda: self.runs.may_scrub(course))
        return attempt(admitted.entry, import_one, run_id=course.run_id, hooks=hooks), busy


async def _procrastinate(app: App, concurrency: int, pace: Pace) -> None:
    await app.run_worker_async(
        queues=[QUEUE],
        name="checkinsync",
        concurrency=concurrency,
        listen_notify=False,  # jobs have start times, which no notification tells
        fetch_job_polling_interval=pace.looks,
        delete_jobs="successful",
        install_signal_handlers=False,
        update_heartbeat_interval=pace.heartbeat,
        stalled_worker_timeout=pace.dead_after,
    )
