"""Outcomes of imports: frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from checkinsync.errors import (
    AtWork,
    Interrupted,
    NoToken,
    RateLimited,
    TokenRejected,
    TokenUnreadable,
    UserRemoved,
)
from checkinsync.model.changes import Saved
from checkinsync.model.user import User

T = TypeVar("T")

TOKEN_TROUBLE = (TokenRejected, TokenUnreadable, NoToken)
"""Stored at the end of a run, when it is known that our own settings are not to blame."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished walk: everything in the window is stored."""

    saved: Saved
    requests: int
    seconds: float
    cursor: datetime | None
    """Everything up to here is stored; None if the walk moved no cursor (`--since`)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not imported, without a failure; `reason` is half a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Not finished; resumes at `at`. A rate limit uses up no retry."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not finished, and not tried again in this run."""

    error: Exception


Outcome = Imported | Skipped | RetryAt | Failed


def ended_with(error: Exception) -> Outcome:
    """Return the outcome of an import that an error ended; not every error is a failure."""
    match error:
        case AtWork() | Interrupted() | UserRemoved():
            return Skipped(str(error))
        case RateLimited(until=until):
            return RetryAt(until, str(error))
    return Failed(error)


def attempted(do: Callable[[], T]) -> T | Exception:
    """Do a part of one user's import, and return what came of it, be it an error: of whatever kind,
    it is this user's, and keeps no other from being imported."""
    try:
        return do()
    except Exception as error:  # noqa: BLE001 - see above
        return error


@dataclass(frozen=True, slots=True)
class UserReport:
    """One user's result in a run."""

    user: User
    outcome: Outcome
    attempts: int
    saved: Saved
    """Stored by all attempts together."""
