"""A night of a million users on workers: all of its plan, its queue and its end; imports by count.

The plan is handed over by the command itself. Then its times are moved into the past, so that the
queue gives each job out at once, and a clock that is handed in goes from start to start. A sample
of the users goes through the workers' own code, job by job, with an import that only counts: one in
a hundred fails and is tried again. What is left is marked as imported by one statement, and the run
is closed by the workers' own code.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg.sql import SQL, Identifier

from bench.nights import stamp
from bench.places import KEY, Connection, Places
from bench.process import ours, run
from bench.scale import Scale
from bench.table import Table
from checkinsync.errors import DatabaseBusy
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.shutdown import Shutdown
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import open_pool
from checkinsync.sync.outcome import Imported
from checkinsync.sync.session import Hooks, Services
from checkinsync.workers import schema
from checkinsync.workers.queue import QUEUE, Connector, patience
from checkinsync.workers.shared import SharedRuns
from checkinsync.workers.worker import Jobs

THREADS = 4
FAILS = 100
"""One user in so many has no success at first."""

TABLES = ("users", "procrastinate_jobs", "procrastinate_events")


@dataclass
class Night:
    """The workers' side of a night, on a clock that is handed in."""

    url: str
    at: datetime
    imports: int = 0
    steps: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.pool = open_pool(self.url, size=THREADS + 1)
        self.lock = threading.Lock()
        client = Foursquare(
            api_url="http://127.0.0.1:9", token_in="auto", sleep=self.sleep, now=self.now
        )
        keyring, renewer = Keyring([KEY]), LeaseRenewer(self.pool)
        services = Services(self.pool, client, keyring, renewer, self.now)
        patiently = patience(self.sleep, asked=lambda: False)
        self.jobs = Jobs(services, SharedRuns(services), Shutdown(), patiently)
        self.jobs.imports_of = lambda services, scope, in_run: self.count
        self.manager = JobManager(Connector(self.pool, patiently))

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def count(self, user: User, *, run_id: int, hooks: Hooks) -> Imported:
        """Import nobody, and say how that went."""
        del run_id
        hooks.check_stop()
        with self.lock:
            self.imports += 1
            first = self.imports % FAILS == 0
        if first and user.id % 2:
            raise DatabaseBusy("busy")
        return Imported(Saved(), requests=1, seconds=0.2, cursor=self.at)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps[step].append(time.perf_counter() - began)

    def milliseconds(self, step: str) -> str:
        taken = self.steps[step]
        return f"{1000 * sum(taken) / len(taken):.1f} ms" if taken else "-"

    async def work(self, count: int) -> None:
        """Take so many jobs, and do each of them; every step is timed."""
        worker = await self.manager.register_worker()
        for _ in range(count):
            with self.timed("fetch"):
                job = await self.manager.fetch_job(queues=[QUEUE], worker_id=worker)
            if job is None:
                break
            self.do(job)
            with self.timed("finish"):
                await self.manager.finish_job(job, status=Status.SUCCEEDED, delete_job=True)

    def do(self, job: Job) -> None:
        with self.lock:
            self.at = max(self.at, job.scheduled_at or self.at)
        with self.timed("attempt"):
            self.jobs.do(**job.task_kwargs)

    def tend(self) -> None:
        with self.timed("tend"):
            self.jobs.tend()

    def together(self, count: int) -> float:
        """Let several threads do so many jobs; return users a second."""
        began, share = time.perf_counter(), count // THREADS
        crew = [
            threading.Thread(target=lambda: asyncio.run(self.work(share))) for _ in range(THREADS)
        ]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        return count / (time.perf_counter() - began)


