"""A slice of the older history: the pages that it requests, and what they cover."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from checkinsync.model.listing import PAGE, Page
from checkinsync.model.span import Span
from checkinsync.sync.slice import MARGIN, MOST, Slice, pages, share
from support.factories import NOW, history

HOUR = timedelta(hours=7)


def read(reading: Slice, listed: list, *, stored: list | None = None, cap: int = PAGE) -> int:
    """Answer a slice's requests from a list until there are none; return their number."""
    held = listed if stored is None else stored
    asked = 0
    while reading.request is not None:
        asked += 1
        assert asked < 100
        offset, limit = reading.request.offset, min(reading.request.limit, cap)
        items = tuple(listed[offset : offset + limit])
        span = Span.of(items, top=offset == 0, now=NOW)
        deepest = span.oldest if span else None
        below = sum(item.created_at < deepest for item in held) if deepest else 0
        reading.take(Page(offset, reading.request.limit, items, None), span, below=below)
    return asked


def test_five_thousand_are_read_in_twenty_five_slices_of_one_page():
    whole = history(5000)
    start, nights = whole[40].created_at, 0
    while start is not None:
        above = sum(item.created_at >= start for item in whole)
        reading = Slice(start, offset=above, length=share(4960))
        assert read(reading, whole) == pages(4960) == 1
        start, nights = reading.next_start, nights + 1

    assert nights <= 25
    assert reading.ended
    assert reading.oldest is None


@given(st.integers(-400, 400), st.integers(0, 1499))
def test_a_page_that_misses_its_place_ends_it_and_proves_nothing(by, place):
    whole = history(1500)
    start = whole[place].created_at
    reading = Slice(start, offset=max(0, place + 1 + by), length=100)

    read(reading, whole)

    if reading.missed or reading.proves_nothing:
        assert abs(by) > MARGIN - 2
        assert reading.compared is None
        assert reading.next_start == (start if reading.missed else None)
    else:
        newest, oldest = reading.compared
        assert newest == start
        assert oldest is None or oldest < start


@given(st.integers(1, 60), st.integers(0, 700))
def test_it_ends_and_gets_on_whatever_the_size_of_pages(cap, place):
    whole = history(800)
    reading = Slice(whole[place].created_at, offset=place + 1, length=60)

    asked = read(reading, whole, cap=cap)

    assert asked <= MOST
    assert (
        reading.missed
        or reading.ended
        or reading.next_start < whole[place].created_at
        or (cap <= MARGIN)
    )


def test_what_is_stored_below_the_end_of_the_list_is_reached():
    whole = history(300)
    reading = Slice(whole[280].created_at, offset=281, length=60)

    read(reading, whole[:290], stored=whole)

    assert reading.ended
    assert reading.next_start is None


def test_a_server_that_ignores_offsets_is_not_asked_for_ever():
    whole = history(800)
    reading = Slice(whole[400].created_at, offset=401, length=60)
    page = tuple(whole[:PAGE])
    asked = 0
    while reading.request is not None:
        asked += 1
        span = Span.of(page, top=False, now=NOW)
        reading.take(Page(reading.request.offset, PAGE, page, None), span, below=500)

    assert asked == 1
    assert reading.missed


def test_a_page_that_does_not_join_is_not_taken():
    whole = history(800)
    reading = Slice(whole[400].created_at, offset=401, length=300)
    first = tuple(whole[386:636])
    reading.take(Page(386, 250, first, None), Span.of(first, top=False, now=NOW), below=160)
    assert reading.taken
    shifted = tuple(whole[640:700])

    reading.take(Page(631, 250, shifted, None), Span.of(shifted, top=False, now=NOW), below=100)

    assert not reading.taken
    assert reading.request is None
    assert reading.next_start == whole[635].created_at


def test_a_page_in_no_order_is_passed_by():
    whole = history(800)
    mixed = (*whole[450:500], *whole[400:450])
    reading = Slice(whole[400].created_at, offset=401, length=60)

    reading.take(Page(386, 90, mixed, None), None, below=300)

    assert reading.request is None
    assert whole[400].created_at > reading.next_start > whole[500].created_at
