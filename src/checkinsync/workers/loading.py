"""A shared run's course, loaded from the database with the users who are looked at, and stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from checkinsync.errors import CheckinsyncError
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.begin import Begun
from checkinsync.nightly.course import Course
from checkinsync.nightly.due import Selection
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.outages import Outages
from checkinsync.nightly.plan import RunOptions
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.schedule import Entry
from checkinsync.store import shared_run_users, shared_runs
from checkinsync.store.pool import Connection
from checkinsync.store.shared_run_users import StoredUser
from checkinsync.store.shared_runs import StoredRun
from checkinsync.sync.session import Services
from checkinsync.workers import queue
from checkinsync.workers.queue import Attempt
from checkinsync.workers.stored import (
    NOT_DUE,
    StoredError,
    StoredOutcome,
    from_json,
    prepare,
    to_json,
)

prepare(RunOptions, Outages, Circumstances)

LATE = timedelta(minutes=10)
"""After the deadline an import that has not ended by itself counts as lost."""

UNKNOWN = Circumstances(
    datetime.min.replace(tzinfo=UTC), 0, None, None, {}, frozenset(), frozenset()
)
"""What the end of a run says of its beginning, where only a user's attempt is looked at."""


@dataclass(slots=True)
class Loaded:
    """A course and its rows; what it queues is deferred by `store`."""

    row: StoredRun
    stored: dict[int, StoredUser]
    course: Course
    due: dict[int, datetime]
    """When the next attempts are to begin."""
    users: dict[int, StoredUser] = field(init=False)
    twins: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.users = dict(self.stored)

    def entry(self, user_id: int) -> Entry:
        """Return a user's attempt."""
        user = self.users[user_id]
        return Entry(user.due_at or self.row.started_at, user.place, _user(user))

    def after(self, user: StoredUser) -> StoredUser:
        """Return a user's row as the course leaves it."""
        report = self.course.results.reports.get(user.user_id)
        due = self.due.get(user.user_id)
        waits = any(entry.user.id == user.user_id for entry in self.course.doubted)
        saved = self.course.results.saved(_user(user))
        outcome = None if report is None else StoredOutcome.of(report.outcome, report.attempts)
        return replace(
            user,
            turn=user.turn + (due is not None or waits),
            attempt=self.course.attempts.number(user.user_id),
            doubted=user.doubted or waits,
            due_at=None if waits else due or user.due_at,
            saved=to_json(saved) if saved != Saved() else None,
            outcome=to_json(outcome) if outcome else None,
        )


def load(
    conn: Connection,
    services: Services,
    row: StoredRun,
    ids: Collection[int] | None,
    found: Circumstances = UNKNOWN,
) -> Loaded:
    """Return a run with these users; None: all, but not their rows. `found`: needed at its end
    only."""
    queued: dict[int, datetime] = {}
    course = Course(
        Begun(row.run_id, row.started_at, Selection((), (), (), False), found),
        from_json(row.options, RunOptions),
        RunResults(pool=services.pool, started=row.started_at),
        services.now,
        again=lambda entry, at: queued.__setitem__(entry.user.id, at),
        outages=from_json(row.outages, Outages),
        stop=_stop(row),
    )
    stored, skipped = {}, []
    for user in shared_run_users.users(conn, row.run_id, ids):
        if _kind(user) == NOT_DUE:
            skipped.append((_user(user), str(user.outcome["reason"])))
            continue
        _restore(course, user)
        if ids is not None:
            stored[user.user_id] = user
    selection = Selection((), tuple(skipped), (), False)
    course.begun = replace(course.begun, selection=selection)
    return Loaded(row, stored, course, queued)


def store(conn: Connection, loaded: Loaded, *, sent: int) -> None:
    """Store what has changed, and queue the next attempts. `sent`: requests since the last time."""
    course, run_id = loaded.course, loaded.row.run_id
    after = [loaded.after(user) for user in loaded.users.values()]
    for user in after:
        if user != loaded.stored[user.user_id]:
            shared_run_users.set_user(conn, run_id, user)
    queued = [user for user in after if user.user_id in loaded.due and user.outcome is None]
    queued += _left_over(conn, course)
    shared_runs.set_state(
        conn,
        run_id,
        outages=to_json(course.outages),
        stop=None if course.stop is None else to_json(StoredError.of(course.stop)),
        requests=sent,
    )
    attempts = [
        Attempt(user.user_id, user.turn, user.due_at, twin=user.user_id in loaded.twins)
        for user in queued
        if user.due_at is not None
    ]
    if attempts:
        queue.defer(conn, run_id, attempts)


def _left_over(conn: Connection, course: Course) -> list[StoredUser]:
    """Report those who are not started any more, or ask again those whose tokens are in
    doubt; return these."""
    run_id = course.run_id
    if course.stop is not None:
        lost = course.now() >= course.deadline + LATE
        for user_id in shared_run_users.skip_left(
            conn, run_id, reason=str(course.stop), running=lost
        ):
            course.log("user_skipped", user_id=user_id, reason=str(course.stop))
        return []
    doubted = shared_run_users.only_doubted(conn, run_id)
    again = [
        replace(user, turn=user.turn + 1, due_at=course.now())
        for user in shared_run_users.users(conn, run_id, doubted)
    ]
    for user in again:
        shared_run_users.set_user(conn, run_id, user)
    return again


def _restore(course: Course, user: StoredUser) -> None:
    """Let the course know of a user."""
    course.orders[user.user_id] = user.place
    if user.attempt > 1:
        course.attempts.restore(user.user_id, user.attempt)
    if user.saved is not None:
        course.results.add(_user(user), from_json(user.saved, Saved))
    if user.outcome is not None:
        stored = from_json(user.outcome, StoredOutcome)
        course.results.report(_user(user), stored.outcome(), attempts=stored.attempts)


def _user(user: StoredUser) -> User:
    return User(user.user_id, user.foursquare_user_id or "", user.name, user.encrypted_token)


def _kind(user: StoredUser) -> str | None:
    return None if user.outcome is None else user.outcome["kind"]


def _stop(row: StoredRun) -> CheckinsyncError | None:
    if row.stop is None:
        return None
    error = from_json(row.stop, StoredError).error()
    assert isinstance(error, CheckinsyncError)
    return error
