"""How imports and runs ended: frozen values, from one user's outcome up to a run's summary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from checkinsync.errors import AtWork, Interrupted, RateLimited, UserRemoved
from checkinsync.model.changes import Saved
from checkinsync.model.user import User

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
