"""A run: import everyone who is due, and let one failure stay one failure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from queue import SimpleQueue

from checkinsync.nightly.attempt import Ended, ImportEach, ImportOne, attempts, one_by_one
from checkinsync.nightly.begin import Begun, begin, store_end
from checkinsync.nightly.course import LATE, SPARE, Course
from checkinsync.nightly.outages import CircuitBreaker
from checkinsync.nightly.plan import RunOptions
from checkinsync.nightly.progress import Notes, progress
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.schedule import Entry, Queue
from checkinsync.nightly.summary import RunSummary
from checkinsync.nightly.wait import Inbox, Wait, wait_for
from checkinsync.shutdown import signals_deferred
from checkinsync.store.pool import probe
from checkinsync.sync.import_user import Imports
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks, Services

LATELY = timedelta(seconds=0.25)
"""As many users as were done in this time are begun before a worker is free for them."""

MOST = 100
"""Users who are begun together, at most."""


def run(
    services: Services,
    *,
    options: RunOptions,
    check_stop: Callable[[], None],
    on_begun: Callable[[], None] = lambda: None,
    import_one: ImportOne | None = None,
    wait: Wait | None = None,
) -> RunSummary:
    """Import everyone who is due; return when all are done, or nothing more can be.

    `check_stop` raises Interrupted when asked to stop; `on_begun` is called when no other run is at
    work, and this one's start is stored; `import_one`: another way to run the same
    import than in this process; `wait`: another clock's sleep.
    Raises AtWork where a run is at work already, SettingsError, DatabaseError at the start.
    """
    wait = wait or partial(wait_for, now=services.now, check_stop=check_stop)
    imports = Imports(services, Nightly(options.overlap), in_run=True)
    import_each: ImportEach = imports.each if import_one is None else one_by_one(import_one)
    with begin(services, options=options, wait=wait, check_stop=check_stop) as begun:
        on_begun()
        work = _Run(begun, services, options, check_stop, import_each, wait)
        work.run()
        return close(work.course, services)


def close(course: Course, services: Services, *, requests: int | None = None) -> RunSummary:
    """End a run whose users are all done: store how it went, and return that.

    `requests`: of all its processes; None: this one's alone.
    """
    course.results.record_tokens()
    sent = services.foursquare.requests if requests is None else requests
    summary = course.summary(requests=sent)
    store_end(services.pool, summary, reminded=course.reminds)
    figures = {"due": summary.due, "synced": summary.synced, "failed": summary.failed}
    figures |= {"skipped": summary.skipped, "requests": summary.requests}
    course.log("run_finished", outcome=summary.outcome, **figures)
    return summary


@dataclass(slots=True)
class _Run:
    """A run at work in this process."""

    begun: Begun
    services: Services
    options: RunOptions
    asked_to_stop: Callable[[], None]
    import_each: ImportEach
    wait: Wait
    course: Course = field(init=False)
    queue: Queue = field(init=False)
    inbox: Inbox = field(default_factory=SimpleQueue)
    running: int = 0
    """Users at work."""
    begun_ahead: dict[int, datetime] = field(default_factory=dict)
    """When those were due whose turn to ask Foursquare has not come yet, by id."""
    ends: deque[datetime] = field(default_factory=deque)
    """When the last users were done, for as long as `LATELY`."""
    notes: Notes = field(init=False)
    workers: ThreadPoolExecutor = field(init=False)
    """Each asks Foursquare for one user at a time."""
    beginners: ThreadPoolExecutor = field(init=False)
    """Each begins users together, and finishes them together."""

    def __post_init__(self) -> None:
        self.notes = Notes(self.services.pool, self.begun.run_id)
        self.queue = Queue((), workers=self.options.workers)
        results = RunResults(pool=self.services.pool, started=self.begun.started)
        self.course = Course(
            self.begun,
            self.options,
            results,
            self.services.now,
            again=self.queue.again,
            postpone=self.queue.postpone,
        )
        self.queue.plan(self.course.prepare())
        results.record_failures()

    @property
    def now(self) -> datetime:
        return self.services.now()

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Start what is due, handle what comes back, until nothing is left or the run must end."""
        workers = self.options.workers
        with (
            ThreadPoolExecutor(workers, thread_name_prefix="import") as self.workers,
            ThreadPoolExecutor(workers, thread_name_prefix="begin") as self.beginners,
        ):
            while self._goes_on():
                self.course.check_end(self._check_stop)
                self._start_what_is_due()
                if self._goes_on():
                    self._note()
                    self._handle_all(
                        self.wait(self.inbox, until=self._wake(), running=self.running)
                    )
        self.course.ask_doubted_again()
        for entry in self.queue.rest():
            self.course.skip(entry)

    def _goes_on(self) -> bool:
        """Return True if anything is running or to be started. Doubted tokens come last."""
        if not self.running and not self.queue:
            self.course.ask_doubted_again()
        return bool(self.running or (self.queue and self.course.stop is None))

    def _check_stop(self) -> None:
        """Called before each request of each import. Raises Interrupted, or what ended the run."""
        self.asked_to_stop()
        self.course.check_stop()

    def _start_what_is_due(self) -> None:
        if self.course.stop is not None:
            return
        if self.course.outages.database.away_since is not None:
            self._look_for_database(self.course.outages.database)
        elif self.course.outages.foursquare.away_since is not None:
            self._look_for_foursquare(self.course.outages.foursquare)
        else:
            self._start_all()

    def _start_all(self) -> None:
        now = self.now
        while entries := self._take(now, self._ahead()):
            self._start(entries)

    def _ahead(self) -> int:
        """Return how many users may be begun before a worker is free for them: few enough that each
        waits for a fraction of a second; none while there is room for a few only."""
        while self.ends and self.now - self.ends[0] > LATELY:
            self.ends.popleft()
        ahead = min(2 * MOST, len(self.ends))
        free = self.options.workers + ahead - self.running
        return ahead if free >= min(MOST, ahead // 2) else 0

    def _take(self, now: datetime, ahead: int) -> list[Entry]:
        """Take users who are due, to be begun together."""
        taken: list[Entry] = []
        while len(taken) < MOST and (
            entry := self.queue.take(now, running=self.running + len(taken), ahead=ahead)
        ):
            taken.append(entry)
        return taken

    def _look_for_foursquare(self, service: CircuitBreaker) -> None:
        """Probe with one user at a time."""
        if self.running or not service.looks(self.now):
            return
        entry = self.queue.take_any()
        if entry is not None:
            self._start([entry])

    def _look_for_database(self, service: CircuitBreaker) -> None:
        if not service.looks(self.now):
            return
        if probe(self.services.pool):
            since = service.away_since
            service.answered()
            self.course.resumed(since)
        else:
            service.away(self.now)

    def _start(self, entries: Sequence[Entry]) -> None:
        self.running += len(entries)
        self.begun_ahead.update((entry.user.id, entry.at) for entry in entries)
        with signals_deferred():  # an exception while a thread starts breaks that thread
            self.beginners.submit(self._attempt, entries, probes=bool(self.course.outages.away))

    def _attempt(self, entries: Sequence[Entry], *, probes: bool) -> None:
        tried = [(entry, self._hooks(entry.user.id, probes=probes)) for entry in entries]
        attempts(
            tried,
            self.import_each,
            run_id=self.course.run_id,
            submit=self.workers.submit,
            end=self.inbox.put,
        )

    def _hooks(self, user_id: int, *, probes: bool) -> Hooks:
        def check_start() -> None:
            self.begun_ahead.pop(user_id, None)
            if not probes:
                self.course.check_start()

        return Hooks(check_start, self._check_stop, may_scrub=partial(self._may_look_back, user_id))

    def _may_look_back(self, user_id: int) -> bool:
        """Return True if no user's window waits for long, or if it is this user's turn. Never when
        the deadline is near."""
        now = self.now
        if self.course.stop is not None:
            return False
        ahead = list(self.begun_ahead.values())
        late = any(at <= now - LATE for at in ahead) or self.queue.start_is_due(now - LATE)
        turn = user_id in self.begun.found.look_back or not late
        if turn and now < self.course.deadline - SPARE:
            return True
        self.course.no_time_for.add(user_id)
        return False

    def _wake(self) -> datetime:
        """Return when to look again though nothing comes back."""
        if self.course.stop is not None:
            return self.course.deadline + timedelta(days=1)  # only what still runs is waited for
        times = [self.course.deadline]
        if not self.course.outages.away:
            ready = self.queue.next_at(running=self.running, ahead=self._ahead())
            times.append(ready or self.course.deadline)
        elif not self.running:
            times.append(self.course.outages.next_look or self.course.deadline)
        return min(times)

    def _note(self) -> None:
        """Store who is next and what is paused, for those who watch."""
        course = self.course
        if course.stop is not None or course.outages.database.away_since is not None:
            return
        if self.notes.due(self.now, idle_until=self._idle_until()):
            until, reasons = course.deadline, course.waiting_for
            said = progress(self.queue, course.outages, until=until, reasons=reasons)
            self.notes.note(said, now=self.now)

    def _idle_until(self) -> datetime:
        """Return the next start's time, be a worker free then or not; or when to ask again for a
        service that is away."""
        away = self.course.outages.away
        return self._wake() if away else self.queue.next_at(running=0) or self.course.deadline

    def _handle_all(self, ended: list[Ended]) -> None:
        """Handle these, and those that have come back besides."""
        while not self.inbox.empty():
            ended = [*ended, *self.inbox.get()]
        for each in ended:
            self.running -= 1
            self.begun_ahead.pop(each.entry.user.id, None)
            self.ends.append(self.now)
            self.course.handle(each)
        self.course.results.record_failures()
