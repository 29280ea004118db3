"""A run that several processes share: its course, loaded from the database and stored again.

What happens to a user is decided by `nightly.course`, in a transaction that holds the run's row:
one attempt after the other, whichever machine it ended on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from checkinsync.errors import CheckinsyncError, DatabaseAway, DatabaseBusy
from checkinsync.nightly import queries as runs
from checkinsync.nightly import run as nightly
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.begin import begin
from checkinsync.nightly.course import LATE, SPARE, Course
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.outages import DATABASE, CircuitBreaker, Outages
from checkinsync.nightly.plan import RunOptions
from checkinsync.nightly.progress import NAMED, pause
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.schedule import Entry
from checkinsync.nightly.summary import RunSummary
from checkinsync.nightly.wait import Wait, wait_for
from checkinsync.store import shared_run_users, shared_runs
from checkinsync.store.pool import transaction
from checkinsync.store.shared_runs import StoredRun
from checkinsync.sync.outcome import Imported
from checkinsync.sync.session import Services
from checkinsync.workers import handover, loading, queries
from checkinsync.workers.loading import Loaded
from checkinsync.workers.stored import from_json

SEES = 2.0
"""Seconds between two looks whether a run has ended."""

PROBING = timedelta(minutes=2)
"""One user at a time probes a service that is away, for so long at most."""

TWIN_PAUSE = timedelta(seconds=30)
"""Before a job that was doubled asks again whether its twin has come to an end."""


Closed = Callable[[RunSummary, str], None]
"""Called with a run that was closed, and the id of its pings."""


def ignore(summary: RunSummary, rid: str) -> None:
    """Do nothing with a run that was closed."""


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
        rid: str = "",
        on_begun: Callable[[], None] = lambda: None,
        wait: Wait | None = None,
    ) -> int:
        """Plan a run, hand its imports to the queue, and return its id; see `nightly.run`.

        `rid`: of the run's pings. Raises LeaseLost where another run took over meanwhile.
        """
        now = self._services.now
        wait = wait or partial(wait_for, now=now, check_stop=check_stop)
        with begin(self._services, options=options, wait=wait, check_stop=check_stop) as begun:
            on_begun()
            results = RunResults(pool=self._services.pool, started=begun.started)
            course = Course(begun, options, results, now, again=lambda entry, at: None)
            entries = course.prepare()
            with transaction(self._services.pool) as conn:
                handover.insert(conn, course, entries, rid=rid)
            results.record_failures()
        return begun.run_id

    # --- one attempt ------------------------------------------------------------------------------

    def admit(self, run_id: int, user_id: int, turn: int) -> Admitted | None:
        """Return the attempt if it may begin now; None where it is outdated, or put off."""
        with transaction(self._services.pool) as conn:
            row = shared_runs.run(conn, run_id)
            if row is None or row.closed_at is not None:
                return None
            loaded = loading.load(conn, self._services, row, [user_id])
            user, course = loaded.users.get(user_id), loaded.course
            if user is None or user.outcome is not None or user.turn != turn:
                return None
            calm = course.stop is None and not course.outages.away
            if calm and (now := self._services.now()) < course.deadline:
                shared_run_users.set_running(conn, run_id, user_id)
                late = shared_run_users.start_is_due(conn, run_id, now - LATE)
                wait = late and not user.look_back
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
            for run_id in shared_runs.open_runs(conn):
                if not shared_runs.renew(conn, run_id):  # a run of one process has begun meanwhile
                    shared_runs.close(conn, run_id)
            left = shared_runs.open_runs(conn)
        for run_id in left:
            with self._changing(run_id, ()) as loaded:
                if loaded is not None:
                    loaded.course.check_end(loaded.course.check_stop)
            with transaction(self._services.pool) as conn:
                handover.queue_more(conn, run_id)
            self._note(run_id)

    def _note(self, run_id: int) -> None:
        """Store who is next and what is paused, for those who watch."""
        with transaction(self._services.pool) as conn:
            row = shared_runs.run(conn, run_id)
            if row is None or row.stop is not None:
                return
            users = shared_run_users.waiting(conn, run_id, most=NAMED)
            waiting = [{"user_id": user, "at": at.isoformat()} for user, _, at in users]
            again = [
                {**entry, "reason": None}
                for entry, (_, attempt, _) in zip(waiting, users, strict=True)
                if attempt > 1
            ]
            until = row.started_at + from_json(row.options, RunOptions).deadline
            said = {
                "until": until.isoformat(),
                "waiting": shared_run_users.count_left(conn, run_id),
            }
            said |= {"next": waiting, "again": again}
            said["paused"] = pause(from_json(row.outages, Outages))
            runs.set_progress(conn, run_id, said)

    def close_if_done(self, run_id: int, closed: Closed = ignore) -> None:
        """Close a run whose users are all done, unless another worker is at it; tell `closed`
        before it is recorded, so that a worker that dies here leaves it to the next one."""
        with transaction(self._services.pool) as conn:
            if not shared_runs.claim_close(conn, run_id):
                return
        course, row = self._whole(run_id)
        closed(nightly.close(course, self._services, requests=row.requests), row.rid)
        with transaction(self._services.pool) as conn:
            shared_runs.close(conn, run_id)
            queries.forget_jobs(conn)

    def open_runs(self) -> list[int]:
        """Return the runs that are not closed."""
        with self._services.reading() as conn:
            return shared_runs.open_runs(conn)

    def summary(self, run_id: int) -> RunSummary | None:
        """Return a closed run; None while it is at work."""
        if run_id in self.open_runs():
            return None
        course, row = self._whole(run_id)
        finished = row.closed_at or self._services.now()
        return replace(course.summary(requests=row.requests), finished_at=finished)

    def wait(self, run_id: int, sleep: Callable[[float], None]) -> RunSummary:
        """Return a run when it has been closed. `sleep` takes seconds.

        Raises DatabaseAway where the database was away for two minutes.
        """
        database = CircuitBreaker(DATABASE)
        while True:
            try:
                if (summary := self.summary(run_id)) is not None:
                    return summary
                database.answered()
            except (DatabaseAway, DatabaseBusy):
                now = self._services.now()
                database.away(now)
                if now >= database.gives_up_at:
                    raise
            sleep(SEES)

    def _whole(self, run_id: int) -> tuple[Course, StoredRun]:
        """Return a run's course with all its users, and its row."""
        with self._services.reading() as conn:
            row = shared_runs.run(conn, run_id)
            if row is None:
                raise CheckinsyncError(f"run {run_id} was overtaken by another one")
            found = from_json(shared_runs.circumstances(conn, run_id), Circumstances)
            return loading.load(conn, self._services, row, None, found).course, row

    # --- changing it -----------------------------------------------------------------------------

    @contextmanager
    def _changing(self, run_id: int, ids: Collection[int]) -> Iterator[Loaded | None]:
        """A transaction that holds a run, and stores its course at the end; None if closed."""
        with transaction(self._services.pool) as conn:
            row = shared_runs.lock(conn, run_id)
            if row is None:
                yield None
                return
            outages = from_json(row.outages, Outages)
            ids = {*ids, *outages.foursquare.in_a_row}
            loaded = loading.load(conn, self._services, row, ids)
            yield loaded
            sent = self._services.foursquare.requests
            loading.store(conn, loaded, sent=sent - self._counted)
            self._counted = sent
        loaded.course.results.record_failures()
