"""The state of everything, from what is stored: the last runs, imports at work, every user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from checkinsync.errors import UserRemoved
from checkinsync.model import standing
from checkinsync.model.standing import NIGHTLY
from checkinsync.model.user import User
from checkinsync.nightly import queries
from checkinsync.nightly.spool import Spool
from checkinsync.nightly.summary import RunRecord
from checkinsync.store import jobs
from checkinsync.store.pool import Pool, transaction
from checkinsync.store.users import Status, statuses

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
    users: Sequence[Status]
    """By id."""
    groups: Sequence[str]
    """The group that each of them is counted in."""
    max_age: timedelta
    nobody_served: str | None
    """The reason why no user at all is served, half a sentence; None if any is, or there are no
    users."""
    quarantined: int
    """Items in quarantine, of all users."""
    without_slices: int
    """Users whose older history is not read any more; see `queries.without_slices`."""
    progress: dict[str, Any] | None = None
    """Of the run at work, as `nightly.progress` stores it."""

    @property
    def counts(self) -> dict[str, int]:
        """The number of users in each group that has any."""
        return standing.in_order(Counter(self.groups))

    def is_fresh(self, user: Status) -> bool:
        """Return True if the user's last finished walk is young enough."""
        return user.is_fresh(self.at, self.max_age)

    def stale(self, *, strict: bool = False) -> Iterator[Status]:
        """Yield the users who should be fresh and are not; see `Standing.is_stale`."""
        return (u for u in self.users if u.is_stale(self.at, self.max_age, strict=strict))


def report(*, pool: Pool, now: datetime, active_days: int, max_age: timedelta = MAX_AGE) -> Report:
    """Return the state of everything at one moment."""
    users, groups = Spool(Status), list[str]()
    active = served = quarantined = 0
    with transaction(pool, snapshot=True) as conn:
        at_work = queries.at_work(conn)
        runs = tuple(as_it_is(run, at_work=at_work) for run in queries.latest(conn, most=RUNS))
        running = tuple(jobs.running(conn))
        progress = queries.progress(conn) if at_work else None
        without_slices = queries.without_slices(conn, at=now)
        for user in statuses(conn, at=now, days=active_days):
            users.add(*FIELDS(user))
            groups.append(user.group(at=now, max_age=max_age))
            active += user.active
            served += user.is_served(now, max_age)
            quarantined += user.quarantined
    return Report(
        now, runs, at_work, running, users, groups, max_age,
        _nobody_served(len(users), active=active, served=served), quarantined,
        without_slices, progress,
    )  # fmt: skip


FIELDS = attrgetter(*(field.name for field in fields(Status)))


def _nobody_served(count: int, *, active: int, served: int) -> str | None:
    if count and not active:
        return "no user is active"
    return "no user is fresh" if count and not served else None


def as_it_is(run: RunRecord, *, at_work: bool) -> RunRecord:
    """Return the run as the next one will leave its row, if its process died."""
    died = run.outcome == "running" and not at_work
    return replace(run, outcome="killed") if died else run


def of_user(
    user: User, *, pool: Pool, now: datetime, active_days: int
) -> tuple[Status, jobs.Job | None]:
    """Return how one user is doing, and their last import. Raises UserRemoved."""
    with transaction(pool, read_only=True) as conn:
        found = list(statuses(conn, at=now, days=active_days, user_id=user.id))
        if not found:
            raise UserRemoved(f"{user} was removed in the meantime")
        return found[0], jobs.latest(conn, user.id)
