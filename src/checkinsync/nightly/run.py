"""A run: import everyone who is due, and let one failure stay one failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue

from checkinsync.errors import (
    ApiGone,
    CertificateRejected,
    CheckinsyncError,
    DatabaseAway,
    DatabaseExhausted,
    Exit,
    FoursquareAway,
    Interrupted,
    PlanExhausted,
    QuotaExceeded,
    TokenRejected,
    TokenUnreadable,
    sentence,
)
from checkinsync.nightly.alerts import alerts
from checkinsync.nightly.attempt import Ended, ImportOne, attempt
from checkinsync.nightly.begin import Begun, begin, store_end
from checkinsync.nightly.notices import names_dead_tokens, notices
from checkinsync.nightly.outages import FOURSQUARE_NAME, CircuitBreaker, Outages
from checkinsync.nightly.plan import RunOptions, slots
from checkinsync.nightly.progress import Notes, progress
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.retries import Attempts, retry_policy
from checkinsync.nightly.schedule import Entry, Queue
from checkinsync.nightly.summary import RunSummary
from checkinsync.nightly.wait import Inbox, Wait, wait_for
from checkinsync.store.pool import probe
from checkinsync.sync.import_user import Imports
from checkinsync.sync.outcome import Failed, Outcome, RetryAt, Skipped
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks, Services

SPARE = timedelta(minutes=15)
"""Before the deadline no import looks beyond its window any more."""

log = logging.getLogger(__name__)


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
    import_one = import_one or Imports(services, Nightly(options.overlap), in_run=True)
    with begin(services, options=options, wait=wait, check_stop=check_stop) as begun:
        on_begun()
        work = _Run(begun, services, options, check_stop, import_one, wait)
        work.prepare()
        work.run()
        work.results.record_tokens()
        summary = work.summary()
        store_end(services.pool, summary, reminded=work.reminds)
        figures = {"due": summary.due, "synced": summary.synced, "failed": summary.failed}
        figures |= {"skipped": summary.skipped, "requests": summary.requests}
        _log("run_finished", begun.run_id, outcome=summary.outcome, **figures)
        return summary


@dataclass(slots=True)
class _Run:
    """The state of a run while it goes on."""

    begun: Begun
    services: Services
    options: RunOptions
    asked_to_stop: Callable[[], None]
    import_one: ImportOne
    wait: Wait
    queue: Queue = field(init=False)
    attempts: Attempts = field(init=False)
    results: RunResults = field(init=False)
    orders: dict[int, int] = field(default_factory=dict)
    """Each user's place in the plan."""
    inbox: Inbox = field(default_factory=SimpleQueue)
    running: int = 0
    outages: Outages = field(default_factory=Outages)
    doubted: list[Entry] = field(default_factory=list)
    """Users whose tokens were refused before any was accepted: tried again after the others."""
    waiting_for: dict[int, str] = field(default_factory=dict)
    """The reason why a user is tried again, by their id."""
    notes: Notes = field(init=False)
    stop: CheckinsyncError | None = None
    """The reason why nothing more is started; the imports in hand finish their pages."""

    def __post_init__(self) -> None:
        self.queue = Queue((), workers=self.options.workers)
        self.notes = Notes(self.services.pool, self.run_id)
        self.results = RunResults(pool=self.services.pool, started=self.started)
        policy = retry_policy(retries=self.options.retries, delay=self.options.retry_delay)
        self.attempts = Attempts(policy)

    @property
    def now(self) -> datetime:
        return self.services.now()

    @property
    def run_id(self) -> int:
        return self.begun.run_id

    @property
    def started(self) -> datetime:
        return self.begun.started

    @property
    def deadline(self) -> datetime:
        return self.started + self.options.deadline

    # --- the plan ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Log who is skipped and why, and give the others their slots."""
        selection, log_event = self.begun.selection, self._log
        log_event("run_started", workers=self.options.workers)
        log_event("users_found", due=selection.count, skipped=len(selection.skipped))
        for user, reason in selection.skipped:
            log_event("user_skipped", user_id=user.id, reason=reason)
        for user in selection.unreadable:
            problem = f"no key decrypts the stored token of {user}: add the key that encrypted it, "
            problem += "or let them log in again"
            self.results.fail(user, TokenUnreadable(problem), attempts=0)
        limits = {user.id: until for user, until in selection.due if until is not None}
        entries = []
        for entry in slots(selection, options=self.options, now=self.started):
            until = limits.get(entry.user.id, self.started)
            if until < self.deadline:
                entries.append(entry)
            else:
                reason = "the rate limit lets nothing through before"
                self.results.report(entry.user, RetryAt(until, reason), attempts=0)
        for entry in entries:
            log_event("user_scheduled", user_id=entry.user.id, start=entry.at.isoformat())
        self.orders = {entry.user.id: entry.order for entry in entries}
        self.queue = Queue(entries, workers=self.options.workers)

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Start what is due, handle what comes back, until nothing is left or the run must end."""
        with ThreadPoolExecutor(self.options.workers, thread_name_prefix="import") as executor:
            while self._goes_on():
                self._check_end()
                self._start_what_is_due(executor)
                if self._goes_on():
                    self._note()
                    self._handle(self.wait(self.inbox, until=self._wake(), running=self.running))
        self._ask_doubted_again()
        for entry in self.queue.rest():
            reason = str(self.stop) if self.stop else "nothing more could be started"
            self.results.report(
                entry.user, Skipped(reason), attempts=self.attempts.number(entry.user.id) - 1
            )
            self._log("user_skipped", user_id=entry.user.id, reason=reason)

    def _goes_on(self) -> bool:
        """Return True if anything is running or to be started. Doubted tokens come last."""
        if not self.running and not self.queue:
            self._ask_doubted_again()
        return bool(self.running or (self.queue and self.stop is None))

    def _ask_doubted_again(self) -> None:
        for entry in self.doubted:
            self.queue.again(entry, self.now)
        self.doubted.clear()

    def _check_end(self) -> None:
        """End the run where asked to stop, out of time, or a service stays away."""
        if self.stop is not None:
            return
        try:
            self._check_stop()
        except Interrupted as reason:
            self.stop = reason
        else:
            self.stop = self.outages.given_up(self.now)

    def _check_stop(self) -> None:
        """Called before each request of each import. Raises Interrupted, or what ended the run."""
        self.asked_to_stop()
        if self.stop is not None:
            raise Interrupted(str(self.stop))
        if self.now >= self.deadline:
            silent = " and ".join(self.outages.silent)
            why = f" while {silent} did not answer" if silent else ""
            raise Interrupted(f"the run's deadline came first{why}", exit_code=Exit.PARTIAL)

    def _start_what_is_due(self, executor: ThreadPoolExecutor) -> None:
        if self.stop is not None:
            return
        if self.outages.database.away_since is not None:
            self._look_for_database(self.outages.database)
        elif self.outages.foursquare.away_since is not None:
            self._look_for_foursquare(self.outages.foursquare, executor)
        else:
            self._start_all(executor)

    def _start_all(self, executor: ThreadPoolExecutor) -> None:
        while (entry := self.queue.take(self.now, running=self.running)) is not None:
            self._start(executor, entry)

    def _look_for_foursquare(self, service: CircuitBreaker, executor: ThreadPoolExecutor) -> None:
        """Probe with one user at a time."""
        if self.running or not service.looks(self.now):
            return
        entry = self.queue.take_any()
        if entry is not None:
            self._start(executor, entry)

    def _look_for_database(self, service: CircuitBreaker) -> None:
        if not service.looks(self.now):
            return
        if probe(self.services.pool):
            since = service.away_since
            service.answered()
            self._resumed(since)
        else:
            service.away(self.now)

    def _resumed(self, since: datetime | None) -> None:
        """The pause does not count against the slots."""
        if since is not None and not self.outages.away:
            pause = self.now - since
            self.queue.postpone(pause)
            self._log("run_resumed", paused_seconds=round(pause.total_seconds()))

    def _start(self, executor: ThreadPoolExecutor, entry: Entry) -> None:
        self.running += 1
        executor.submit(self._attempt, entry)

    def _attempt(self, entry: Entry) -> None:
        may_scrub = partial(self._may_look_back, entry.user.id)
        hooks = Hooks(check_stop=self._check_stop, may_scrub=may_scrub)
        self.inbox.put(attempt(entry, self.import_one, run_id=self.run_id, hooks=hooks))

    def _may_look_back(self, user_id: int) -> bool:
        """Return True if no user's window has to wait, since none's start is due; or if it is this
        user's turn. Never when the deadline is near."""
        now = self.now
        if self.stop is not None or now >= self.deadline - SPARE:
            return False
        return user_id in self.begun.found.look_back or not self.queue.start_is_due(now)

    def _wake(self) -> datetime:
        """Return when to look again though nothing comes back."""
        if self.stop is not None:
            return self.deadline + timedelta(days=1)  # only what still runs is waited for
        times = [self.deadline]
        if not self.outages.away:
            times.append(self.queue.next_at(running=self.running) or self.deadline)
        elif not self.running:
            times.append(self.outages.next_look or self.deadline)
        return min(times)

    def _note(self) -> None:
        """Store who is next and what is paused, for those who watch."""
        if self.stop is not None or self.outages.database.away_since is not None:
            return
        if self.notes.due(self.now, idle_until=self._wake()):
            reasons = self.waiting_for
            said = progress(self.queue, self.outages, until=self.deadline, reasons=reasons)
            self.notes.note(said, now=self.now)

    # --- what comes back --------------------------------------------------------------------------

    def _handle(self, ended: Ended | None) -> None:
        if ended is None:
            return
        self.running -= 1
        self.results.add(ended.entry.user, ended.saved)
        self.stop = self.stop or ended.interrupted
        self._update_outages(ended)
        entry = ended.entry
        match ended.outcome:
            case RetryAt(at, reason):
                self._park(entry, at, reason)
            case Failed(DatabaseExhausted() as error):
                self._retry_or_fail(entry, error)
            case Failed(DatabaseAway()):
                self.queue.again(entry, self.now)
            case Failed(PlanExhausted() | CertificateRejected() | ApiGone(sure=True) as error):
                self._end(entry, error)
            case Failed(ApiGone() as error) if self.outages.api_is_gone:
                self._end(entry, error)
            case Failed(QuotaExceeded() as quota):
                self.stop = self.stop or quota
                self._report(entry, RetryAt(_next_midnight(self.now), str(quota)))
            case Failed(TokenRejected(sure=False)):
                self.doubted.append(entry)
            case Failed(error):
                self._retry_or_fail(entry, error)
            case outcome:
                self._report(entry, outcome)

    def _end(self, entry: Entry, error: CheckinsyncError) -> None:
        """End the run: what this user met, every user would meet."""
        self.stop = self.stop or error
        self._report(entry, Skipped(str(error)))

    def _report(self, entry: Entry, outcome: Outcome) -> None:
        self.results.report(entry.user, outcome, attempts=self.attempts.number(entry.user.id))

    def _update_outages(self, ended: Ended) -> None:
        """Begin or end a pause, by what an attempt says of Foursquare and the database."""
        before = dict(self.outages.away)
        since = min((s.away_since for s in before.values() if s.away_since), default=None)
        user_id = ended.entry.user.id
        number = self.attempts.number(user_id)
        self.outages.hear(user_id, ended.outcome, attempt=number, now=self.now)
        for name, _ in self.outages.away:
            if name not in before:
                self._log("run_paused", service=name)
                if name == FOURSQUARE_NAME:
                    self._restore_retries()
        self._resumed(since)

    def _park(self, entry: Entry, at: datetime, reason: str) -> None:
        """A rate limit uses up no retry; one that outlasts the run ends it for this user."""
        if at >= self.deadline:
            self._report(entry, RetryAt(at, reason))
            return
        self._schedule_again(entry, at, reason)

    def _schedule_again(self, entry: Entry, at: datetime, reason: str) -> None:
        self.queue.again(entry, at)
        self.waiting_for[entry.user.id] = reason
        self._log("retry_scheduled", user_id=entry.user.id, at=at.isoformat(), reason=reason)

    def _retry_or_fail(self, entry: Entry, error: Exception) -> None:
        foursquare, user_id = self.outages.foursquare, entry.user.id
        if isinstance(error, FoursquareAway) and foursquare.away_since is not None:
            # the outage was to blame: keep the retry
            self.attempts.restore(user_id, foursquare.in_a_row[user_id])
            self.queue.again(entry, self.now)
            return
        number = self.attempts.number(user_id)
        delay = self.attempts.delay_after(user_id, error)
        if delay is None:
            self.results.fail(entry.user, error, attempts=number)
        else:
            self._schedule_again(entry, self.now + delay, sentence(error))

    def _restore_retries(self) -> None:
        """Give the users who showed that Foursquare is away their retries back, also those who
        had used them up."""
        shown = self.outages.foursquare.in_a_row
        for user_id, number in shown.items():
            self.attempts.restore(user_id, number)
        for user in self.results.take_back_failures(shown):
            self.queue.again(Entry(self.now, self.orders[user.id], user), self.now)

    # --- the end ----------------------------------------------------------------------------------

    @property
    def reminds(self) -> bool:
        """True if this run names users who must log in again."""
        rejected = any(
            isinstance(outcome, Failed) and isinstance(outcome.error, TokenRejected)
            for outcome in self.results.outcomes
        )
        begun = self.begun
        return rejected or names_dead_tokens(self.started, begun.found, begun.selection)

    def summary(self) -> RunSummary:
        """The run in one value, with its exit code."""
        begun = self.begun
        summary = self.results.summary(
            self.run_id,
            finished=self.now,
            requests=self.services.foursquare.requests,
            not_due=begun.selection.skipped,
            stop=self.stop,
            outages=self.outages,
        )
        said = notices(self.started, begun.found, begun.selection, summary)
        news = alerts(
            summary.reports,
            at=self.started,
            before=begun.found.before,
            streaks=begun.found.streaks,
        )
        return replace(summary, notices=said, alerts=news)

    def _log(self, event: str, **fields: object) -> None:
        _log(event, self.run_id, **fields)


def _log(event: str, run_id: int | None, **fields: object) -> None:
    log.info(event, extra={"run_id": run_id, **fields})


def _next_midnight(now: datetime) -> datetime:
    """Return when the daily quota clears (seen in recorded answers: at UTC midnight)."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)
