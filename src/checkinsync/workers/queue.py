"""The queue: Procrastinate over our own pool, each of its statements in a transaction of ours.

So a worker opens no connections but the pool's, and works through a transaction-mode pooler: it
looks for jobs, and does not listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from procrastinate.connector import BaseAsyncConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from checkinsync.errors import DatabaseAway, DatabaseBusy, ValueRefused
from checkinsync.nightly.outages import DATABASE
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.workers import queries

QUEUE = "checkinsync"

TASK = "import"

BATCH = 1000
"""Jobs that are handed over by one statement."""


def patience(sleep: Callable[[float], None], *, asked: Callable[[], bool]) -> Retrying:
    """The policy of whatever a worker says to the database, which may be away for minutes: it
    waits, unless it was asked to stop. `sleep` takes seconds."""

    def gives_up(_: RetryCallState) -> bool:
        return asked()

    return Retrying(
        retry=retry_if_exception_type((DatabaseAway, DatabaseBusy)),
        wait=wait_exponential(
            multiplier=DATABASE.first_pause.total_seconds(),
            max=DATABASE.longest_pause.total_seconds(),
        ),
        stop=gives_up,
        sleep=sleep,
        reraise=True,
    )


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

    async def open_async(self, pool: object = None) -> None:
        """Do nothing: the pool is open."""

    async def close_async(self) -> None:
        """Do nothing: the pool is closed by those who opened it."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a statement; one about a job that another worker has ended meanwhile says nothing."""
        with suppress(ValueRefused):
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
