"""A run is handed over: all its users are stored, and queued in parts, in the order of the plan.

A queue of a few thousand jobs is searched in no time; one of a million is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from checkinsync.errors import LeaseLost
from checkinsync.model.user import User
from checkinsync.nightly.course import Course
from checkinsync.nightly.schedule import Entry
from checkinsync.store import shared_run_users, shared_runs
from checkinsync.store.pool import Connection
from checkinsync.store.shared_run_users import NewUser
from checkinsync.workers import queries, queue
from checkinsync.workers.queue import BATCH, Attempt
from checkinsync.workers.stored import NOT_DUE, StoredOutcome, to_json

PART = 10_000
"""Jobs in the queue, at most, when first attempts are added: two minutes of work at the pace of
the fastest run that is possible, so six times more than is done between two looks."""


def insert(conn: Connection, course: Course, entries: list[Entry], *, rid: str) -> None:
    """Store a run and its users, and queue the first part of them.

    Raises LeaseLost where another run took over meanwhile.
    """
    begun, run_id = course.begun, course.run_id
    added = shared_runs.add_run(
        conn,
        run_id,
        lease=begun.lease,
        at=begun.started,
        rid=rid,
        options=to_json(course.options),
        circumstances=to_json(begun.found),
        outages=to_json(course.outages),
    )
    if not added:
        raise LeaseLost("another run took over while this one slept; nothing was handed over")
    users = _users(course, entries)
    while some := list(islice(users, BATCH)):
        shared_run_users.add_users(conn, run_id, some)
    shared_runs.renew(conn, run_id)
    queries.forget_jobs(conn, besides=run_id)
    queue_more(conn, run_id)


def _users(course: Course, entries: list[Entry]) -> Iterator[NewUser]:
    """Yield those to be imported, and those whose outcome is known."""
    first = course.begun.found.look_back
    for entry in entries:
        yield _new(entry.user, entry, look_back=entry.user.id in first)
    for user, reason in course.begun.selection.skipped:
        yield _new(user, outcome=StoredOutcome(NOT_DUE, reason=reason))
    for report in course.results.reports.values():
        yield _new(report.user, outcome=StoredOutcome.of(report.outcome, report.attempts))


def _new(
    user: User,
    entry: Entry | None = None,
    *,
    look_back: bool = False,
    outcome: StoredOutcome | None = None,
) -> NewUser:
    return NewUser(
        user.id,
        entry.order if entry else user.id,
        user.token_hash,
        entry.at if entry else None,
        look_back,
        to_json(outcome) if outcome else None,
    )


def queue_more(conn: Connection, run_id: int) -> None:
    """Queue the next first attempts of a run, as far as the queue is short; names in the
    transaction then mean the queue's tables."""
    row = shared_runs.lock(conn, run_id)
    if row is None or row.stop is not None:
        return
    room = PART - queries.count_jobs(conn)
    starts = shared_run_users.unqueued(
        conn, run_id, after=(row.queued_at, row.queued_place), most=max(0, room)
    )
    if starts:
        at, place, _ = starts[-1]
        shared_runs.set_queued(conn, run_id, at=at, place=place)
        queue.defer(conn, run_id, [Attempt(user, 1, at, first=True) for at, _, user in starts])
