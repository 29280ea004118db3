"""How imports and runs ended: frozen values, from one user's outcome up to a run's summary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from checkinsync.errors import AtWork, Interrupted, RateLimited, UserRemoved
from checkinsync.model.checkin import Saved, User

# --- how an import ended ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished walk: everything the window holds is stored."""

    saved: Saved
    requests: int
    seconds: float
    cursor: datetime | None
    """Up to when everything is stored; None where the walk moved no cursor (`--since`)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not imported, and nothing is wrong; `reason` is half a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Not finished; goes on at `at`. A rate limit uses up no retry."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not finished, and not tried again in this run."""

    error: Exception


Outcome = Imported | Skipped | RetryAt | Failed


def ended_with(error: Exception) -> Outcome:
    """What an error makes of an import: not everything that ends one is a failure."""
    match error:
        case AtWork() | Interrupted() | UserRemoved():
            return Skipped(str(error))
        case RateLimited(until=until):
            return RetryAt(until, str(error))
    return Failed(error)


# --- a run --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UserReport:
    """How one user fared in a run."""

    user: User
    outcome: Outcome
    attempts: int
    saved: Saved
    """What all attempts together stored."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did."""

    run_id: int | None
    started_at: datetime
    finished_at: datetime
    host: str
    reports: tuple[UserReport, ...]
    """How the users fared who were due."""
    not_due: tuple[tuple[User, str], ...]
    """Active users who were not, with the reason."""
    requests: int
    outcome: str
    """`ok`, `partial`, `rate_limited`, `quota`, `away`, `suspect` or `interrupted`."""
    exit_code: int

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
        """What all users' imports together stored."""
        return sum((report.saved for report in self.reports), Saved())


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
