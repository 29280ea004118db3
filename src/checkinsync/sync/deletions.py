"""What becomes of check-ins that Foursquare does not show: missing, missing again, withheld; pure.

One look is never enough, and too many at once are not believed at all: a list can be cut short by
a fault on the other side, and then half a history would seem to be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from checkinsync.model.changes import (
    DeletionMarks,
    RecentDeletions,
    Stored,
    Unseen,
)
from checkinsync.model.span import Span, entered_at

AGAIN_AFTER = timedelta(hours=20)
"""How long after the first look the second one counts."""

FEW = 3
"""So many may go, however short the history is."""

OF_A_SPAN = 0.20
"""The share of what a stretch should hold that may go."""

OF_A_USER = 0.05
"""The share of a user's check-ins that may go within `LATELY`."""

LATELY = timedelta(days=30)


def judge(unseen: Unseen, recent: RecentDeletions, *, now: datetime) -> DeletionMarks:
    """What the rows that were not shown are to be marked as.

    `toll`: how much went lately, what is marked already included. Of rows that the stretch need
    not hold after all, this look is no second one: Foursquare's own word is needed for them.
    """
    known = [row for row in unseen.rows if row.missing_since is not None]
    counted = sum(row.missing_since is not None and lately(row.missing_since, now) for row in known)
    would_go = len(unseen.rows)
    if _too_many(would_go, unseen.expected, OF_A_SPAN) or _too_many(
        recent.lately - counted + would_go, recent.stored, OF_A_USER
    ):
        return DeletionMarks(withheld=tuple(row.row for row in unseen.rows))
    return DeletionMarks(
        missing=tuple(row.row for row in unseen.rows if row.missing_since is None),
        again=tuple(
            row.row
            for row in known
            if row.row in unseen.sure
            and row.missing_since is not None
            and now - row.missing_since >= AGAIN_AFTER
        ),
    )


def lately(at: datetime, now: datetime) -> bool:
    """Whether that counts towards what may go within a month."""
    return now - at < LATELY


def _too_many(count: int, of: int, share: float) -> bool:
    return count > FEW and count > share * of


def unseen(
    shown: Collection[str], stored: Iterable[Stored], span: Span, *, now: datetime
) -> Unseen:
    """What is stored inside the span and was not shown; `shown`: the keys of the page's items.

    `stored`: rows with an id; those that the span does not hold, and those that are gone already,
    say nothing.
    """
    dated = [
        (row, entered_at(row.foursquare_id, now=now))
        for row in stored
        if row.foursquare_id is not None and row.deleted_at is None
    ]
    inside = [(row, entered) for row, entered in dated if span.holds(row.second, entered)]
    missing = [(row, entered) for row, entered in inside if row.foursquare_id not in shown]
    return Unseen(
        tuple(row for row, _ in missing),
        expected=len(inside),
        sure=frozenset(
            row.row for row, entered in missing if span.surely_holds(row.second, entered)
        ),
    )
