"""A run that several processes share: its course, loaded from the database and stored again.

What happens to a user is decided by `nightly.course`, in a transaction that holds the run's row:
one attempt after the other, whichever machine it ended on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from checkinsync.errors import CheckinsyncError
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly import queries as runs
from checkinsync.nightly import run as nightly
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.begin import Begun, begin
from checkinsync.nightly.course import SPARE, Course
from checkinsync.nightly.due import Selection
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.outages import Outages
from checkinsync.nightly.plan import RunOptions
from checkinsync.nightly.progress import NAMED, pause
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.schedule import Entry
from checkinsync.nightly.summary import RunSummary
from checkinsync.nightly.wait import Wait, wait_for
from checkinsync.store.pool import Connection, transaction
from checkinsync.sync.outcome import Imported
from checkinsync.sync.session import Services
from checkinsync.workers import queries, queue
from checkinsync.workers.queries import NewUser, StoredRun, StoredUser
from checkinsync.workers.queue import Attempt
from checkinsync.workers.stored import StoredError, StoredOutcome, from_json, to_json

PROBING = timedelta(minutes=2)
"""One user at a time probes a service that is away, for so long at most."""

TWIN_PAUSE = timedelta(seconds=30)
"""Before a job that was doubled asks again whether its twin has come to an end."""

LATE = timedelta(minutes=10)
"""After the deadline an import that has not ended by itself counts as lost."""

NOT_DUE = "not_due"

UNKNOWN = Circumstances(
    datetime.min.replace(tzinfo=UTC), 0, None, None, {}, frozenset(), frozenset()
)
"""What the end of a run says of its beginning, where only a user's attempt is looked at."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An attempt that may begin."""

    course: Course
    """As it was then."""
    entry: Entry
    doubted: bool
    """The token was refused before, and no other user is left to show how tokens are sent."""
    others_wait: bool = False
    """Another user's start was due as well when this one began, who did not come first."""

    def has_time_to_spare(self, now: datetime) -> bool:
        """Return True if no user's window has to wait for this one; asks no database, since the
        import's own transaction may be using the connection."""
        return not self.others_wait and now < self.course.deadline - SPARE


@dataclass(slots=True)
class _Loaded:
    """A course and its rows; what it queues is deferred when it is stored."""

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


