"""The results of a run's users so far, summed up in the end."""

from __future__ import annotations

import socket
from collections.abc import Collection
from datetime import datetime

from checkinsync.errors import CheckinsyncError, sentence
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.outages import Outages
from checkinsync.nightly.summary import RunSummary, run_outcome, suspicious
from checkinsync.store.pool import Pool
from checkinsync.sync import record
from checkinsync.sync.outcome import TOKEN_TROUBLE, Failed, Outcome, UserReport


class RunResults:
    """One report for each user who is done, and the work of each one's attempts."""

    def __init__(self, *, pool: Pool, started: datetime) -> None:
        self._pool = pool
        self._started = started
        self._reports: list[UserReport] = []
        self._saved: dict[int, Saved] = {}
        self._unrecorded: list[tuple[User, Exception]] = []

    def add(self, user: User, saved: Saved) -> None:
        """Add what an attempt stored, however it ended."""
        before = self._saved.get(user.id)
        self._saved[user.id] = saved if before is None else before + saved

    def report(self, user: User, outcome: Outcome, attempts: int) -> None:
        """Report how the user's import ended."""
        self._reports.append(UserReport(user, outcome, attempts, self.saved(user)))

    def fail(self, user: User, error: Exception, attempts: int) -> None:
        """Report that the user failed; why is stored by `record_failures`."""
        self.report(user, Failed(error), attempts=attempts)
        self._unrecorded.append((user, error))

    def record_failures(self) -> None:
        """Store why users failed since the last time, unless it is about their tokens."""
        failed, self._unrecorded = self._unrecorded, []
        for user, error in failed:
            if not isinstance(error, TOKEN_TROUBLE):
                record.failed(user, sentence(error), pool=self._pool, since=self._started)

    def take_back_failures(self, users: Collection[int]) -> list[User]:
        """Withdraw the failures of these users (by id), who were not to blame; return the users."""
        failed = [r for r in self._reports if isinstance(r.outcome, Failed) and r.user.id in users]
        for report in failed:
            self._reports.remove(report)
        return [report.user for report in failed]

    @property
    def reports(self) -> dict[int, UserReport]:
        """The reports of the users who are done, by id."""
        return {report.user.id: report for report in self._reports}

    def saved(self, user: User) -> Saved:
        """Return what the user's attempts have stored together."""
        return self._saved.get(user.id, Saved())

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of the users who are done."""
        return [report.outcome for report in self._reports]

    def record_tokens(self) -> None:
        """Store who must log in again, unless so many tokens fail that our settings are suspect."""
        if suspicious(self.outcomes):
            record.suspicion(pool=self._pool)
        else:
            record.tokens(self._reports, pool=self._pool)

    def summary(
        self,
        run_id: int,
        *,
        finished: datetime,
        requests: int,
        not_due: tuple[tuple[User, str], ...],
        stop: CheckinsyncError | None,
        outages: Outages,
    ) -> RunSummary:
        """The run in one value, with its exit code; see `run_outcome`."""
        outcome, code = run_outcome(
            self.outcomes,
            stop=stop,
            nothing_heard=outages.nothing_heard,
            paused=bool(outages.away),
        )
        return RunSummary(
            run_id,
            self._started,
            finished,
            socket.gethostname(),
            tuple(sorted(self._reports, key=lambda report: report.user.id)),
            not_due,
            requests,
            outcome,
            code,
        )
