"""What a run is going to do: who is due, when each of them starts; reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.errors import WrongEncryptionKey
from checkinsync.model.listing import PAGE, Window
from checkinsync.model.user import User
from checkinsync.nightly import due, schedule
from checkinsync.nightly.schedule import Entry
from checkinsync.store import checkins, jobs, leases, sync_state, users
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.sync.slice import pages as slice_pages
from checkinsync.sync.walk import first_limit


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is to go, from settings and options."""

    active_days: int
    stagger: timedelta
    window: timedelta
    workers: int
    deadline: timedelta
    max_age: timedelta | None
    overlap: timedelta
    retries: int
    """After the first attempt."""
    retry_delay: timedelta
    """Before the first retry; doubled before each further one."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that was not started, for `--dry-run`."""

    entries: tuple[Entry, ...]
    skipped: tuple[tuple[User, str], ...]
    unreadable: tuple[User, ...]
    requests: dict[int, int | None]
    """Expected, by user id; None where the whole history is read."""
    stagger: timedelta


def select_due(
    *, pool: Pool, can_decrypt: Callable[[str], bool], plan: RunOptions, now: datetime
) -> due.Selection:
    """Who is due. Raises SettingsError where no key opens any token; DatabaseAway."""
    with transaction(pool) as conn:
        candidates = users.active(conn, at=now, days=plan.active_days)
        busy = leases.held_users(conn) | jobs.users_of_the_application(conn)
    sorted_out = due.sort_out(
        candidates, now=now, max_age=plan.max_age, importing=busy, can_decrypt=can_decrypt
    )
    if sorted_out.no_token_opens:
        raise WrongEncryptionKey
    return sorted_out


def slots(sorted_out: due.Selection, *, plan: RunOptions, now: datetime) -> list[Entry]:
    """When each of them starts."""
    return schedule.plan(sorted_out.due, now=now, stagger=plan.stagger, window=plan.window)


def planned(
    *, pool: Pool, can_decrypt: Callable[[str], bool], plan: RunOptions, now: datetime
) -> RunPlan:
    """What a run would do if it started now."""
    sorted_out = select_due(pool=pool, can_decrypt=can_decrypt, plan=plan, now=now)
    entries = slots(sorted_out, plan=plan, now=now)
    with transaction(pool) as conn:
        requests = {entry.user.id: _requests(conn, entry.user.id, plan) for entry in entries}
    stagger = schedule.stagger_within(plan.window, plan.stagger, starts=len(entries))
    return RunPlan(tuple(entries), sorted_out.skipped, sorted_out.unreadable, requests, stagger)


def _requests(conn: Connection, user_id: int, plan: RunOptions) -> int | None:
    known = sync_state.load(conn, user_id)
    window = Window.after(known.cursor, overlap=plan.overlap)
    expected = checkins.expected_in(conn, user_id, window)
    if expected is None or (known.mark is not None and known.mark.since is None):
        return None
    stored = checkins.count(conn, user_id)
    whole = expected == stored
    walked = 1 + max(0, expected - first_limit(window, expected)) // PAGE
    return walked + (1 if whole else slice_pages(stored - expected))
