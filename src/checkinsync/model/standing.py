"""The state of each user's imports, and the rules for who is fresh and who is stale; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.user import one_line

NIGHTLY = timedelta(hours=26)
"""A day, and two hours for a long night: a user imported longer ago is stale."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""Clocks of several machines may differ by this; an instant further ahead lies in the future."""

GROUPS = ("ok", "new", "stale", "needs_reauth", "failing", "rate_limited", "paused", "inactive")
"""The groups of users that `status` counts: the states of `sync_status`, and besides them `stale`
and `inactive`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One user's state, and when they were last imported."""

    id: int
    foursquare_user_id: str
    name: str | None
    state: str
    """As the SQL function `sync_status` returns it."""
    active: bool
    created_at: datetime | None
    last_checked_at: datetime | None

    def __str__(self) -> str:
        return f"user {self.id} ({one_line(self.name)})" if self.name else f"user {self.id}"

    def group(self, *, at: datetime, max_age: timedelta) -> str:
        """Return the one of GROUPS that the user is counted in."""
        if self.state in {"paused", "needs_reauth"}:
            return self.state
        if not self.active:
            return "inactive"
        return "stale" if self.state == "ok" and not self.is_fresh(at, max_age) else self.state

    def is_fresh(self, at: datetime, max_age: timedelta) -> bool:
        """Return True if the last finished walk is young enough, and not in the future."""
        return _within(self.last_checked_at, at, max_age)

    def is_stale(self, at: datetime, max_age: timedelta, *, strict: bool = False) -> bool:
        """Return True if the user should be fresh and is not.

        Paused and inactive users should not be, nor users who connected after the last run. Those
        who must log in again are stale if `strict`, however lately they were imported.
        """
        if not self.active or self.state == "paused":
            return False
        if self.state == "needs_reauth":
            return strict
        return not self.is_fresh(at, max_age) and not self.awaits_first(at, max_age)

    def is_served(self, at: datetime, max_age: timedelta) -> bool:
        """Return True if the user is fresh, or so new that no run has come yet."""
        return self.is_fresh(at, max_age) or self.awaits_first(at, max_age)

    def awaits_first(self, at: datetime, max_age: timedelta) -> bool:
        """Return True if the user connected so lately that no run has come yet."""
        due = self.active and self.state not in {"paused", "needs_reauth"}
        return due and self.last_checked_at is None and _within(self.created_at, at, max_age)


def _within(instant: datetime | None, at: datetime, age: timedelta) -> bool:
    return instant is not None and -CLOCK_TOLERANCE <= at - instant <= age


def counted(users: Iterable[Standing], *, at: datetime, max_age: timedelta) -> dict[str, int]:
    """Return the number of users in each group that has any, in the order of GROUPS."""
    return in_order(Counter(user.group(at=at, max_age=max_age) for user in users))


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the groups that have any, in the order of GROUPS."""
    return {group: counts[group] for group in GROUPS if counts.get(group)}


def none_active(users: Sequence[Standing]) -> bool:
    """Return True if there are users and none is active: no run imports anyone."""
    return bool(users) and not any(user.active for user in users)


def none_fresh(users: Sequence[Standing], *, at: datetime, max_age: timedelta) -> bool:
    """Return True if there are users and none is fresh, nor so new that no run has come yet."""
    return bool(users) and not any(user.is_served(at, max_age) for user in users)