class SharedRuns:
    """Runs in the database, as one process sees them."""

    def __init__(self, services: Services, *, asked: Callable[[], bool] = lambda: False) -> None:
        """`asked`: this process was asked to stop."""
        self._services = services
        self._asked = asked
        self._counted = 0

    # --- its beginning ----------------------------------------------------------------------------

    def hand_over(
        self,
        *,
        options: RunOptions,
        check_stop: Callable[[], None],
        on_begun: Callable[[], None] = lambda: None,
        wait: Wait | None = None,
    ) -> int:
        """Plan a run, hand its imports to the queue, and return its id; see `nightly.run`."""
        now = self._services.now
        wait = wait or partial(wait_for, now=now, check_stop=check_stop)
        with begin(self._services, options=options, wait=wait, check_stop=check_stop) as begun:
            on_begun()
            results = RunResults(pool=self._services.pool, started=begun.started)
            course = Course(begun, options, results, now, again=lambda entry, at: None)
            entries = course.prepare()
            with transaction(self._services.pool) as conn:
                _insert(conn, course, entries)
            results.record_failures()
        return begun.run_id

    # --- one attempt ------------------------------------------------------------------------------

    def admit(self, run_id: int, user_id: int, turn: int) -> Admitted | None:
        """Return the attempt if it may begin now; None where it is outdated, or put off."""
        with transaction(self._services.pool) as conn:
            row = queries.run(conn, run_id)
            if row is None or row.closed_at is not None:
                return None
            loaded = self._loaded(conn, row, [user_id])
            user, course = loaded.users.get(user_id), loaded.course
            if user is None or user.outcome is not None or user.turn != turn:
                return None
            calm = course.stop is None and not course.outages.away
            if calm and (now := self._services.now()) < course.deadline:
                queries.set_running(conn, run_id, user_id)
                wait = not user.look_back and queries.start_is_due(conn, run_id, now)
                return Admitted(course, loaded.entry(user_id), user.doubted, wait)
        return self._admit_in_trouble(run_id, user_id, turn)

    def _admit_in_trouble(self, run_id: int, user_id: int, turn: int) -> Admitted | None:
        """The same while the run is to end, or a service is away."""
        with self._changing(run_id, [user_id]) as loaded:
            if loaded is None or loaded.users[user_id].turn != turn:
                return None
            course, entry = loaded.course, loaded.entry(user_id)
            course.check_end(course.check_stop)
            foursquare, now = course.outages.foursquare, self._services.now()
            if course.stop is not None:
                course.skip(entry)
            elif foursquare.away_since is None or foursquare.looks(now):
                if foursquare.away_since is not None:
                    foursquare.next_probe = min(now + PROBING, foursquare.gives_up_at)
                user = loaded.users[user_id]
                loaded.users[user_id] = replace(user, running=True)
                return Admitted(course, entry, user.doubted)
            else:
                assert foursquare.next_probe is not None
                course.again(entry, foursquare.next_probe)
        return None

    def end(self, run_id: int, ended: Ended, *, turn: int, busy: bool) -> None:
        """Take in how an attempt ended. `busy`: it found a twin of its own at work."""
        user_id = ended.entry.user.id
        with self._changing(run_id, [user_id]) as loaded:
            user = None if loaded is None else loaded.users.get(user_id)
            if loaded is None or user is None or user.outcome is not None:
                return
            if user.turn != turn and not isinstance(ended.outcome, Imported):
                return
            loaded.users[user_id] = replace(user, running=False)
            course, now = loaded.course, self._services.now()
            if ended.interrupted is not None and self._asked():
                course.results.add(ended.entry.user, ended.saved)
                course.again(ended.entry, now)
            elif busy and now < course.deadline:
                loaded.twins.add(user_id)
                course.again(ended.entry, now + TWIN_PAUSE)
            else:
                course.handle(ended)
            course.outages.database.answered()  # or this could not be stored

    # --- its end ----------------------------------------------------------------------------------

    def tend(self) -> None:
        """Keep the lease of the run that is at work, and end what nobody else ends."""
        with transaction(self._services.pool) as conn:
            for run_id in queries.open_runs(conn):
                if not queries.renew(conn, run_id):  # a run of one process has begun meanwhile
                    queries.close(conn, run_id)
            left = queries.open_runs(conn)
        for run_id in left:
            with self._changing(run_id, ()) as loaded:
                if loaded is not None:
                    loaded.course.check_end(loaded.course.check_stop)
            self._note(run_id)

    def _note(self, run_id: int) -> None:
        """Store who is next and what is paused, for those who watch."""
        with transaction(self._services.pool) as conn:
            row = queries.run(conn, run_id)
            if row is None or row.stop is not None:
                return
            users = queries.waiting(conn, run_id, most=NAMED)
            waiting = [{"user_id": user, "at": at.isoformat()} for user, _, at in users]
            again = [
                {**entry, "reason": None}
                for entry, (_, attempt, _) in zip(waiting, users, strict=True)
                if attempt > 1
            ]
            until = row.started_at + from_json(row.options, RunOptions).deadline
            said = {"until": until.isoformat(), "waiting": queries.count_left(conn, run_id)}
            said |= {"next": waiting, "again": again}
            said["paused"] = pause(from_json(row.outages, Outages))
            runs.set_progress(conn, run_id, said)

    def close_if_done(
        self, run_id: int, closed: Callable[[RunSummary], None] = lambda _: None
    ) -> None:
        """Close a run whose users are all done, unless another worker is at it; tell `closed`
        before it is recorded, so that a worker that dies here leaves it to the next one."""
        with transaction(self._services.pool) as conn:
            if not queries.claim_close(conn, run_id):
                return
        course, row = self._whole(run_id)
        closed(nightly.close(course, self._services, requests=row.requests))
        with transaction(self._services.pool) as conn:
            queries.close(conn, run_id)
            queries.forget_jobs(conn)

    def open_runs(self) -> list[int]:
        """Return the runs that are not closed."""
        with self._services.reading() as conn:
            return queries.open_runs(conn)

    def summary(self, run_id: int) -> RunSummary | None:
        """Return a closed run; None while it is at work."""
        if run_id in self.open_runs():
            return None
        course, row = self._whole(run_id)
        finished = row.closed_at or self._services.now()
        return replace(course.summary(requests=row.requests), finished_at=finished)

    def _whole(self, run_id: int) -> tuple[Course, StoredRun]:
        """Return a run's course with all its users, and its row."""
        with self._services.reading() as conn:
            row = queries.run(conn, run_id)
            if row is None:
                raise CheckinsyncError(f"run {run_id} was overtaken by another one")
            found = from_json(queries.circumstances(conn, run_id), Circumstances)
            return self._loaded(conn, row, None, found).course, row

    # --- loading and storing ----------------------------------------------------------------------

    @contextmanager
    def _changing(self, run_id: int, ids: Collection[int]) -> Iterator[_Loaded | None]:
        """A transaction that holds a run, and stores its course at the end; None if closed."""
        with transaction(self._services.pool) as conn:
            row = queries.lock(conn, run_id)
            if row is None:
                yield None
                return
            outages = from_json(row.outages, Outages)
            loaded = self._loaded(conn, row, {*ids, *outages.foursquare.in_a_row})
            yield loaded
            self._store(conn, loaded)
        loaded.course.results.record_failures()

    def _loaded(
        self,
        conn: Connection,
        row: StoredRun,
        ids: Collection[int] | None,
        found: Circumstances = UNKNOWN,
    ) -> _Loaded:
        """Return a run with these users; None: all. `found`: needed at its end only."""
        users = queries.users(conn, row.run_id, ids)
        skipped = [user for user in users if _kind(user) == NOT_DUE]
        due = [user for user in users if _kind(user) != NOT_DUE]
        reasons = tuple((_user(user), str(user.outcome["reason"])) for user in skipped)
        begun = Begun(row.run_id, row.started_at, Selection((), reasons, (), False), found)
        results = RunResults(pool=self._services.pool, started=row.started_at)
        queued: dict[int, datetime] = {}
        course = Course(
            begun,
            from_json(row.options, RunOptions),
            results,
            self._services.now,
            again=lambda entry, at: queued.__setitem__(entry.user.id, at),
            orders={user.user_id: user.place for user in due},
            outages=from_json(row.outages, Outages),
            stop=_stop(row),
        )
        for user in due:
            _restore(course, user)
        return _Loaded(row, {user.user_id: user for user in due}, course, queued)

    def _store(self, conn: Connection, loaded: _Loaded) -> None:
        """Store what has changed, and queue the next attempts."""
        course, run_id = loaded.course, loaded.row.run_id
        after = [loaded.after(user) for user in loaded.users.values()]
        for user in after:
            if user != loaded.stored[user.user_id]:
                queries.set_user(conn, run_id, user)
        queued = [user for user in after if user.user_id in loaded.due and user.outcome is None]
        queued += self._left_over(conn, course)
        sent = self._services.foursquare.requests
        queries.set_state(
            conn,
            run_id,
            outages=to_json(course.outages),
            stop=None if course.stop is None else to_json(StoredError.of(course.stop)),
            requests=sent - self._counted,
        )
        self._counted = sent
        attempts = [
            Attempt(user.user_id, user.turn, user.due_at, twin=user.user_id in loaded.twins)
            for user in queued
            if user.due_at is not None
        ]
        if attempts:
            queue.defer(conn, run_id, attempts)

    def _left_over(self, conn: Connection, course: Course) -> list[StoredUser]:
        """Report those who are not started any more, or ask again those whose tokens are in
        doubt; return these."""
        run_id = course.run_id
        if course.stop is not None:
            lost = self._services.now() >= course.deadline + LATE
            for user in queries.users(conn, run_id, queries.left(conn, run_id, running=lost)):
                outcome = StoredOutcome("skipped", user.attempt - 1, str(course.stop))
                queries.set_user(conn, run_id, replace(user, outcome=to_json(outcome)))
                course.log("user_skipped", user_id=user.user_id, reason=outcome.reason)
            return []
        again = [
            replace(user, turn=user.turn + 1, due_at=self._services.now())
            for user in queries.users(conn, run_id, queries.only_doubted(conn, run_id))
        ]
        for user in again:
            queries.set_user(conn, run_id, user)
        return again


def _insert(conn: Connection, course: Course, entries: list[Entry]) -> None:
    """Store a run and its users, and queue their first attempts."""
    begun, run_id = course.begun, course.run_id
    queries.add_run(
        conn,
        run_id,
        at=begun.started,
        options=to_json(course.options),
        circumstances=to_json(begun.found),
        outages=to_json(course.outages),
    )
    first = begun.found.look_back
    new = [
        NewUser(e.user.id, e.order, e.user.token_hash, e.at, e.user.id in first, None)
        for e in entries
    ]
    for user, reason in begun.selection.skipped:
        outcome = to_json(StoredOutcome(NOT_DUE, reason=reason))
        new.append(NewUser(user.id, len(new), user.token_hash, None, False, outcome))
    for report in course.results.reports.values():
        outcome = to_json(StoredOutcome.of(report.outcome, report.attempts))
        user = report.user
        new.append(NewUser(user.id, len(new), user.token_hash, None, False, outcome))
    queries.add_users(conn, run_id, new)
    queries.forget_jobs(conn, besides=run_id)
    queue.defer(conn, run_id, [Attempt(e.user.id, 1, e.at, first=True) for e in entries])


def _restore(course: Course, user: StoredUser) -> None:
    """Let the course know of a user."""
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
