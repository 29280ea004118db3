"""The start and the end of a run: its lease, who is due, and its row in `sync_runs`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from checkinsync.errors import AtWork, DatabaseBusy, DatabaseError
from checkinsync.nightly import queries
from checkinsync.nightly.due import Selection
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.plan import RunOptions, select_due
from checkinsync.nightly.summary import RunSummary
from checkinsync.nightly.wait import Wait
from checkinsync.store import jobs, leases
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync.session import Services
from checkinsync.verify import queries as verifications

BUSY_ATTEMPTS = 60
BUSY_PAUSE = 10.0
"""Attempts at a run's start while a table is locked, and the seconds between them."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that has begun."""

    run_id: int
    started: datetime
    selection: Selection
    found: Circumstances
    lease: Lease | None = None
    """Of the run; None where it has no process of its own."""


@contextmanager
def begin(
    services: Services, *, options: RunOptions, wait: Wait, check_stop: Callable[[], None]
) -> Iterator[Begun]:
    """Begin a run, and hold its lease within the block.

    Raises AtWork where another run is at work, SettingsError, DatabaseError.
    """
    started = services.now()
    patiently = _while_busy(services.now, wait, check_stop)
    lease = patiently(_acquire, services)
    try:
        with services.lease_renewer.renewing(lease):
            selection = patiently(select_due, services, options=options, now=started)
            run_id, found = patiently(_store, services.pool, at=started, due=selection.count)
            yield Begun(run_id, started, selection, found, lease)
    finally:
        with suppress(DatabaseError), transaction(services.pool) as conn:
            leases.release(conn, lease)


def _while_busy(
    now: Callable[[], datetime], wait: Wait, check_stop: Callable[[], None]
) -> Retrying:
    """The policy of a run's start: a table that is locked at 02:00 does not end the night."""

    def sleep(seconds: float) -> None:
        wait(SimpleQueue(), until=now() + timedelta(seconds=seconds), running=0)
        check_stop()

    return Retrying(
        retry=retry_if_exception_type(DatabaseBusy),
        stop=stop_after_attempt(BUSY_ATTEMPTS),
        wait=wait_fixed(BUSY_PAUSE),
        sleep=sleep,
        reraise=True,
    )


def _acquire(services: Services) -> Lease:
    with transaction(services.pool) as conn:
        lease = leases.acquire(conn, leases.RUN, alive=services.lease_renewer.tokens())
    if lease is None:
        raise AtWork("another run is at work; it is left alone")
    return lease


def _store(pool: Pool, *, at: datetime, due: int) -> tuple[int, Circumstances]:
    """Store that the run begins, and close what killed imports left open."""
    with transaction(pool) as conn:
        found = queries.circumstances(conn, at=at)
        jobs.close_abandoned(conn, dead=leases.dead_users(conn))
        return queries.start(conn, at=at, host=socket.gethostname(), due=due), found


def store_end(pool: Pool, summary: RunSummary, *, reminded: bool) -> None:
    """Store how a run ended, as far as the database allows; drop abandoned verifications.

    `reminded`: it named the users who must log in again.
    """
    with suppress(DatabaseError), transaction(pool) as conn:
        assert summary.run_id is not None
        queries.finish(conn, summary.run_id, summary, reminded=reminded)
        verifications.forget(conn, before=summary.started_at - verifications.KEPT)
