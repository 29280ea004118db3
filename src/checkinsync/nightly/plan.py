"""The plan of a run: who is due, and when each of them starts; reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.errors import WrongEncryptionKey
from checkinsync.model.listing import PAGE, Window
from checkinsync.model.user import User
from checkinsync.nightly import due, schedule
from checkinsync.nightly.schedule import Entry
from checkinsync.store import checkins, jobs, leases, sync_state, users
from checkinsync.store.pool import Connection
from checkinsync.sync.session import Services
from checkinsync.sync.slice import pages as slice_pages
from checkinsync.sync.walk import first_limit


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run, from settings and the command line."""

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


def select_due(services: Services, *, options: RunOptions, now: datetime) -> due.Selection:
    """Return the users who are due. Raises WrongEncryptionKey where no key decrypts any token."""
    with services.reading() as conn:
        candidates = users.active(conn, at=now, days=options.active_days)
        busy = leases.held_users(conn) | jobs.users_of_the_application(conn)
    selection = due.sort_out(
        candidates,
        now=now,
        max_age=options.max_age,
        importing=busy,
        can_decrypt=services.keyring.can_decrypt,
    )
    if selection.no_token_decrypts:
        raise WrongEncryptionKey
    return selection


def slots(selection: due.Selection, *, options: RunOptions, now: datetime) -> list[Entry]:
    """Return the first attempt of each of them, with its start."""
    return schedule.plan(selection.due, now=now, stagger=options.stagger, window=options.window)


def plan_run(services: Services, *, options: RunOptions) -> RunPlan:
    """Return the plan of a run that would start now; writes nothing."""
    now = services.now()
    selection = select_due(services, options=options, now=now)
    entries = slots(selection, options=options, now=now)
    with services.reading() as conn:
        requests = {entry.user.id: _requests(conn, entry.user.id, options) for entry in entries}
    stagger = schedule.stagger_within(options.window, options.stagger, starts=len(entries))
    return RunPlan(tuple(entries), selection.skipped, selection.unreadable, requests, stagger)


def _requests(conn: Connection, user_id: int, options: RunOptions) -> int | None:
    known = sync_state.load(conn, user_id)
    window = Window.after(known.cursor, overlap=options.overlap)
    expected = checkins.expected_in(conn, user_id, window)
    if expected is None or (known.checkpoint is not None and known.checkpoint.since is None):
        return None
    stored = checkins.count(conn, user_id)
    whole = expected == stored
    walked = 1 + max(0, expected - first_limit(window, expected)) // PAGE
    return walked + (1 if whole else slice_pages(stored - expected))
