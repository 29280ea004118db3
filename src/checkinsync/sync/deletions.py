"""What becomes of check-ins that Foursquare does not show: missing, missing again, withheld; pure.

One look is never enough, and too many at once are not believed at all: a list can be cut short by
a fault on the other side, and then half a history would seem to be gone.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from checkinsync.model.changes import Marks, Toll, Unseen

AGAIN_AFTER = timedelta(hours=20)
"""How long after the first look the second one counts."""

FEW = 3
"""So many may go, however short the history is."""

OF_A_SPAN = 0.20
"""The share of what a stretch should hold that may go."""

OF_A_USER = 0.05
"""The share of a user's check-ins that may go within `LATELY`."""

LATELY = timedelta(days=30)


def judge(unseen: Unseen, toll: Toll, *, now: datetime) -> Marks:
    """What the rows that were not shown are to be marked as.

    `toll`: how much went lately, what is marked already included. Of rows that the stretch need
    not hold after all, this look is no second one: Foursquare's own word is needed for them.
    """
    known = [row for row in unseen.rows if row.missing_since is not None]
    counted = sum(row.missing_since is not None and lately(row.missing_since, now) for row in known)
    would_go = len(unseen.rows)
    if _too_many(would_go, unseen.expected, OF_A_SPAN) or _too_many(
        toll.lately - counted + would_go, toll.stored, OF_A_USER
    ):
        return Marks(withheld=tuple(row.row for row in unseen.rows))
    return Marks(
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
