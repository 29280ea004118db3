"""What is news to an operator, beside a run's result: lasting failures, and their end; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.user import User
from checkinsync.nightly.summary import Alerts, RunRecord, RunSummary
from checkinsync.sync.outcome import TOKEN_TROUBLE, Failed, Imported, UserReport

LASTING = 3
"""Nights in a row that a user has failed when it is told: one or two often pass by themselves."""

TOLD_AGAIN_AFTER = 7
"""Nights until it is told again."""


@dataclass(frozen=True, slots=True)
class Streak:
    """A user's failures in a row, before this run."""

    failures: int
    since: datetime | None
    """Their last finished import, or else when they connected; None: not known."""

    def nights(self, at: datetime, *, more: int = 0) -> int:
        """Return the nights failed until then: several runs of one night count as one."""
        failures = self.failures + more
        if self.since is None or self.since > at:  # a wrong clock wrote it
            return failures
        return min(failures, round((at - self.since) / timedelta(days=1)))


def alerts(
    reports: Iterable[UserReport],
    *,
    at: datetime,
    before: RunRecord | None,
    streaks: Mapping[int, Streak],
) -> Alerts:
    """Return what is news in a run that began at `at`. `streaks`: by user id, before the run."""
    failing: list[tuple[User, int]] = []
    recovered: list[User] = []
    for report in reports:
        streak = streaks.get(report.user.id, Streak(0, None))
        told = _times_told(streak.nights(at if before is None else before.started_at))
        match report.outcome:
            case Imported() if told:
                recovered.append(report.user)
            case Failed(error) if not isinstance(error, TOKEN_TROUBLE):
                nights = streak.nights(at, more=1)
                if _times_told(nights) > told:
                    failing.append((report.user, nights))
    return Alerts(tuple(failing), tuple(recovered), before)


def _times_told(nights: int) -> int:
    return 0 if nights < LASTING else 1 + (nights - LASTING) // TOLD_AGAIN_AFTER


def troubled(run: RunSummary | RunRecord) -> bool:
    """Return True if the run as a whole went wrong, beside users who fail now and then.

    That is any outcome but `ok` and `partial`; users who were due and not tried to the end; or most
    users failed, if there were several.
    """
    if run.outcome != "partial":
        return run.outcome != "ok"
    most = run.due > 1 and 2 * run.failed > run.due
    return most or run.synced + run.failed < run.due
