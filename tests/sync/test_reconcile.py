"""The changes that a page makes to the table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkinsync.model.changes import Stored
from checkinsync.sync.reconcile import MICROSECOND, moments, reconcile
from support.factories import NOW, checkin


def row(number: int, item=None, *, date=NOW, venue="venue", fingerprint=b"as made") -> Stored:
    """Return a row of this check-in, or one of the application's without an id."""
    if item is None:
        return Stored(number, None, None, venue, date)
    return Stored(number, item.id, fingerprint, item.venue_id, item.created_at)


def test_a_new_one_is_added_and_a_known_one_left_alone():
    known, new = checkin(NOW, 1), checkin(NOW, 2)

    changes = reconcile([known, new, new], [row(1, known)], [])

    assert changes.add == (new,)
    assert changes.unchanged == 1
    assert not changes.rewrites


def test_another_fingerprint_is_a_change():
    item = checkin(NOW, 1, fingerprint=b"edited")

    [change] = reconcile([item], [row(7, item, fingerprint=b"before")], []).change

    assert (change.row, change.checkin) == (7, item)


def test_changed_ones_are_not_counted_as_unchanged():
    items = [checkin(NOW, n) for n in range(3)]
    stored = [row(1, items[0], fingerprint=b"before"), row(2, items[1]), row(3, items[2])]

    assert reconcile(items, stored, []).unchanged == 2


@pytest.mark.parametrize("mark", ["missing_since", "held_back_since", "deleted_at"])
def test_an_unchanged_row_that_was_marked_is_restored(mark):
    items = [checkin(NOW, n) for n in range(4)]
    marked, plain, *edited = (row(n, item) for n, item in enumerate(items))
    marked = replace(marked, **{mark: NOW})
    edited = [replace(r, fingerprint=f, **{mark: NOW}) for r, f in zip(edited, "az", strict=True)]

    changes = reconcile(items, [marked, plain, *edited], [])

    assert changes.restore == (marked,)
    assert changes.returned == (mark == "deleted_at")
    assert len(changes.change) == 2


def test_the_application_s_row_is_taken_over_by_venue_and_second():
    item = checkin(NOW, 1, venue="b")

    changes = reconcile([item], [], [row(4, venue="a"), row(5, venue="b")])

    assert [r.row for r in changes.adopt] == [5]
    assert not changes.add


def test_the_only_row_of_a_second_is_taken_over_though_the_venue_was_merged():
    item = checkin(NOW, 1, venue="merged")

    assert [r.row for r in reconcile([item], [], [row(4, venue="old")]).adopt] == [4]
    assert reconcile([item], [], [row(4, venue="old"), row(5, venue="older")]).add == (item,)


def test_a_row_is_taken_over_once():
    one, two = checkin(NOW, 1), checkin(NOW, 2)

    changes = reconcile([one, two], [], [row(4)])

    assert [r.checkin for r in changes.adopt] == [one]
    assert changes.add == (two,)


def test_a_twin_without_an_id_goes_into_the_row_that_is_there():
    item = checkin(NOW, 1)

    changes = reconcile([item], [row(1, item)], [row(9)])

    assert [(t.row, t.kept) for t in changes.merge] == [(9, 1)]


def test_a_twin_at_another_venue_goes_into_the_only_check_in_of_its_second():
    """The venue was merged into another one at Foursquare since the application stored it."""
    item = checkin(NOW, 1, venue="merged")
    second = timedelta(seconds=1)
    early, late = checkin(NOW - second, 2, venue="old"), checkin(NOW + second, 3, venue="old")
    stored = [row(1, item), row(2, early), row(3, late)]
    others = [row(7, date=NOW - 2 * second, venue="a"), row(8, date=NOW + 2 * second, venue="b")]

    changes = reconcile([item, early, late], stored, [row(9, venue="old"), *others])

    assert [(t.row, t.kept) for t in changes.merge] == [(9, 1)]


def test_a_row_at_another_venue_that_may_be_another_check_in_is_left_alone():
    one, two = checkin(NOW, 1, venue="a"), checkin(NOW, 2, venue="b")
    stored = [row(1, one), row(2, two)]
    foreign, other = row(8, venue="old"), row(9, venue="older")

    assert not reconcile([one, two], stored, [foreign]).merge  # of which of both is it a twin?
    assert not reconcile([one], stored[:1], [foreign, other]).merge  # which of both is its twin?


def test_the_twin_at_the_same_venue_goes_before_one_at_another():
    one, two = checkin(NOW, 1, venue="a"), checkin(NOW, 2, venue="b")

    changes = reconcile([one, two], [row(1, one), row(2, two)], [row(9, venue="b")])

    assert [(t.row, t.kept) for t in changes.merge] == [(9, 2)]


def test_two_check_ins_at_one_venue_in_one_second_get_dates_of_their_own():
    items = [checkin(NOW, n) for n in range(4)]
    changes = reconcile(items, [row(1, items[0])], [])

    chosen = moments(changes, [row(1, items[0])])

    assert sorted(chosen.values()) == [NOW + n * MICROSECOND for n in (1, 2, 3)]


def test_a_changed_row_keeps_its_microseconds():
    item = checkin(NOW, 1, fingerprint=b"edited")
    stored = Stored(1, item.id, b"before", "venue", NOW + MICROSECOND)

    assert moments(reconcile([item], [stored], []), [stored]) == {item.id: NOW + MICROSECOND}


@given(
    seconds=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    held=st.lists(st.integers(0, 3), max_size=10),
)
def test_no_two_rows_at_a_venue_ever_share_a_date(seconds, held):
    items = [checkin(NOW + timedelta(seconds=s), n) for n, s in enumerate(seconds)]
    nameless = [row(n, date=NOW + timedelta(seconds=s, microseconds=n)) for n, s in enumerate(held)]
    changes = reconcile(items, [], nameless)

    chosen = moments(changes, nameless)

    assert len(set(chosen.values())) == len(items)
    assert all(chosen[i.id].replace(microsecond=0) == i.created_at for i in items)
    untouched = {r.row for r in nameless} - {r.row for r in changes.rewrites}
    untouched -= {t.row for t in changes.merge}
    dates = {r.checkin_date for r in nameless if r.row in untouched}
    assert dates.isdisjoint(chosen.values())


@given(st.permutations(range(8)))
def test_every_check_in_shown_has_exactly_one_place(order):
    items = [checkin(NOW + timedelta(seconds=n // 2), n) for n in order]
    stored = [row(n, item) for n, item in enumerate(items) if n % 3 == 0]

    changes = reconcile(items, stored, [row(50), row(51, venue="other")])

    placed = [c.id for c in changes.add] + [r.checkin.id for r in changes.adopt]
    assert sorted(placed + [s.foursquare_id for s in stored]) == sorted(i.id for i in items)
