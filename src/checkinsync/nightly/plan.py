"""The plan of a run: who is due, and when each of them starts; reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.errors import WrongEncryptionKey
from checkinsync.model.listing import PAGE, Window
from checkinsync.model.user import User
from checkinsync.nightly import due, queries, schedule
from checkinsync.nightly.queries import History
from checkinsync.nightly.schedule import Entry
from checkinsync.nightly.spool import Spool
from checkinsync.store import jobs, leases, users
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
class Start:
    """A user who is due in a run that was not started."""

    id: int
    foursquare_user_id: str
    name: str | None
    requests: int | None
    """Expected; None where the whole history is read."""
    not_before: datetime | None
    """The reset of a rate limit."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that was not started, for `--dry-run`: of any number of users, by id."""

    now: datetime
    stagger: timedelta
    due: Spool[Start]
    skipped: Spool[tuple[User, str]]
    """With the reason, half a sentence."""

    @property
    def starts(self) -> Iterator[tuple[Start, datetime]]:
        """Those who are due, with the times when they start."""
        for number, user in enumerate(self.due):
            at = schedule.start(number, user.not_before, now=self.now, step=self.stagger)
            yield user, at

    @property
    def end(self) -> datetime | None:
        """The time when the last one starts; None without any."""
        if not self.due:
            return None
        last = len(self.due) - 1
        earliest = self.due[last].not_before
        return schedule.start(last, earliest, now=self.now, step=self.stagger)


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
    """Return the plan of a run that would start now; writes nothing.

    Raises WrongEncryptionKey where no key decrypts any token.
    """
    now, starts, skipped = services.now(), Spool(Start), Spool(_skipped)
    found = decrypted = 0
    with services.reading() as conn:
        importing = leases.held_users(conn) | jobs.users_of_the_application(conn)
        everyone = queries.candidates(
            conn, at=now, days=options.active_days, overlap=options.overlap
        )
        for candidate, known in everyone:
            user, token = candidate.user, candidate.user.encrypted_token
            readable = token is not None and services.keyring.can_decrypt(token)
            found, decrypted = found + (token is not None), decrypted + readable
            reason = due.why_not(
                candidate,
                now=now,
                max_age=options.max_age,
                importing=importing,
                readable=readable,
            )
            if reason is not None or not readable:
                why = reason or due.UNREADABLE
                skipped.add(user.id, user.foursquare_user_id, user.name, why)
            else:
                requests = expected_requests(known, overlap=options.overlap)
                earliest = due.not_before(candidate, now)
                starts.add(user.id, user.foursquare_user_id, user.name, requests, earliest)
    if found and not decrypted:
        raise WrongEncryptionKey
    stagger = schedule.stagger_within(options.window, options.stagger, starts=len(starts))
    return RunPlan(now, stagger, starts, skipped)


def _skipped(
    user_id: int, foursquare_user_id: str, name: str | None, reason: str
) -> tuple[User, str]:
    return User(user_id, foursquare_user_id, name, None), reason


def expected_requests(known: History, *, overlap: timedelta) -> int | None:
    """Return the requests of the next import; None where the whole history is read."""
    if known.cursor is None or known.walks_everything:
        return None
    window = Window.after(known.cursor, overlap=overlap)
    walked = 1 + max(0, known.expected - first_limit(window, known.expected)) // PAGE
    older = known.stored - known.expected
    return walked + (slice_pages(older) if older else 1)
