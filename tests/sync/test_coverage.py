"""The part of a list that a walk has compared."""

from __future__ import annotations

from checkinsync.model.listing import PAGE, Page
from checkinsync.model.span import Span
from checkinsync.sync.coverage import WalkCoverage
from support.factories import NOW, history

WHOLE = history(600)


def taken(*pages: tuple[int, list]) -> WalkCoverage:
    coverage = WalkCoverage()
    for offset, items in pages:
        span = Span.of(items, top=offset == 0, now=NOW)
        coverage.take(Page(offset, PAGE, tuple(items), None), span)
    return coverage


def test_it_reaches_down_to_the_last_item_of_the_last_page():
    coverage = taken((0, WHOLE[:250]), (245, WHOLE[245:495]))

    assert coverage.oldest == WHOLE[494].created_at
    assert coverage.place(now=NOW) == 494


def test_an_empty_page_takes_nothing_from_it():
    coverage = taken((0, WHOLE[:250]), (250, []))

    assert coverage.oldest == WHOLE[249].created_at
    assert coverage.place(now=NOW) == 249


def test_nothing_is_compared_without_a_page_or_by_one_in_no_order():
    for coverage in (taken(), taken((0, [*WHOLE[100:200], *WHOLE[:100]]))):
        assert coverage.oldest is None
        assert coverage.place(now=NOW) == 0