def million(places: Places, scale: Scale) -> Table:
    """Hand a night of so many users over, work on a sample, and close it."""
    users, sample = scale.planned, scale.planned // 200
    with places.database() as url, psycopg.connect(url, autocommit=True) as conn:
        rows = []
        for part in (_handed_over, _sampled, _closed):
            for row in part(url, conn, sample if part is _sampled else users):
                print(*row, sep=": ", flush=True)
                rows.append(row)
    return Table(
        f"A night of {users:,} users on workers",
        "The whole plan, the queue and the end of the run are the program's own, on a clock that "
        f"is handed in. {2 * sample:,} users go through the queue job by job, with imports that "
        "only count; the others are marked as done by one statement.",
        ("what", "measured"),
        rows,
    )


def _handed_over(url: str, conn: Connection, users: int) -> Iterator[tuple[str, str]]:
    with psycopg.connect(url) as own:
        stamp(own, users - 1)
    schema.up(url, sleep=time.sleep)
    ran = ours("orchestrate", "--engine", "procrastinate", url=url)
    yield "plan and hand over, by the command", f"{ran.seconds:.0f} s, {_mib(ran.peak)}"
    for table in TABLES:
        name = f"checkinsync_queue.{table}"
        [count] = conn.execute(
            SQL("SELECT count(*) FROM {}").format(Identifier(*name.split(".")))
        ).fetchone() or [0]
        [size] = conn.execute("SELECT pg_total_relation_size(%s)", [name]).fetchone() or [0]
        yield f"rows of `{table}`", f"{count:,}, {_mib(size)}"
    conn.execute(INTO_THE_PAST)
    conn.execute("VACUUM ANALYZE")


def _sampled(url: str, conn: Connection, sample: int) -> Iterator[tuple[str, str]]:
    night = Night(url, _started(conn))
    asyncio.run(night.work(sample))
    for _ in range(3):
        night.tend()
    yield "look for a job", night.milliseconds("fetch")
    yield (
        "an attempt: begin it, end it, look whether the run is over",
        night.milliseconds("attempt"),
    )
    yield "finish its job", night.milliseconds("finish")
    yield "look after the run: deadline, next part, who is next", night.milliseconds("tend")
    speed = night.together(sample)
    yield f"all of that by {THREADS} threads of one process", f"{speed:.0f} users/s"
    night.pool.close()


def _closed(url: str, conn: Connection, users: int) -> Iterator[tuple[str, str]]:
    """Mark the rest as done, and close the run in a process of its own."""
    conn.execute(DONE)
    conn.execute("VACUUM ANALYZE")
    ran = run(sys.executable, "-m", "bench.million", url)
    found = conn.execute("SELECT due, synced, outcome FROM sync_runs").fetchall()
    assert found == [(users, users, "ok")], found
    yield "close the run", f"{ran.out.strip()} s, {_mib(ran.peak)}"


def _started(conn: Connection) -> datetime:
    [at] = conn.execute("SELECT started_at FROM checkinsync_queue.runs").fetchone() or [None]
    return at


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


INTO_THE_PAST = """
    SET search_path = public, checkinsync_queue;  -- its triggers name no schema
    UPDATE checkinsync_queue.users SET due_at = due_at - interval '7 hours';
    UPDATE checkinsync_queue.procrastinate_jobs
       SET scheduled_at = scheduled_at - interval '7 hours';
    UPDATE checkinsync_queue.runs
       SET started_at = started_at - interval '7 hours', queued_at = queued_at - interval '7 hours'
"""

DONE = """
    UPDATE checkinsync_queue.users
       SET running = false,
           outcome = jsonb_build_object('kind', 'imported', 'attempts', 1, 'requests', 1,
                                        'seconds', 0.2, 'at', due_at)
     WHERE outcome IS NULL
"""


def main() -> None:
    """Close the run of a database whose users are all done, and print the seconds."""
    url = sys.argv[1]
    with psycopg.connect(url) as conn:
        night = Night(url, _started(conn))
    began = time.perf_counter()
    night.tend()
    print(f"{time.perf_counter() - began:.0f}")
    night.pool.close()


if __name__ == "__main__":
    main()
