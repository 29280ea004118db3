"""A run: import everyone who is due, and let one failure stay one failure."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg
from tenacity import RetryCallState, wait_exponential, wait_random
from tenacity.wait import wait_base

from checkinsync.errors import (
    AtWork,
    CheckinsyncError,
    DatabaseAway,
    DatabaseExhausted,
    FoursquareAway,
    Interrupted,
    LeaseLost,
    QuotaExceeded,
    TokenRejected,
    TokenUnreadable,
    UnsteadyList,
)
from checkinsync.model.user import User
from checkinsync.nightly import due, queries
from checkinsync.nightly.attempt import Ended, ImportOne, attempt
from checkinsync.nightly.outages import FOURSQUARE_NAME, CircuitBreaker, Outages
from checkinsync.nightly.plan import RunOptions, select_due, slots
from checkinsync.nightly.results import RunResults, told
from checkinsync.nightly.schedule import Entry, Queue
from checkinsync.nightly.summary import PARTIAL, RunSummary
from checkinsync.store import leases
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import Pool, probe, transaction
from checkinsync.sync.outcome import Failed, RetryAt, Skipped
from checkinsync.verify import queries as verifications

log = logging.getLogger(__name__)

RETRIED = (
    DatabaseExhausted,
    FoursquareAway,
    LeaseLost,
    UnsteadyList,
    psycopg.OperationalError,
)
"""What may be gone in a minute; everything else ends the user's import for tonight."""


SPARE = timedelta(minutes=15)
"""Before the deadline no import looks back beyond its window any more."""

Inbox = queue.SimpleQueue[Ended]


class Wait(Protocol):
    """Waits until something arrives or the time has come; the only place where a run sleeps."""

    def __call__(self, inbox: Inbox, *, until: datetime | None, running: int) -> Ended | None:
        """None where nothing arrived. `running`: how many attempts may still arrive."""


def delays(delay: timedelta) -> wait_base:
    """Seconds before each retry: doubled each time, plus a little jitter (60, 120, 240)."""
    seconds = delay.total_seconds()
    return wait_exponential(multiplier=seconds) + wait_random(0, seconds / 20)


def run(
    *,
    pool: Pool,
    lease_renewer: LeaseRenewer,
    import_one: ImportOne,
    can_decrypt: Callable[[str], bool],
    plan: RunOptions,
    host: str,
    now: Callable[[], datetime],
    wait: Wait,
    check_stop: Callable[[], None],
    requests: Callable[[], int],
) -> RunSummary:
    """Import everyone who is due; returns when all are done, or nothing more can be.

    `opens`: whether a key fits a sealed token; `go_on` raises Interrupted when asked to stop;
    `requests`: how many HTTP requests were sent so far.
    Raises AtWork where a run is at work already, SettingsError, DatabaseAway at the start.
    """
    started = now()
    with transaction(pool) as conn:
        lease = leases.acquire(conn, leases.RUN, alive=lease_renewer.tokens())
    if lease is None:
        raise AtWork("another run is at work; it is left alone")
    try:
        with lease_renewer.renewing(lease):
            sorted_out = select_due(pool=pool, can_decrypt=can_decrypt, plan=plan, now=started)
            with transaction(pool) as conn:
                run_id = queries.start(conn, at=started, host=host, due=_due(sorted_out))
            run = _Run(
                run_id,
                started,
                pool=pool,
                import_one=import_one,
                plan=plan,
                now=now,
                wait=wait,
                check_stop=check_stop,
            )
            run.prepare(sorted_out)
            run.run()
            run.tally.record_tokens()
            return _closed(pool, run.summary(host, requests(), sorted_out.skipped))
    finally:
        with suppress(DatabaseAway, psycopg.OperationalError), transaction(pool) as conn:
            leases.release(conn, lease)


def _due(sorted_out: due.Selection) -> int:
    return len(sorted_out.due) + len(sorted_out.unreadable)


def _closed(pool: Pool, summary: RunSummary) -> RunSummary:
    with suppress(DatabaseAway, psycopg.OperationalError), transaction(pool) as conn:
        assert summary.run_id is not None
        queries.finish(conn, summary.run_id, summary)
        verifications.forget(conn, before=summary.started_at - verifications.KEPT)
    figures = {"due": summary.due, "synced": summary.synced, "failed": summary.failed}
    figures |= {"skipped": summary.skipped, "requests": summary.requests}
    _log("run_finished", summary.run_id, outcome=summary.outcome, **figures)
    return summary


