"""Check-ins that Foursquare does not show: missing, missing again, held back; pure.

One look is never enough, and too many at once are not believed at all: a list can be cut short by
a fault on the other side, and then half a history would seem to be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.changes import (
    DeletionMarks,
    RecentDeletions,
    Stored,
    Unseen,
)
from checkinsync.model.span import Span, entered_at

DAY = timedelta(days=1)
AGAIN_AFTER = timedelta(hours=20)
"""The time after the first look from which on a second one counts."""

LATELY = timedelta(days=30)
"""So long a deletion counts against the next ones. What is still missing counts however old."""

A_WEEK = 7
"""Nights in which a missing check-in is looked for and asked about each night. One about which
nothing could be said by then is tried in one night of seven: it must not cost two requests a night
for ever, nor slow down the slices."""


@dataclass(frozen=True, slots=True)
class Brake:
    """The most of a user's history that may go within `LATELY`; the rest is held back."""

    few: int
    """So many may go, however short the history is."""
    of_a_user: float
    """The share of a user's check-ins that may go, where it is more than `few`."""
    at_most: float = 1.0
    """The share that is never exceeded, `few` or not."""

    def holds(self, recent: RecentDeletions) -> bool:
        """Return True if more would go than can be believed."""
        allowed = max(self.few, self.of_a_user * recent.stored)
        return recent.lately > min(allowed, self.at_most * recent.stored)

    def lets_all_go(self, recent: RecentDeletions) -> bool:
        """Return True if so few would go that it does not matter where they stand."""
        return recent.lately <= min(self.few, self.at_most * recent.stored)


LIST_ALONE = Brake(few=5, of_a_user=0.05, at_most=0.5)
"""For a server that can't be asked about single check-ins. Tight: nothing but an operator's word
takes a wrong belief back before the list shows the check-in again."""

OWN_WORD = Brake(few=12, of_a_user=0.20)
"""For what Foursquare denies one by one, by its id. Wide: users delete a few to a dozen, or clear
out a tenth of a history, and a faulty list is contradicted by the answers. Half a history gone is
held back all the same: the same fault may be behind the list and the answers."""

OF_A_SPAN = 0.20
"""The share of what one stretch should hold that may go on the list's word, where it is more than
`LIST_ALONE.few`: a lost page is a small share of a long history, and all of its own stretch."""


def judge(unseen: Unseen, recent: RecentDeletions, *, now: datetime) -> DeletionMarks:
    """Decide how to mark the rows that were not shown.

    `recent`: how much went lately, what is marked already included. Where it is too much for the
    list's word, the rows are held back besides: only Foursquare's own word, or an operator's, is
    believed about them, until no more than a few are missing in all. Of rows that the stretch need
    not hold after all, this look is no second one. A mark in the future was made by a wrong clock,
    and is made anew.
    """
    missing = [row for row in unseen.rows if row.missing_since is None or row.missing_since > now]
    lately = recent.lately + sum(row.missing_since is None for row in unseen.rows)
    recent = RecentDeletions(recent.stored, lately)
    too_many = LIST_ALONE.holds(recent) or (
        len(unseen.rows) > max(LIST_ALONE.few, OF_A_SPAN * unseen.expected)
    )
    held = [row.row for row in unseen.rows if row.held_back_since is not None]
    return DeletionMarks(
        missing=tuple(row.row for row in missing),
        again=tuple(
            row.row
            for row in unseen.rows
            if row.row in unseen.sure
            and row.missing_since is not None
            and now - row.missing_since >= AGAIN_AFTER
        ),
        held_back=tuple(row.row for row in unseen.rows) if too_many else (),
        released=tuple(held) if LIST_ALONE.lets_all_go(recent) else (),
    )


def is_due(row: Stored, *, now: datetime) -> bool:
    """Return True if a missing check-in is to be looked for, or asked about, tonight."""
    return is_due_each_night(row, now=now) or _nights(row, now=now) % A_WEEK == 0


def is_due_each_night(row: Stored, *, now: datetime) -> bool:
    """Return True within the first week."""
    return _nights(row, now=now) < A_WEEK


def _nights(row: Stored, *, now: datetime) -> int:
    assert row.missing_since is not None
    return round((now - row.missing_since) / DAY)


def unseen(
    shown: Collection[str], stored: Iterable[Stored], span: Span, *, now: datetime
) -> Unseen:
    """Return what is stored inside the span and was not shown.

    `shown`: the keys of the page's items; `stored`: rows with an id; those that the span does not
    hold, and those that are gone already, say nothing.
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
