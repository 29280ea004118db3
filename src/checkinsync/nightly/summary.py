"""The summary of a run, with the name of its outcome and its exit code; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from checkinsync.errors import (
    ApiGone,
    CertificateRejected,
    DatabaseAway,
    DatabaseError,
    Exit,
    FoursquareAway,
    Interrupted,
    QuotaExceeded,
    TokenRejected,
)
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped, UserReport

FOR_EVERYBODY = (FoursquareAway, DatabaseAway, ApiGone, CertificateRejected)
"""Errors that end a run because every user would meet them."""


SUSPICIOUS_FROM = 3
"""From this many users on, more than half rejected means that our settings are wrong."""


def suspicious(outcomes: Sequence[Outcome]) -> bool:
    """Return True if Foursquare rejected so many tokens that our own settings are suspect."""
    tried = [outcome for outcome in outcomes if isinstance(outcome, Imported | Failed)]
    rejected = [o for o in tried if isinstance(o, Failed) and isinstance(o.error, TokenRejected)]
    return len(tried) >= SUSPICIOUS_FROM and 2 * len(rejected) > len(tried)


def run_outcome(
    outcomes: Sequence[Outcome], *, stop: Exception | None, nothing_heard: bool, paused: bool
) -> tuple[str, int]:
    """The worst that applies: interrupted, then 69 before 5 before 3.

    `stop`: what ended the run early, if anything did; `nothing_heard`: Foursquare was asked and
    never answered; `paused`: a service was away just then.
    """
    failures = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    if isinstance(stop, Interrupted) and stop.exit_code != Exit.PARTIAL:
        return "interrupted", stop.exit_code
    if isinstance(stop, FOR_EVERYBODY) or (stop is not None and paused):
        return "away", Exit.AWAY
    if nothing_heard or (failures and not _served(outcomes) and _all_away(failures)):
        return "away", Exit.AWAY
    if suspicious(outcomes):
        return "suspect", Exit.AWAY
    if isinstance(stop, QuotaExceeded):
        return "quota", Exit.LIMITED
    if any(isinstance(outcome, RetryAt) for outcome in outcomes):
        return "rate_limited", Exit.LIMITED
    return ("partial", Exit.PARTIAL) if failures or stop is not None else ("ok", Exit.OK)


def _served(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(outcome, Imported) for outcome in outcomes)


def _all_away(failures: Sequence[Exception]) -> bool:
    """Return True if each failure lies with the database or the API, and with no user."""
    return all(
        isinstance(error, DatabaseError | ApiGone) and error.exit_code == Exit.AWAY
        for error in failures
    )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A row of `sync_runs`."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    host: str
    due: int
    synced: int
    failed: int
    skipped: int
    requests: int
    new: int
    changed: int
    gone: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Alerts:
    """What is news in a run, for notices to the operator: see `nightly.alerts`."""

    failing: tuple[tuple[User, int], ...] = ()
    """Users who have failed for so many nights in a row that it is told."""
    recovered: tuple[User, ...] = ()
    """Users of whom that was told, and who are imported again."""
    before: RunRecord | None = None
    """The run before; `killed` if it did not store its end."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The work of a run."""

    run_id: int | None
    started_at: datetime
    finished_at: datetime
    host: str
    reports: tuple[UserReport, ...]
    """One report for each user who was due."""
    not_due: tuple[tuple[User, str], ...]
    """Active users who were not, with the reason."""
    requests: int
    outcome: str
    """`ok`, `partial`, `rate_limited`, `quota`, `away`, `suspect` or `interrupted`."""
    exit_code: int
    notices: tuple[str, ...] = ()
    """Sentences to be said whatever the outcome: see `nightly.notices`."""
    alerts: Alerts = Alerts()

    @property
    def due(self) -> int:
        """Users who were to be imported."""
        return len(self.reports)

    @property
    def synced(self) -> int:
        """Users whose window is stored."""
        return sum(isinstance(report.outcome, Imported) for report in self.reports)

    @property
    def failed(self) -> int:
        """Users whose import ended with an error."""
        return sum(isinstance(report.outcome, Failed) for report in self.reports)

    @property
    def skipped(self) -> int:
        """Users who were not imported, or not to the end, for no fault of theirs."""
        left = sum(isinstance(report.outcome, Skipped | RetryAt) for report in self.reports)
        return left + len(self.not_due)

    @property
    def saved(self) -> Saved:
        """The work of all users' imports together."""
        return sum((report.saved for report in self.reports), Saved())
