"""Spans: what a page proves, and what follows from what it does not show."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checkinsync.model.changes import Stored, Unseen
from checkinsync.model.checkin import Unreadable
from checkinsync.model.span import EVERYTHING, Order, PageOrder, Span, VerifiedSpan, entered_at
from checkinsync.sync.coverage import covered
from checkinsync.sync.deletions import unseen
from checkinsync.sync.reconcile import reconcile
from support.factories import NOW, checkin, history

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def stored(item, row: int = 1, **marks) -> Stored:
    return Stored(row, item.id, item.fingerprint, item.venue_id, item.created_at, **marks)


def missed(shown, rows, *, top=False, known=None) -> Unseen:
    span = Span.of(shown, top=top, now=NOW, known=known)
    return unseen({item.key for item in shown}, rows, span, now=NOW) if span else Unseen()


def ids(found: Unseen) -> set[str | None]:
    return {row.foursquare_id for row in found.rows}


def test_what_stands_between_two_shown_ones_and_is_not_shown_is_missing():
    whole = history(9)

    found = missed([*whole[:4], *whole[5:]], [stored(item) for item in whole])

    assert ids(found) == {whole[4].id}
    assert (found.expected, len(found.sure)) == (7, 1)


def test_nothing_is_missing_at_the_borders_or_beyond():
    whole = history(9)
    same_second = checkin(whole[2].created_at, 99)

    found = missed(whole[2:6], [stored(item) for item in [*whole, same_second]])

    assert ids(found) == set()


def test_above_the_top_of_the_list_there_is_nothing():
    whole = history(9)

    assert ids(missed(whole[2:], map(stored, whole), top=True)) == {whole[0].id, whole[1].id}


def test_below_its_end_there_is_nothing_either():
    whole = history(9)
    span = Span.of(whole[:7], top=True, now=NOW).to_the_end(complete=True)

    rows = [stored(item, number) for number, item in enumerate(whole)]
    found = unseen({item.id for item in whole[:7]}, rows, span, now=NOW)

    assert ids(found) == {whole[7].id, whole[8].id}
    assert found.sure == {7, 8}


def test_a_late_one_may_stand_elsewhere_unless_the_page_tells_the_order():
    whole = history(9)
    late = checkin(whole[4].created_at - HOUR, 50, entered=NOW)
    other = checkin(whole[6].created_at - HOUR, 51, entered=NOW - HOUR)

    assert ids(missed(whole, [stored(late)])) == set()
    by_created = [*whole[:7], other, *whole[7:]]
    found = missed(by_created, [stored(late)])
    assert ids(found) == {late.id}
    assert missed(whole, [stored(late)], known=Order.CREATED).rows
    assert not missed(whole, [stored(late)], known=Order.ENTERED).rows


def test_a_page_in_no_order_proves_nothing():
    whole = history(9)

    assert Span.of([*whole[4:], *whole[:4]], top=True, now=NOW) is None
    assert Span.of(whole[::-1], top=True, now=NOW) is None
    assert Span.of([], top=True, now=NOW) is None


def test_an_item_without_an_id_may_be_any():
    whole = history(9)
    nameless = Unreadable("sha256:00", b"{}", "no id")
    named = Unreadable(whole[4].id, b"{}", "no time")

    unsure = missed([*whole[:4], nameless, *whole[5:]], map(stored, whole))
    assert (ids(unsure), unsure.sure) == ({whole[4].id}, frozenset())
    assert ids(missed([*whole[:4], named, *whole[5:]], map(stored, whole))) == set()


def test_what_is_gone_already_or_has_no_telling_id_says_nothing():
    whole = history(9)
    gone = stored(whole[4], deleted_at=NOW)
    odd = Stored(2, "not hex", b"", "venue", whole[4].created_at)
    future = stored(checkin(whole[4].created_at, 7, entered=NOW + DAY))

    found = missed([*whole[:4], *whole[5:]], [gone, odd, future])

    assert found == Unseen()


def test_the_order_is_told_by_a_page_that_can_be_in_one_only():
    whole = history(6)
    late = checkin(whole[3].created_at + HOUR, 50, entered=NOW)

    assert PageOrder.of(whole, now=NOW).order is None
    assert PageOrder.of([*whole[:3], late, *whole[3:]], now=NOW).order is Order.CREATED
    assert PageOrder.of([late, *whole], now=NOW).order is Order.ENTERED


# --- whatever happens to a list -------------------------------------------------------------------

INSTANTS = st.integers(0, 40).map(lambda hours: NOW - 2 * DAY + hours * HOUR)


@st.composite
def lists(draw):
    """Draw check-ins in one of the two orders, some of the same second, some entered late; the
    deleted ones; and a page of the others."""
    made = []
    for number in range(draw(st.integers(1, 25))):
        created = draw(INSTANTS)
        entered = max(created, draw(INSTANTS)) if draw(st.booleans()) else created
        made.append(checkin(created, number, entered=min(entered, NOW)))
    by_id = draw(st.booleans())
    made.sort(key=lambda c: (entered_at(c.id, now=NOW) if by_id else c.created_at, c.id))
    made.reverse()
    deleted = set(draw(st.lists(st.sampled_from(made), max_size=6, unique=True)))
    left = [item for item in made if item not in deleted]
    start = draw(st.integers(0, len(left)))
    end = draw(st.integers(start, len(left)))
    return made, deleted, left[start:end], start


@given(lists())
def test_what_is_still_in_the_list_is_never_missing(drawn):
    made, deleted, page, start = drawn

    found = missed(page, [stored(item, n) for n, item in enumerate(made)], top=start == 0)

    assert ids(found) <= {item.id for item in deleted}


@given(lists())
def test_of_a_whole_list_all_that_is_deleted_is_missing(drawn):
    made, deleted, _, _ = drawn
    left = [item for item in made if item not in deleted]
    span = Span.of(left, top=True, now=NOW)
    whole = span.to_the_end(complete=True) if span else EVERYTHING

    found = unseen({item.id for item in left}, map(stored, made), whole, now=NOW)

    assert ids(found) == {item.id for item in deleted}
    assert len(found.rows) == len(deleted)


@given(lists(), st.sampled_from([timedelta(0), 5 * HOUR, 900 * DAY]))
def test_a_moved_one_is_a_change_wherever_it_is_shown(drawn, by):
    made, _, page, _ = drawn
    if not page:
        return
    rows = [stored(item, n) for n, item in enumerate(made)]
    other = checkin(page[0].created_at - by, 77, fingerprint=b"moved")
    moved = replace(other, id=page[0].id)

    changes = reconcile([moved, *page[1:]], rows, [])

    assert [rewrite.checkin.id for rewrite in changes.change] == [moved.id]
    assert not changes.add
    assert changes.unchanged == len(page) - 1


# --- what was verified when -----------------------------------------------------------------------


@st.composite
def comparisons(draw):
    newest = draw(st.integers(1, 30))
    oldest = draw(st.one_of(st.none(), st.integers(0, newest)))
    at = NOW + draw(st.integers(0, 9)) * DAY
    return VerifiedSpan(day(newest), None if oldest is None else day(oldest), at)


def day(number: int) -> datetime:
    return NOW + number * DAY


@given(st.lists(comparisons(), max_size=8))
def test_each_moment_is_in_the_last_comparison_that_covered_it(drawn):
    known: list[VerifiedSpan] = []
    for new in drawn:
        known = covered(known, new)

    for number in range(-1, 31):
        moment = day(number) + HOUR
        expected = [span.at for span in drawn if holds(span, moment)]
        found = [span.at for span in known if holds(span, moment)]
        assert found == expected[-1:]
    assert [span.newest for span in known] == sorted({s.newest for s in known}, reverse=True)


def holds(span: VerifiedSpan, moment: datetime) -> bool:
    return moment < span.newest and (span.oldest is None or moment > span.oldest)
