"""How things stand, from what is stored: the last runs, who is at work, how each user is doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.user import User
from checkinsync.nightly import queries
from checkinsync.nightly.summary import RunRecord
from checkinsync.store import jobs, users
from checkinsync.store.pool import Pool, transaction
from checkinsync.store.users import Status

RUNS = 10
"""How many runs are shown."""

MAX_AGE = timedelta(hours=26)
"""Nightly, and two hours for a long night: older than this is not fresh."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `status` shows."""

    at: datetime
    runs: tuple[RunRecord, ...]
    running: tuple[jobs.Job, ...]
    users: tuple[Status, ...]
    max_age: timedelta

    def is_fresh(self, user: Status) -> bool:
        """Whether his last finished walk is young enough."""
        return user.last_checked_at is not None and self.at - user.last_checked_at <= self.max_age

    @property
    def stale(self) -> tuple[Status, ...]:
        """Users who should be fresh and are not. Whoever is paused, inactive, or must log in again
        should not be; nor who connected so lately that no run has come yet."""
        return tuple(
            user
            for user in self.users
            if user.active
            and user.state not in {"paused", "needs_reauth"}
            and not self.is_fresh(user)
            and not self._just_connected(user)
        )

    def _just_connected(self, user: Status) -> bool:
        made = user.created_at
        never = user.last_checked_at is None
        return never and made is not None and self.at - made <= self.max_age


def report(*, pool: Pool, now: datetime, active_days: int, max_age: timedelta = MAX_AGE) -> Report:
    """Everything at one moment."""
    with transaction(pool) as conn:
        return Report(
            now,
            tuple(queries.latest(conn, most=RUNS)),
            tuple(jobs.running(conn)),
            tuple(users.statuses(conn, at=now, days=active_days)),
            max_age,
        )


def of_user(
    user: User, *, pool: Pool, now: datetime, active_days: int
) -> tuple[Status, jobs.Job | None]:
    """How one user is doing, and his last import."""
    with transaction(pool) as conn:
        [status] = users.statuses(conn, at=now, days=active_days, user_id=user.id)
        return status, jobs.latest(conn, user.id)