class _Run:
    """What a run knows while it goes on."""

    def __init__(
        self,
        run_id: int,
        started: datetime,
        *,
        pool: Pool,
        import_one: ImportOne,
        plan: RunOptions,
        now: Callable[[], datetime],
        wait: Wait,
        check_stop: Callable[[], None],
    ) -> None:
        self.run_id = run_id
        self.started = started
        self.deadline = started + plan.deadline
        self.pool = pool
        self.import_one = import_one
        self.plan = plan
        self.now = now
        self.wait = wait
        self.asked_to_go_on = check_stop
        self.agenda = Queue((), workers=plan.workers)
        self.orders: dict[int, int] = {}
        """Each user's place in the plan."""
        self.inbox: Inbox = queue.SimpleQueue()
        self.running = 0
        self.services = Outages()
        self.doubted: list[Entry] = []
        """Users whose tokens were refused before anybody's was taken: asked again after others."""
        self.tally = RunResults(pool=pool, started=started)
        self.stop: CheckinsyncError | None = None
        """Why nothing more is started; the imports in hand finish their pages."""

    # --- the plan ---------------------------------------------------------------------------------

    def prepare(self, sorted_out: due.Selection) -> None:
        """Say who is skipped and why, and give the others their slots."""
        log_event = self._log
        log_event("run_started", workers=self.plan.workers)
        log_event("users_found", due=_due(sorted_out), skipped=len(sorted_out.skipped))
        for user, reason in sorted_out.skipped:
            log_event("user_skipped", user_id=user.id, reason=reason)
        for user in sorted_out.unreadable:
            problem = f"no key opens the stored token of {user}: give the key that sealed it, or "
            self.tally.fail(user, TokenUnreadable(problem + "let them log in again"), attempts=0)
        limits = {user.id: until for user, until in sorted_out.due if until is not None}
        entries = []
        for entry in slots(sorted_out, plan=self.plan, now=self.started):
            until = limits.get(entry.user.id, self.started)
            if until < self.deadline:
                entries.append(entry)
            else:
                reason = "the rate limit lets nothing through before"
                self.tally.report(entry.user, RetryAt(until, reason), attempts=0)
        for entry in entries:
            log_event("user_scheduled", user_id=entry.user.id, start=entry.at.isoformat())
        self.orders = {entry.user.id: entry.order for entry in entries}
        self.agenda = Queue(entries, workers=self.plan.workers)

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Start what is due, take in what comes back, until nothing is left or the run must end."""
        with ThreadPoolExecutor(self.plan.workers, thread_name_prefix="import") as executor:
            while self._goes_on():
                self._check_end()
                self._start_what_is_due(executor)
                if self._goes_on():
                    self._handle(self.wait(self.inbox, until=self._wake(), running=self.running))
        self._ask_doubted_again()
        for entry in self.agenda.rest():
            reason = str(self.stop) if self.stop else "nothing more could be started"
            self.tally.report(entry.user, Skipped(reason), attempts=entry.attempt - 1)
            self._log("user_skipped", user_id=entry.user.id, reason=reason)

    def _goes_on(self) -> bool:
        """Whether anything is at work or to be started. Doubted tokens come last."""
        if not self.running and not self.agenda:
            self._ask_doubted_again()
        return bool(self.running or (self.agenda and self.stop is None))

    def _ask_doubted_again(self) -> None:
        for entry in self.doubted:
            self.agenda.again(entry, self.now(), attempt=entry.attempt)
        self.doubted.clear()

    def _check_end(self) -> None:
        """Whether the run must end: asked to stop, out of time, or a service stays away."""
        if self.stop is not None:
            return
        try:
            self._may_go_on()
        except Interrupted as reason:
            self.stop = reason
        else:
            self.stop = self.services.given_up(self.now())

    def _may_go_on(self) -> None:
        """Asked before each request of each import. Raises Interrupted or what ended the run."""
        self.asked_to_go_on()
        if self.stop is not None:
            raise Interrupted(str(self.stop))
        if self.now() >= self.deadline:
            silent = " and ".join(self.services.silent)
            why = f" while {silent} did not answer" if silent else ""
            raise Interrupted(f"the run's deadline came first{why}", exit_code=PARTIAL)

    def _start_what_is_due(self, executor: ThreadPoolExecutor) -> None:
        if self.stop is not None:
            return
        if self.services.database.away_since is not None:
            self._look_for_database(self.services.database)
        elif self.services.foursquare.away_since is not None:
            self._look_for_foursquare(self.services.foursquare, executor)
        else:
            self._start_all(executor)

    def _start_all(self, executor: ThreadPoolExecutor) -> None:
        while (entry := self.agenda.take(self.now(), running=self.running)) is not None:
            self._start(executor, entry)

    def _look_for_foursquare(self, service: CircuitBreaker, executor: ThreadPoolExecutor) -> None:
        """One user at a time shows whether it is back."""
        if self.running or not service.looks(self.now()):
            return
        entry = self.agenda.take_any()
        if entry is not None:
            self._start(executor, entry)

    def _look_for_database(self, service: CircuitBreaker) -> None:
        if not service.looks(self.now()):
            return
        if probe(self.pool):
            since = service.away_since
            service.answered()
            self._resumed(since)
        else:
            service.away(self.now())

    def _resumed(self, since: datetime | None) -> None:
        """The pause does not count against the slots."""
        if since is not None and not self.services.away:
            pause = self.now() - since
            self.agenda.postpone(pause)
            self._log("run_resumed", paused_seconds=round(pause.total_seconds()))

    def _start(self, executor: ThreadPoolExecutor, entry: Entry) -> None:
        self.running += 1
        executor.submit(self._attempt, entry)

    def _attempt(self, entry: Entry) -> None:
        self.inbox.put(
            attempt(
                entry,
                self.import_one,
                run_id=self.run_id,
                check_stop=self._may_go_on,
                may_scrub=self._has_time_to_spare,
            )
        )

    def _has_time_to_spare(self) -> bool:
        """Whether nobody's window has to wait for it: not somebody's whose start is due, nor when
        the deadline comes."""
        now = self.now()
        waited_for = self.agenda.start_is_due(now)
        return self.stop is None and not waited_for and now < self.deadline - SPARE

    def _wake(self) -> datetime:
        """When to look again though nothing comes back."""
        if self.stop is not None:
            return self.deadline + timedelta(days=1)  # only what still runs is waited for
        times = [self.deadline]
        if not self.services.away:
            times.append(self.agenda.next_at(running=self.running) or self.deadline)
        elif not self.running:
            times.append(self.services.next_look or self.deadline)
        return min(times)

    # --- what comes back --------------------------------------------------------------------------

    def _handle(self, ended: Ended | None) -> None:
        if ended is None:
            return
        self.running -= 1
        self.tally.add(ended.entry.user, ended.saved)
        self.stop = self.stop or ended.interrupted
        self._update_outages(ended)
        entry = ended.entry
        match ended.outcome:
            case RetryAt(at, reason):
                self._park(entry, at, reason)
            case Failed(DatabaseExhausted() as error):
                self._try_again_or_fail(entry, error)
            case Failed(DatabaseAway()):
                self.agenda.again(entry, self.now(), attempt=entry.attempt)
            case Failed(QuotaExceeded() as quota):
                self.stop = self.stop or quota
                self.tally.report(
                    entry.user, RetryAt(_next_midnight(self.now()), str(quota)), entry.attempt
                )
            case Failed(TokenRejected(sure=False)):
                self.doubted.append(entry)
            case Failed(error):
                self._try_again_or_fail(entry, error)
            case outcome:
                self.tally.report(entry.user, outcome, attempts=entry.attempt)

    def _update_outages(self, ended: Ended) -> None:
        """What an attempt says of Foursquare and the database: a pause begins, or ends."""
        before = dict(self.services.away)
        since = min((s.away_since for s in before.values() if s.away_since), default=None)
        self.services.hear(ended.entry, ended.outcome, now=self.now())
        for name, _ in self.services.away:
            if name not in before:
                self._log("run_paused", service=name)
                if name == FOURSQUARE_NAME:
                    self._restore_retries()
        self._resumed(since)

    def _park(self, entry: Entry, at: datetime, reason: str) -> None:
        """A rate limit uses up no retry; one that outlasts the run ends it for this user."""
        if at >= self.deadline:
            self.tally.report(entry.user, RetryAt(at, reason), attempts=entry.attempt)
            return
        self.agenda.again(entry, at, attempt=entry.attempt)
        self._log("retry_scheduled", user_id=entry.user.id, at=at.isoformat(), reason=reason)

    def _try_again_or_fail(self, entry: Entry, error: Exception) -> None:
        foursquare = self.services.foursquare
        if isinstance(error, FoursquareAway) and foursquare.away_since is not None:
            before = foursquare.in_a_row[entry.user.id]  # it is not he who failed
            self.agenda.again(entry, self.now(), attempt=before)
        elif isinstance(error, RETRIED) and entry.attempt <= self.plan.retries:
            at = self.now() + timedelta(seconds=self._delay(entry.attempt))
            self.agenda.again(entry, at, attempt=entry.attempt + 1)
            self._log(
                "retry_scheduled", user_id=entry.user.id, at=at.isoformat(), reason=told(error)
            )
        else:
            self.tally.fail(entry.user, error, attempts=entry.attempt)

    def _restore_retries(self) -> None:
        """Those who showed that Foursquare is away have failed by no fault of theirs: their
        retries are given back, also to whoever had used them up."""
        shown = self.services.foursquare.in_a_row
        self.agenda.restore_attempts(shown)
        for user in self.tally.take_back_failures(shown):
            entry = Entry(self.now(), self.orders[user.id], user)
            self.agenda.again(entry, self.now(), attempt=shown[user.id])

    def _delay(self, attempt: int) -> float:
        """Seconds before the retry after attempt number `attempt`."""
        call = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        call.attempt_number = attempt
        return float(delays(self.plan.retry_delay)(call))

    # --- the end ----------------------------------------------------------------------------------

    def summary(
        self, host: str, requests: int, not_due: tuple[tuple[User, str], ...]
    ) -> RunSummary:
        """The run in one value, with its exit code."""
        return self.tally.summary(
            self.run_id,
            finished=self.now(),
            host=host,
            requests=requests,
            not_due=not_due,
            stop=self.stop,
            nothing_heard=self.services.nothing_heard,
            paused=bool(self.services.away),
        )

    def _log(self, event: str, **fields: object) -> None:
        _log(event, self.run_id, **fields)


def _log(event: str, run_id: int | None, **fields: object) -> None:
    log.info(event, extra={"run_id": run_id, **fields})


def _next_midnight(now: datetime) -> datetime:
    """When the daily quota clears (seen in recorded answers: at UTC midnight)."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)
