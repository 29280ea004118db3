"""The state of everything, from what is stored: the last runs, imports at work, every user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from checkinsync.errors import UserRemoved
from checkinsync.model import standing
from checkinsync.model.standing import NIGHTLY
from checkinsync.model.user import User
from checkinsync.nightly import queries
from checkinsync.nightly.summary import RunRecord
from checkinsync.store import jobs, users
from checkinsync.store.pool import Pool, transaction
from checkinsync.store.users import Status

RUNS = 10
"""Runs that are shown."""

MAX_AGE = NIGHTLY


@dataclass(frozen=True, slots=True)
class Report:
    """The state of everything at one moment, as `status` shows it."""

    at: datetime
    runs: tuple[RunRecord, ...]
    run_at_work: bool
    """The newest run is at work, and its process is alive."""
    running: tuple[jobs.Job, ...]
    users: tuple[Status, ...]
    max_age: timedelta

    @property
    def counts(self) -> dict[str, int]:
        """The number of users in each group that has any."""
        return standing.counted(self.users, at=self.at, max_age=self.max_age)

    @property
    def nobody_served(self) -> str | None:
        """Why no user at all is served, half a sentence; None if any is, or there are no users."""
        if standing.none_active(self.users):
            return "no user is active"
        none_fresh = standing.none_fresh(self.users, at=self.at, max_age=self.max_age)
        return "no user is fresh" if none_fresh else None

    @property
    def quarantined(self) -> int:
        """Items in quarantine, of all users."""
        return sum(user.quarantined for user in self.users)

    def group(self, user: Status) -> str:
        """Return the group that the user is counted in."""
        return user.group(at=self.at, max_age=self.max_age)

    def is_fresh(self, user: Status) -> bool:
        """Return True if the user's last finished walk is young enough."""
        return user.is_fresh(self.at, self.max_age)

    def stale(self, *, strict: bool = False) -> tuple[Status, ...]:
        """Return the users who should be fresh and are not; see `Standing.is_stale`."""
        return tuple(u for u in self.users if u.is_stale(self.at, self.max_age, strict=strict))


def report(*, pool: Pool, now: datetime, active_days: int, max_age: timedelta = MAX_AGE) -> Report:
    """Return the state of everything at one moment."""
    with transaction(pool, snapshot=True) as conn:
        at_work = queries.at_work(conn)
        return Report(
            now,
            tuple(as_it_is(run, at_work=at_work) for run in queries.latest(conn, most=RUNS)),
            at_work,
            tuple(jobs.running(conn)),
            tuple(users.statuses(conn, at=now, days=active_days)),
            max_age,
        )


def as_it_is(run: RunRecord, *, at_work: bool) -> RunRecord:
    """Return the run as the next one will leave its row, if its process died."""
    died = run.outcome == "running" and not at_work
    return replace(run, outcome="killed") if died else run


def of_user(
    user: User, *, pool: Pool, now: datetime, active_days: int
) -> tuple[Status, jobs.Job | None]:
    """Return how one user is doing, and their last import. Raises UserRemoved."""
    with transaction(pool, read_only=True) as conn:
        found = users.statuses(conn, at=now, days=active_days, user_id=user.id)
        if not found:
            raise UserRemoved(f"{user} was removed in the meantime")
        return found[0], jobs.latest(conn, user.id)
