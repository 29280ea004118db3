"""What a run came to: how each user fared -> the outcome's name and the exit code; pure."""

from __future__ import annotations

from collections.abc import Sequence

from checkinsync.errors import (
    DatabaseAway,
    FoursquareAway,
    Interrupted,
    QuotaExceeded,
    TokenRejected,
)
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt

PARTIAL = 3
AWAY = 69
LIMITED = 5

SUSPICIOUS_FROM = 3
"""Of so many users more than half rejected: it is not their tokens, it is we."""


def suspicious(outcomes: Sequence[Outcome]) -> bool:
    """Whether Foursquare rejected so many tokens that we suspect our own settings."""
    tried = [outcome for outcome in outcomes if isinstance(outcome, Imported | Failed)]
    rejected = [o for o in tried if isinstance(o, Failed) and isinstance(o.error, TokenRejected)]
    return len(tried) >= SUSPICIOUS_FROM and 2 * len(rejected) > len(tried)


def verdict(
    outcomes: Sequence[Outcome], *, stop: Exception | None, nothing_heard: bool, paused: bool
) -> tuple[str, int]:
    """The worst that applies: interrupted, then 69 before 5 before 3.

    `stop`: what ended the run early, if anything did; `nothing_heard`: Foursquare was asked and
    never answered; `paused`: a service was away just then.
    """
    failures = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    if isinstance(stop, Interrupted) and stop.exit_code != PARTIAL:
        return "interrupted", stop.exit_code
    if isinstance(stop, FoursquareAway | DatabaseAway) or (stop is not None and paused):
        return "away", AWAY
    if nothing_heard:
        return "away", AWAY
    if suspicious(outcomes):
        return "suspect", AWAY
    if isinstance(stop, QuotaExceeded):
        return "quota", LIMITED
    if any(isinstance(outcome, RetryAt) for outcome in outcomes):
        return "rate_limited", LIMITED
    return ("partial", PARTIAL) if failures or stop is not None else ("ok", 0)
