"""A slice of the older history: the pages that it requests, and what they cover."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkinsync.model.listing import PAGE, Page, PageRequest
from checkinsync.model.span import Span
from checkinsync.sync.slice import MARGIN, MOST, Slice, pages, share
from support.factories import NOW, history

HOUR = timedelta(hours=7)


def read(reading: Slice, listed: list, **more) -> int:
    """Answer a slice's requests from a list until there are none; return their number."""
    return len(offsets(reading, listed, **more))


def offsets(
    reading: Slice,
    listed: list,
    *,
    stored: list | None = None,
    cap: int = PAGE,
    too_many: int = 0,
    shown: set[str] | None = None,
) -> list[int]:
    """Do the same; return the offsets of the requests, and add to `shown` what they showed.
    `too_many`: by how much Foursquare's count is too high."""
    held = listed if stored is None else stored
    asked = []
    while reading.request is not None:
        assert len(asked) < 100
        offset, limit = reading.request.offset, min(reading.request.limit, cap)
        asked.append(offset)
        items = tuple(listed[offset : offset + limit])
        if shown is not None:
            shown.update(item.key for item in items)
        span = Span.of(items, top=offset == 0, now=NOW)
        deepest = span.oldest if span else None
        below = sum(item.created_at < deepest for item in held) if deepest else 0
        total = len(listed) + too_many
        reading.take(Page(offset, reading.request.limit, items, total), span, below=below)
    return asked


@pytest.mark.parametrize(
    ("offset", "length", "request_"),
    [
        (401, 60, PageRequest(386, 90)),
        (401, 219, PageRequest(386, 249)),
        (401, 500, PageRequest(386, PAGE)),
        (9, 60, PageRequest(0, 90)),
    ],
)
def test_the_first_page_begins_a_little_above_its_place_and_ends_a_little_below(
    offset, length, request_
):
    assert Slice(NOW, offset=offset, length=length).request == request_


@pytest.mark.parametrize(
    ("older", "length", "requests"),
    [(0, 25, 1), (500, 25, 1), (600, 27, 1), (4990, 220, 1), (5010, 221, 2), (69_990, 3080, 14)],
)
def test_a_slice_is_a_25th_and_a_little_more(older, length, requests):
    assert (share(older), pages(older)) == (length, requests)


@pytest.mark.parametrize(
    ("length", "cap", "asked"),
    [
        (500, 250, [386, 631, 876]),  # as planned, though the second page was nearly enough
        (60, 250, [386]),
        (60, 50, [386]),  # more than half of it on the page that was planned
        (60, 40, [386, 421]),
        (200, 20, [386, 401, 416, 431]),  # four times as many as were planned, and no more
        (500, 20, [386 + 15 * number for number in range(12)]),
    ],
)
def test_each_further_page_repeats_five_until_it_is_enough(length, cap, asked):
    whole = history(2000)
    reading = Slice(whole[400].created_at, offset=401, length=length)

    assert offsets(reading, whole, cap=cap) == asked


def test_a_page_within_one_second_has_compared_no_time():
    group = history(200, step=timedelta(0))
    reading = Slice(NOW, offset=50, length=25)
    page = tuple(group[35:90])

    reading.take(Page(35, 55, page, None), Span.of(page, top=False, now=NOW), below=50)

    assert reading.taken
    assert reading.compared is None


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


@pytest.mark.parametrize(
    ("begins", "next_start"), [(400, 449), (448, 449), (449, 474), (474, None)]
)
def test_a_page_in_no_order_is_passed_by(begins, next_start):
    """The next slice begins below the half, or else the three quarters, of its check-ins."""
    whole = history(800)
    mixed = (*whole[450:500], *whole[400:450])
    reading = Slice(whole[begins].created_at, offset=401, length=60)

    reading.take(Page(386, 90, mixed, None), None, below=300)

    assert reading.request is None
    assert reading.proves_nothing
    assert reading.next_start == (next_start and whole[next_start].created_at)


@given(st.integers(20, 60), st.integers(1, 6), st.integers(150, 400))
def test_what_is_not_stored_at_the_very_end_is_reached_whatever_the_size_of_pages(
    cap, count, stored
):
    whole = history(stored + count)
    start, shown = whole[20].created_at, set()

    while start is not None:
        above = sum(item.created_at >= start for item in whole)
        reading = Slice(start, offset=above, length=25)
        offsets(reading, whole, stored=whole[:stored], cap=cap, shown=shown)
        assert reading.next_start is None or reading.next_start < start
        start = reading.next_start

    assert {item.key for item in whole[20:]} <= shown
    assert reading.ended
    assert reading.oldest is None


@pytest.mark.parametrize(
    ("too_many", "end_is_known", "requests", "to_the_beginning"),
    [(0, False, 1, True), (7, False, 2, True), (7, True, 1, False), (0, True, 1, True)],
)
def test_what_follows_a_short_page_is_asked_for_where_the_count_is_higher_and_it_was_not_lately(
    too_many, end_is_known, requests, to_the_beginning
):
    whole = history(300)
    reading = Slice(whole[280].created_at, offset=281, length=60, end_is_known=end_is_known)

    assert len(offsets(reading, whole, too_many=too_many)) == requests
    assert reading.ended
    assert (reading.oldest is None) == to_the_beginning
