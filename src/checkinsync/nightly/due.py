"""The active users who are due tonight, and why the others are not; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.user import Candidate, User

MUST_LOG_IN = "the token is no longer accepted; they must log in again"
UNREADABLE = "no key decrypts the stored token"
FRESH = "imported less than"
"""The beginning of the reason why a user need not be imported again."""

LONGEST_LIMIT = timedelta(hours=2)
"""A rate limit's reset is never further ahead (500 requests an hour)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The active users, sorted out; each group by id."""

    due: tuple[tuple[User, datetime | None], ...]
    """With the time before which a rate limit lets nothing through."""
    skipped: tuple[tuple[User, str], ...]
    """With the reason, half a sentence."""
    unreadable: tuple[User, ...]
    """No key opens their tokens, which was not known before."""
    no_token_decrypts: bool
    """There are tokens, and not one can be opened: the key is wrong, not the users."""

    @property
    def count(self) -> int:
        """The number of users who are due."""
        return len(self.due) + len(self.unreadable)


def sort_out(
    candidates: Iterable[Candidate],
    *,
    now: datetime,
    max_age: timedelta | None,
    importing: Collection[int],
    can_decrypt: Callable[[str], bool],
) -> Selection:
    """Sort the active users. `importing`: ids of those whose import is at work;
    `can_decrypt`: True if a key decrypts a stored token."""
    everyone = list(candidates)
    due: list[tuple[User, datetime | None]] = []
    skipped: list[tuple[User, str]] = []
    unreadable: list[User] = []
    encrypted = [c.user.encrypted_token for c in everyone if c.user.encrypted_token is not None]
    readable = {token for token in encrypted if can_decrypt(token)}
    for candidate in everyone:
        user = candidate.user
        reason = why_not(
            candidate,
            now=now,
            max_age=max_age,
            importing=importing,
            readable=user.encrypted_token in readable,
        )
        if reason is not None:
            skipped.append((user, reason))
        elif user.encrypted_token not in readable:
            unreadable.append(user)
        else:
            due.append((user, not_before(candidate, now)))
    nothing_opens = bool(encrypted) and not readable
    return Selection(tuple(due), tuple(skipped), tuple(unreadable), nothing_opens)


def why_not(
    candidate: Candidate,
    *,
    now: datetime,
    max_age: timedelta | None,
    importing: Collection[int],
    readable: bool,
) -> str | None:
    """Return the reason why this user is not imported tonight; None where they are due."""
    user = candidate.user
    if candidate.paused:
        return "paused by an operator"
    if user.encrypted_token is None:
        return "no Foursquare token is stored; they must connect first"
    if candidate.state == "needs_reauth" and candidate.rejected == user.token_hash:
        if not candidate.token_unreadable:
            return MUST_LOG_IN
        if not readable:
            return "no key opens the stored token"
    if user.id in importing:
        return "another import of this user is at work"
    if max_age is not None and _fresh(candidate, now, max_age):
        return f"{FRESH} {max_age} ago"
    return None


def _fresh(candidate: Candidate, now: datetime, max_age: timedelta) -> bool:
    checked = candidate.last_checked_at
    return checked is not None and timedelta() <= now - checked < max_age


def not_before(candidate: Candidate, now: datetime) -> datetime | None:
    """Return the reset of a rate limit; one too far ahead was written by a wrong clock."""
    at = candidate.retry_at
    if candidate.state != "rate_limited" or at is None or not now < at <= now + LONGEST_LIMIT:
        return None
    return at
