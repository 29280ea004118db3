"""The queue: Procrastinate over our own pool, each of its statements in a transaction of ours.

So a worker opens no connections but the pool's, and works through a transaction-mode pooler: it
looks for jobs, and does not listen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from procrastinate.connector import BaseAsyncConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from checkinsync.errors import DatabaseAway, DatabaseBusy, DatabaseError, Interrupted, ValueRefused
from checkinsync.nightly.outages import DATABASE
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.workers import queries

QUEUE = "checkinsync"

TASK = "import"

BATCH = 1000
"""Jobs that are handed over by one statement."""


LAST_TRIES = 2
"""Of a worker that was asked to stop: its session may just have been cut off."""

log = logging.getLogger(__name__)


def patience(sleep: Callable[[float], None], *, asked: Callable[[], bool]) -> Retrying:
    """The policy of whatever a worker says to the database, which may be away for minutes: it
    waits. Asked to stop, it waits no more and soon gives up. `sleep` takes seconds."""

    def gives_up(state: RetryCallState) -> bool:
        return asked() and state.attempt_number >= LAST_TRIES

    def pause(seconds: float) -> None:
        with suppress(Interrupted):
            sleep(seconds)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        usual = isinstance(error, DatabaseAway | DatabaseBusy)
        level = logging.INFO if usual else logging.WARNING
        log.log(level, "database_is_asked_again", extra={"reason": str(error)})

    return Retrying(
        retry=retry_if_exception(_may_pass),
        before_sleep=tell,
        wait=wait_exponential(
            multiplier=DATABASE.first_pause.total_seconds(),
            max=DATABASE.longest_pause.total_seconds(),
        ),
        stop=gives_up,
        sleep=pause,
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, DatabaseError) and not isinstance(error, ValueRefused)


class _ByConnection(BaseAsyncConnector):
    """Runs statements only in transactions that are handed in."""

    def get_sync_connector(self) -> _ByConnection:
        """Return this one."""
        return self

    def execute_query_all_with_connection(
        self, connection: Connection, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a statement in a transaction of ours."""
        return queries.answer(connection, query, arguments)


class Connector(_ByConnection):
    """Procrastinate's way to the database."""

    def __init__(self, pool: Pool, patiently: Retrying) -> None:
        self._pool = pool
        self._patiently = patiently
        self.left: set[int] = set()
        """Jobs, by id, whose end could not be told: others take them up when we have gone."""

    async def open_async(self, pool: object = None) -> None:
        """Do nothing: the pool is open."""

    async def close_async(self) -> None:
        """Do nothing: the pool is closed by those who opened it."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a statement about a job, or this worker; one that has nothing to say any more, or
        can't be said before we stop, is left out."""
        if arguments.get("job_id") not in self.left:
            with suppress(DatabaseError):
                await self.execute_query_all_async(query, **arguments)

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a statement and return its row."""
        return (await self.execute_query_all_async(query, **arguments))[0]

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a statement and return its rows, however long the database is away."""
        return await asyncio.to_thread(self._patiently, self._answer, query, arguments)

    def _answer(self, query: LiteralString, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        with transaction(self._pool) as conn:
            return queries.answer(conn, query, arguments)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A user's attempt, to be queued."""

    user_id: int
    turn: int
    at: datetime
    first: bool = False
    """A first start comes before any retry."""
    twin: bool = False
    """The job of a worker that seemed to be dead, once more."""


def defer(conn: Connection, run_id: int, attempts: Iterable[Attempt]) -> None:
    """Queue attempts, when this transaction is committed; from then on names in it mean the queue's
    tables. Two jobs of one user never run at once; none waits for another in being queued."""
    jobs = [
        Job(
            queue=QUEUE,
            task_name=TASK,
            lock=f"user:{each.user_id}",
            queueing_lock=None,
            priority=1 if each.first else 0,
            task_kwargs={
                "run": run_id,
                "user": each.user_id,
                "turn": each.turn,
                "twin": each.twin,
            },
            scheduled_at=each.at,
        )
        for each in attempts
    ]
    manager = JobManager(_ByConnection())
    for start in range(0, len(jobs), BATCH):
        manager.batch_defer_jobs(jobs[start : start + BATCH], connection=conn)
