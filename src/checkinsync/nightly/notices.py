"""Sentences that a run says whatever came of it, since a silent bad night is the worst; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.user import User
from checkinsync.nightly.alerts import Streak
from checkinsync.nightly.due import FRESH, MUST_LOG_IN, Selection
from checkinsync.nightly.summary import RunRecord, RunSummary
from checkinsync.sync.outcome import Failed, Imported, Outcome, Skipped, UserReport

APART = timedelta(minutes=5)
"""Clocks that differ by more are said to differ."""

REMINDED_EVERY = timedelta(days=7)
"""Between two reminders of the users who must log in again."""

NAMED = 20
"""Users named in a sentence, at most."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a run knows of the database at its start."""

    clock: datetime
    """The database's time: aware."""
    connected: int
    """Users with a Foursquare token."""
    reminded_at: datetime | None
    """Start of the last run that named the users who must log in again."""
    before: RunRecord | None
    """The run before."""
    streaks: Mapping[int, Streak]
    """Users who have failed more than once in a row, by id."""
    look_back: frozenset[int]
    """Users of whose older history a slice is read however full the night is."""
    overdue: frozenset[int]
    """Users who are imported, and whose older history was last compared more than 30 days ago."""


def notices(
    at: datetime, found: Circumstances, selection: Selection, summary: RunSummary
) -> tuple[str, ...]:
    """Return what is to be said of a run that began at `at`, beside its result."""
    reports = summary.reports
    outcomes = [report.outcome for report in reports]
    return (
        *_clocks(at, found.clock),
        *(() if summary.exit_code else _unserved(found.connected, selection, outcomes)),
        *_reminder(at, found, selection),
        *_quarantined(reports),
        *_overdue(found.overdue),
    )


def _overdue(users: Collection[int]) -> Iterator[str]:
    if users:
        yield (
            f"the older history of {_users(len(users))} has not been compared for more than 30 "
            "days: the nights leave no time for it; a longer CHECKINSYNC_DEADLINE or more "
            "CHECKINSYNC_WORKERS give it, and `checkinsync verify USER` compares one at once"
        )


def names_dead_tokens(at: datetime, found: Circumstances, selection: Selection) -> bool:
    """Return True if this run reminds of the users who must log in again."""
    return any(_reminder(at, found, selection))


def _clocks(at: datetime, database: datetime) -> Iterator[str]:
    minutes = abs(at - database) / timedelta(minutes=1)
    if abs(at - database) > APART:
        yield (
            f"this machine's clock and the database's are {minutes:.0f} minutes apart "
            f"({at:%Y-%m-%d %H:%M} and {database:%Y-%m-%d %H:%M} UTC); set the wrong one"
        )


def _unserved(connected: int, selection: Selection, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Nobody was imported, and nobody had been just before, though nothing failed."""
    reasons = [reason for _, reason in selection.skipped]
    reasons += [outcome.reason for outcome in outcomes if isinstance(outcome, Skipped)]
    served = any(isinstance(outcome, Imported | Failed) for outcome in outcomes)
    if not connected or served or any(reason.startswith(FRESH) for reason in reasons):
        return
    if not reasons and not outcomes:
        yield (
            f"no user was imported: {_users(connected)} connected, but none has logged in to the "
            "application lately; CHECKINSYNC_ACTIVE_DAYS says who counts as active"
        )
    elif set(reasons) != {MUST_LOG_IN}:
        counted = ", ".join(f"{n} ({reason})" for reason, n in Counter(reasons).most_common())
        yield f"no user was imported; skipped: {counted or 'none'}"


def _reminder(at: datetime, found: Circumstances, selection: Selection) -> Iterator[str]:
    must = [user for user, reason in selection.skipped if reason == MUST_LOG_IN]
    last = found.reminded_at
    if must and (last is None or at - last >= REMINDED_EVERY):
        yield (
            f"{_users(len(must))} must log in to Foursquare again: {_named(must)}; "
            "`checkinsync login USER` or `checkinsync users set-token USER` renews a token"
        )


def _quarantined(reports: Sequence[UserReport]) -> Iterator[str]:
    users = [report.user for report in reports if report.saved.newly_quarantined]
    count = sum(report.saved.newly_quarantined for report in reports)
    if count:
        items = "1 item" if count == 1 else f"{count:,} items"
        yield (
            f"{items} from Foursquare could not be read or stored, now in quarantine "
            f"({_named(users)}); `checkinsync quarantine` lists them"
        )


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count:,} users"


def _named(users: Sequence[User]) -> str:
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return ", ".join(map(str, users[:NAMED])) + more
