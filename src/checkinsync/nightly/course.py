"""The course of a run: what its attempts have shown so far, and what follows from each.

Starts nothing and waits for nothing: `nightly.run` does in one process, `workers` in several.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

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
    Postponed,
    QuotaExceeded,
    TokenRejected,
    TokenUnreadable,
    sentence,
)
from checkinsync.nightly.alerts import alerts
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.begin import Begun
from checkinsync.nightly.notices import names_dead_tokens, notices
from checkinsync.nightly.outages import FOURSQUARE_NAME, Outages
from checkinsync.nightly.plan import RunOptions, slots
from checkinsync.nightly.results import RunResults
from checkinsync.nightly.retries import Attempts, retry_policy
from checkinsync.nightly.schedule import Entry
from checkinsync.nightly.summary import RunSummary
from checkinsync.sync.outcome import Failed, Outcome, RetryAt, Skipped

LATE = timedelta(seconds=10)
"""So long a start may wait for others' older history. Where it waits longer, the night is too full
to read any but what has waited longest."""

SPARE = timedelta(minutes=15)
"""Before the deadline no import looks beyond its window any more."""

log = logging.getLogger("checkinsync.nightly.run")


@dataclass(slots=True)
class Course:
    """What a run knows, and decides by it."""

    begun: Begun
    options: RunOptions
    results: RunResults
    now: Callable[[], datetime]
    again: Callable[[Entry, datetime], None]
    """Queues one more attempt, at that time."""
    postpone: Callable[[timedelta], None] = lambda _: None
    """Postpones the first starts that wait, after a pause."""
    attempts: Attempts = field(init=False)
    orders: dict[int, int] = field(default_factory=dict)
    """Each user's place in the plan."""
    outages: Outages = field(default_factory=Outages)
    doubted: list[Entry] = field(default_factory=list)
    """Users whose tokens were refused before any was accepted: tried again after the others."""
    waiting_for: dict[int, str] = field(default_factory=dict)
    """The reason why a user is tried again, by their id."""
    no_time_for: set[int] = field(default_factory=set)
    """Users whose older history had to wait for the windows of others, by id."""
    stop: CheckinsyncError | None = None
    """The reason why nothing more is started; the imports in hand finish their pages."""

    def __post_init__(self) -> None:
        policy = retry_policy(retries=self.options.retries, delay=self.options.retry_delay)
        self.attempts = Attempts(policy)

    @property
    def run_id(self) -> int:
        """The run's id."""
        return self.begun.run_id

    @property
    def deadline(self) -> datetime:
        """The time when the run ends, done or not."""
        return self.begun.started + self.options.deadline

    # --- the plan ---------------------------------------------------------------------------------

    def prepare(self) -> list[Entry]:
        """Log who is skipped and why, and return the others' first attempts, in their slots."""
        selection, log_event = self.begun.selection, self.log
        log_event("run_started", workers=self.options.workers)
        log_event("users_found", due=selection.count, skipped=len(selection.skipped))
        for user, reason in selection.skipped:
            log_event("user_skipped", user_id=user.id, reason=reason)
        for user in selection.unreadable:
            problem = f"no key decrypts the stored token of {user}: add the key that encrypted it, "
            problem += "or let them log in again"
            self.results.fail(user, TokenUnreadable(problem), attempts=0)
        limits = {user.id: until for user, until in selection.due if until is not None}
        started, entries = self.begun.started, []
        for entry in slots(selection, options=self.options, now=started):
            until = limits.get(entry.user.id, started)
            if until < self.deadline:
                entries.append(entry)
            else:
                reason = "the rate limit lets nothing through before"
                self.results.report(entry.user, RetryAt(until, reason), attempts=0)
        for entry in entries:
            log_event("user_scheduled", user_id=entry.user.id, start=entry.at.isoformat())
        self.orders = {entry.user.id: entry.order for entry in entries}
        return entries

    # --- when it ends -----------------------------------------------------------------------------

    def check_stop(self) -> None:
        """Raise Interrupted if the run has been ended, or its deadline has come."""
        if self.stop is not None:
            raise Interrupted(str(self.stop))
        if self.now() >= self.deadline:
            silent = " and ".join(self.outages.silent)
            why = f" while {silent} did not answer" if silent else ""
            raise Interrupted(f"the run's deadline came first{why}", exit_code=Exit.PARTIAL)

    def check_start(self) -> None:
        """Raise Postponed if a service has gone away since this user was begun."""
        for name, _ in self.outages.away:
            raise Postponed(f"{name} does not answer; tried again when it does")

    def check_end(self, check_stop: Callable[[], None]) -> None:
        """End the run where asked to stop, out of time, or a service stays away."""
        if self.stop is not None:
            return
        try:
            check_stop()
        except Interrupted as reason:
            self.stop = reason
        else:
            self.stop = self.outages.given_up(self.now())

    def ask_doubted_again(self) -> None:
        """Queue those whose tokens were refused before any was accepted."""
        for entry in self.doubted:
            self.again(entry, self.now())
        self.doubted.clear()

    def skip(self, entry: Entry) -> None:
        """Report a user who is not started any more."""
        reason = str(self.stop) if self.stop else "nothing more could be started"
        attempts = self.attempts.number(entry.user.id) - 1
        self.results.report(entry.user, Skipped(reason), attempts=attempts)
        self.log("user_skipped", user_id=entry.user.id, reason=reason)

    # --- what comes back --------------------------------------------------------------------------

    def handle(self, ended: Ended) -> None:
        """Take in how an attempt ended: report it, or queue the next one."""
        self.results.add(ended.entry.user, ended.saved)
        self.stop = self.stop or ended.interrupted
        self._update_outages(ended)
        entry = ended.entry
        match ended.outcome:
            case RetryAt(at, reason):
                self._park(entry, at, reason)
            case Failed(DatabaseExhausted() as error):
                self._retry_or_fail(entry, error)
            case Failed(DatabaseAway() | Postponed()):
                self.again(entry, self.now())
            case Failed(PlanExhausted() | CertificateRejected() | ApiGone(sure=True) as error):
                self._end(entry, error)
            case Failed(ApiGone() as error) if self.outages.api_is_gone:
                self._end(entry, error)
            case Failed(QuotaExceeded() as quota):
                self.stop = self.stop or quota
                self._report(entry, RetryAt(_next_midnight(self.now()), str(quota)))
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
        self.outages.hear(user_id, ended.outcome, attempt=number, now=self.now())
        for name, _ in self.outages.away:
            if name not in before:
                self.log("run_paused", service=name)
                if name == FOURSQUARE_NAME:
                    self._restore_retries()
        self.resumed(since)

    def resumed(self, since: datetime | None) -> None:
        """End a pause that began then: it does not count against the slots."""
        if since is not None and not self.outages.away:
            pause = self.now() - since
            self.postpone(pause)
            self.log("run_resumed", paused_seconds=round(pause.total_seconds()))

    def _park(self, entry: Entry, at: datetime, reason: str) -> None:
        """A rate limit uses up no retry; one that outlasts the run ends it for this user."""
        if at >= self.deadline:
            self._report(entry, RetryAt(at, reason))
            return
        self._schedule_again(entry, at, reason)

    def _schedule_again(self, entry: Entry, at: datetime, reason: str) -> None:
        self.again(entry, at)
        self.waiting_for[entry.user.id] = reason
        self.log("retry_scheduled", user_id=entry.user.id, at=at.isoformat(), reason=reason)

    def _retry_or_fail(self, entry: Entry, error: Exception) -> None:
        foursquare, user_id = self.outages.foursquare, entry.user.id
        if isinstance(error, FoursquareAway) and foursquare.away_since is not None:
            # the outage was to blame: keep the retry
            self.attempts.restore(user_id, foursquare.in_a_row[user_id])
            self.again(entry, self.now())
            return
        number = self.attempts.number(user_id)
        delay = self.attempts.delay_after(user_id, error)
        if delay is None:
            self.results.fail(entry.user, error, attempts=number)
        else:
            self._schedule_again(entry, self.now() + delay, sentence(error))

    def _restore_retries(self) -> None:
        """Give the users who showed that Foursquare is away their retries back, also those who
        had used them up."""
        shown = self.outages.foursquare.in_a_row
        for user_id, number in shown.items():
            self.attempts.restore(user_id, number)
        for user in self.results.take_back_failures(shown):
            self.again(Entry(self.now(), self.orders[user.id], user), self.now())

    # --- the end ----------------------------------------------------------------------------------

    @property
    def reminds(self) -> bool:
        """True if this run names users who must log in again."""
        rejected = any(
            isinstance(outcome, Failed) and isinstance(outcome.error, TokenRejected)
            for outcome in self.results.outcomes
        )
        begun = self.begun
        return rejected or names_dead_tokens(begun.started, begun.found, begun.selection)

    def summary(self, *, requests: int) -> RunSummary:
        """The run in one value, with its exit code."""
        begun = self.begun
        summary = self.results.summary(
            self.run_id,
            finished=self.now(),
            requests=requests,
            not_due=begun.selection.skipped,
            stop=self.stop,
            outages=self.outages,
        )
        found = replace(begun.found, overdue=begun.found.overdue & self.no_time_for)
        said = notices(begun.started, found, begun.selection, summary)
        before, streaks = begun.found.before, begun.found.streaks
        news = alerts(summary.reports, at=begun.started, before=before, streaks=streaks)
        return replace(summary, notices=said, alerts=news)

    def log(self, event: str, **fields: object) -> None:
        """Log an event of the run."""
        log.info(event, extra={"run_id": self.run_id, **fields})


def _next_midnight(now: datetime) -> datetime:
    """Return when the daily quota clears (seen in recorded answers: at UTC midnight)."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)
