"""Walks over lists that change meanwhile, as any server that follows the API may show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checkinsync.errors import OffsetIgnored, UnsteadyList
from checkinsync.model.checkin import Checkin, Unreadable
from checkinsync.model.listing import PAGE, Checkpoint, Page, PageRequest, Window
from checkinsync.sync.walk import FAR, Walk, first_limit, is_past
from support.factories import NOW, checkin, hex_id, history

EVERYTHING = Window(None)


@dataclass
class Listing:
    """A user's list at Foursquare, and its changes between two requests."""

    items: list
    cap: int = 250
    between: Callable[[Listing, int], None] = lambda listing, number: None
    asked: list[PageRequest] = field(default_factory=list)

    def page(self, request: PageRequest) -> Page:
        if self.asked:
            self.between(self, len(self.asked))
        self.asked.append(request)
        items = self.items[request.offset : request.offset + min(request.limit, self.cap)]
        return Page(request.offset, request.limit, tuple(items), len(self.items))


def walked(listing: Listing, walk: Walk, stored: set[str] | None = None, most: int = 2000):
    """Walk to the end; return the ids shown."""
    shown: set[str] = set(stored or ())
    while walk.request is not None:
        assert len(listing.asked) < most, "the walk does not end"
        page = listing.page(walk.request)
        new = [item for item in page.items if item.key not in shown]
        shown |= {item.key for item in page.items}
        walk.take(page, new=len(new), stored=None if new else len(stored or shown))
    return shown


def full(**kwargs) -> Walk:
    return Walk(EVERYTHING, now=NOW, expected=None, **kwargs)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6, 249, 250, 251, 500, 1234])
@pytest.mark.parametrize("cap", [250, 50, 7, 2])
def test_a_full_walk_sees_every_item_whatever_the_page_size(count, cap):
    listing = Listing(history(count), cap=cap)

    shown = walked(listing, full())

    assert shown == {item.key for item in listing.items}


def test_a_full_walk_costs_its_pages_and_two_looks_for_the_end():
    listing = Listing(history(1200))

    walked(listing, full())

    assert offsets(listing) == [0, 245, 490, 735, 980, 1195, 1200]


def offsets(listing: Listing) -> list[int]:
    return [request.offset for request in listing.asked]


def test_a_short_page_in_the_middle_is_not_the_end():
    listing = Listing(history(900))
    whole = listing.page
    walk = full()

    def short(request: PageRequest) -> Page:
        page = whole(request)
        hidden = page.items[:-30] if request.offset < 500 else page.items
        return Page(page.offset, page.limit, hidden, page.total)

    listing.page = short
    shown = walked(listing, walk)

    assert shown == {item.key for item in listing.items}


@pytest.mark.parametrize("count", [0, 1, 7, 400])
def test_the_count_is_no_reason_to_stop(count):
    listing = Listing(history(400))
    walk, shown = full(), set()

    while walk.request is not None:
        page = listing.page(walk.request)
        shown |= {item.key for item in page.items}
        walk.take(Page(page.offset, page.limit, page.items, count))

    assert len(shown) == 400


def test_a_caught_up_user_costs_one_request():
    listing = Listing(history(3000))
    window = Window(NOW - timedelta(days=14))
    held = sum(item.created_at >= window.start for item in listing.items)

    walked(listing, Walk(window, now=NOW, expected=held), {item.key for item in listing.items})

    assert len(listing.asked) == 1
    assert listing.asked[0].limit < 80


def test_a_history_inside_the_window_costs_two_requests():
    listing = Listing(history(30))
    window = Window(NOW - timedelta(days=14))
    walk = Walk(window, now=NOW, expected=30)

    walked(listing, walk, {item.key for item in listing.items})

    assert [request.offset for request in listing.asked] == [0, 30]


def test_one_old_item_at_the_top_neither_ends_the_walk_nor_makes_it_a_full_one():
    late = checkin(NOW - timedelta(days=400), 99, entered=NOW)
    listing = Listing([late, *history(2000)])
    window = Window(NOW - timedelta(days=14))

    shown = walked(listing, Walk(window, now=NOW, expected=48))

    recent = {i.key for i in listing.items if i.created_at >= window.start}
    assert recent <= shown
    assert len(listing.asked) <= 2


@pytest.mark.parametrize("by_id", [True, False])
def test_the_window_is_seen_whole_under_either_order(by_id):
    late = [
        checkin(NOW - timedelta(days=30 * n), 1000 + n, entered=NOW - timedelta(hours=3 * n))
        for n in range(1, 40)
    ]
    items = [*history(1500), *late]
    listing = Listing(
        sorted(items, key=lambda i: i.id if by_id else hex_id(i.created_at, 0), reverse=True)
    )
    window = Window(NOW - timedelta(days=14))

    shown = walked(listing, Walk(window, now=NOW, expected=60))

    assert {i.key for i in items if i.created_at >= window.start} <= shown
    assert len(listing.asked) <= 3


def test_a_page_in_no_known_order_ends_nothing():
    shuffled = history(20)[::-1]

    assert not is_past(shuffled, NOW - timedelta(hours=1), now=NOW)
    assert is_past(shuffled[::-1], NOW - timedelta(hours=1), now=NOW)


def test_items_that_say_nothing_end_nothing():
    unreadable = Unreadable("x", b"{}", "no id")
    ancient = NOW - timedelta(days=4000)
    ahead = checkin(ancient, 1, entered=NOW + timedelta(days=9))

    assert not is_past([unreadable], NOW, now=NOW)
    assert not is_past([checkin(NOW), ahead, unreadable], NOW - timedelta(days=14), now=NOW)


def test_the_first_page_is_no_larger_than_the_window_needs():
    window = Window(NOW)

    assert first_limit(window, 40) == 50
    assert first_limit(window, 1000) == 250
    assert first_limit(EVERYTHING, 3) == 250


@pytest.mark.parametrize("deleted", [1, 4, 5, 6, 60, 300, 700])
def test_deletions_between_pages_step_over_nothing(deleted):
    listing = Listing(history(1500))

    def delete_once(listing: Listing, number: int) -> None:
        if number == 3:
            del listing.items[:deleted]

    listing.between = delete_once

    shown = walked(listing, full())

    assert {item.key for item in listing.items} <= shown


def test_six_deletions_before_every_page_are_followed():
    listing = Listing(history(3000), between=lambda listing, _: listing.items.__delitem__(slice(6)))

    shown = walked(listing, full())

    assert {item.key for item in listing.items} <= shown
    assert len(listing.asked) < 40


def test_everything_deleted_in_mid_walk_is_an_end():
    listing = Listing(history(800), between=lambda listing, _: listing.items.clear())

    walked(listing, full())

    assert len(listing.asked) < 15


def test_insertions_between_pages_repeat_items_and_lose_none():
    listing = Listing(history(900))
    listing.between = lambda listing, number: listing.items.insert(
        0, checkin(NOW + timedelta(seconds=number), 5000 + number)
    )
    before = {item.key for item in listing.items}

    assert before <= walked(listing, full())


@pytest.mark.parametrize("count", [3, 40, 900])
def test_an_ignored_offset_is_an_error_and_no_loop(count):
    listing = Listing(history(count))
    walk = full()

    while walk.request is not None:
        assert len(listing.asked) < 6
        top = listing.page(PageRequest(0, walk.request.limit))
        walk.take(Page(walk.request.offset, top.limit, top.items, top.total))

    assert isinstance(walk.problem, OffsetIgnored)
    assert len(listing.asked) == 4  # three times the same page, and once far beyond the end


def test_an_offset_that_is_ignored_from_some_place_on_is_an_error_too():
    listing = Listing(history(900))
    walk = full()

    while walk.request is not None:
        request = PageRequest(min(walk.request.offset, 245), PAGE)
        walk.take(Page(walk.request.offset, PAGE, listing.page(request).items, None))

    assert isinstance(walk.problem, OffsetIgnored)
    assert len(listing.asked) == 5


def test_one_insertion_into_a_short_list_is_not_an_ignored_offset():
    listing = Listing(history(2))
    newcomer = checkin(NOW + timedelta(seconds=5), 77)
    listing.between = lambda li, number: number == 1 and li.items.insert(0, newcomer)
    walk = full()

    walked(listing, walk)

    assert walk.problem is None
    assert max(offsets(listing)) < FAR


@pytest.mark.parametrize("many", [1, 3, 10])
@pytest.mark.parametrize(("count", "cap"), [(1, 250), (60, 250), (60, 20), (700, 250)])
def test_new_items_before_every_request_neither_look_like_an_ignored_offset_nor_go_on_for_ever(
    count, cap, many
):
    listing = Listing(history(count), cap=cap)

    def add(listing: Listing, number: int) -> None:
        at = NOW + timedelta(seconds=number)
        listing.items[:0] = [checkin(at, 5000 + 100 * number + n) for n in range(many)]

    listing.between = add
    before = {item.key for item in listing.items}
    walk = full()

    shown = walked(listing, walk)

    assert walk.problem is None
    assert before <= shown
    assert sum(offset >= FAR for offset in offsets(listing)) <= 1
    assert len(listing.asked) <= count // (cap - many) * 2 + 12


def test_an_offset_that_was_seen_to_work_is_not_doubted_again():
    """New items keep pace with the walk, while each page shows three more than the one before."""
    there = history(60)
    walk, asked = full(), []

    for length in (40, 43, 46, 0, 49):
        asked.append(walk.request.offset)
        walk.take(Page(asked[-1], PAGE, tuple(there[:length]), None))

    assert [offset >= FAR for offset in asked] == [False, False, False, True, False]
    assert walk.request.offset < FAR


def test_an_empty_first_page_is_doubted_where_there_should_be_something():
    listing, walk = Listing(history(30)), full()

    walk.take(Page(0, 250, (), 30))
    assert walk.request == PageRequest(0, 250)
    walked(listing, walk)
    assert walk.seen == 30

    again = full()
    again.take(Page(0, 250, (), 0), stored=7)
    again.take(Page(0, 250, (), 0), stored=7)
    assert again.request is None


def test_pages_of_one_are_walked_too():
    listing = Listing(history(30), cap=1)

    assert walked(listing, full()) == {item.key for item in listing.items}


@pytest.mark.parametrize(("count", "requests"), [(249, 2), (250, 2), (251, 3), (300, 3)])
def test_a_known_history_inside_the_window_costs_its_pages_and_one(count, requests):
    listing = Listing(history(count, step=timedelta(minutes=20)))
    window = Window(NOW - timedelta(days=14))

    walked(listing, Walk(window, now=NOW, expected=count), {item.key for item in listing.items})

    assert len(listing.asked) == requests


def test_after_a_shift_each_look_goes_back_twice_as_far():
    """From the place where the pages ceased to join, less their length and a growing overlap."""
    listing = Listing(history(3000))
    walk = full()
    for _ in range(8):
        walk.take(listing.page(walk.request))
    foreign = tuple(history(250, newest=NOW - timedelta(days=9000)))
    places = [walk.request.offset]

    for _ in range(3):
        walk.take(Page(walk.request.offset, PAGE, foreign, None))
        places.append(walk.request.offset)

    steps = [above - below for above, below in pairwise(places)]
    assert steps == [240, 480, 960]


def test_a_list_is_followed_over_a_hundred_shifts_and_no_further():
    top, foreign = tuple(history(250)), tuple(history(250, newest=NOW - timedelta(days=9000)))
    walk, shifts = full(), 0

    while walk.request is not None:
        offset = walk.request.offset
        shifts += offset > 0
        walk.take(Page(offset, PAGE, foreign if offset else top, None))

    assert isinstance(walk.problem, UnsteadyList)
    assert shifts == 101


def test_an_end_that_items_at_the_top_may_have_pushed_down_is_looked_for_twice_more():
    """They went again before the look for the end, and so the last five were not shown."""
    there = history(490)
    walk = full()
    pages = [(0, there[:250]), (245, there[235:485]), (495, []), (480, there[470:485]), (495, [])]

    for offset, items in pages:
        assert walk.request.offset == offset
        walk.take(Page(offset, PAGE, tuple(items), None), stored=485)

    assert walk.request == PageRequest(480, PAGE)
    walk.take(Page(480, PAGE, tuple(there[480:]), None), stored=485)
    assert walk.seen == 490


def test_a_list_that_never_stands_still_is_given_up():
    listing = Listing(history(100_000))
    listing.between = lambda listing, number: listing.items.__delitem__(slice(300))
    walk = full()

    walked(listing, walk)

    assert isinstance(walk.problem, UnsteadyList)


# --- resuming where an earlier attempt stopped --------------------------------------------------


def begun(listing: Listing, pages: int) -> tuple[Checkpoint, set[str]]:
    """Begin a first import that is killed after some pages; return its checkpoint and ids."""
    walk, shown = full(), set()
    for _ in range(pages):
        page = listing.page(walk.request)
        shown |= {item.key for item in page.items}
        walk.take(page, new=len(page.items))
    return walk.checkpoint(started_at=NOW), shown


def resumed(
    listing: Listing, checkpoint: Checkpoint, stored: set[str], *, later: timedelta
) -> set[str]:
    top = Window(checkpoint.started_at - timedelta(days=14))
    listing.asked.clear()
    return walked(listing, Walk(top, now=NOW + later, expected=60, checkpoint=checkpoint), stored)


def test_a_killed_walk_goes_on_at_the_seam():
    listing = Listing(history(5000))
    checkpoint, shown = begun(listing, 12)

    shown = resumed(listing, checkpoint, shown, later=timedelta(minutes=5))

    assert shown == {item.key for item in listing.items}
    assert len(listing.asked) <= 1 + 1 + (5000 - 2945) // 245 + 3


@pytest.mark.parametrize(("added", "deleted"), [(0, 60), (200, 0), (7, 199), (40, 900), (900, 3)])
def test_a_walk_resumed_weeks_later_loses_nothing(added, deleted):
    listing = Listing(history(4000))
    checkpoint, shown = begun(listing, 8)
    del listing.items[500 : 500 + deleted]
    newest = NOW + timedelta(days=20)
    listing.items[:0] = history(added, newest=newest, step=timedelta(minutes=20))

    shown = resumed(listing, checkpoint, shown, later=timedelta(days=20))

    assert {item.key for item in listing.items} <= shown


def test_a_walk_killed_again_before_the_seam_keeps_its_mark():
    listing = Listing(history(4000))
    checkpoint, _ = begun(listing, 8)
    again = Walk(Window(NOW - timedelta(days=14)), now=NOW, expected=60, checkpoint=checkpoint)

    again.take(listing.page(again.request))

    assert again.checkpoint(started_at=NOW) == checkpoint


def at_the_seam(tail: list, page: list, *, offset: int) -> Walk:
    """Return a resumed walk that has read its window, and then a page where the seam may be."""
    whole = history(3000)
    checkpoint = Checkpoint(NOW, None, 1000, tuple(item.key for item in tail), None)
    walk = Walk(Window(NOW - timedelta(days=14)), now=NOW, expected=60, checkpoint=checkpoint)
    walk.take(Page(0, 75, tuple(whole[:75]), None))
    walk.take(Page(offset, PAGE, tuple(page), None))
    return walk


def test_the_seam_is_looked_for_where_new_items_have_moved_it_and_a_little_above():
    whole = history(3000)
    tail = tuple(item.key for item in whole[750:1000])
    checkpoint = Checkpoint(NOW, None, 1000, tail, None)
    walk = Walk(Window(NOW - timedelta(days=14)), now=NOW, expected=60, checkpoint=checkpoint)

    walk.take(Page(0, 75, tuple(whole[:75]), None), new=9)

    assert walk.request == PageRequest(809, PAGE)


def test_a_seam_that_is_gone_from_a_list_with_a_new_top_is_looked_for_no_further():
    there = history(120)
    checkpoint = Checkpoint(NOW, None, 60, ("gone", "gone too"), None)
    walk = Walk(Window(NOW - timedelta(days=14)), now=NOW, expected=40, checkpoint=checkpoint)
    walk.take(Page(0, 50, tuple(there[:50]), None))
    new = history(100, newest=NOW + timedelta(days=2), step=timedelta(minutes=1))

    listing = Listing([*new, *there])
    while walk.request.offset:  # further up, until the top of the list is shown
        walk.take(Page(walk.request.offset, PAGE, tuple(there[99:]), None))
    shown = walked(listing, walk)

    assert walk.problem is None
    assert shown == {item.key for item in listing.items}


def test_a_page_that_begins_with_the_last_one_seen_is_the_seam():
    """With pages of one item, or after deletions, one id may be all that is left."""
    whole = history(3000)

    walk = at_the_seam(whole[999:1000], whole[999:1249], offset=999)

    assert walk.request == PageRequest(1244, PAGE)
    assert walk.checkpoint(started_at=NOW).offset == 1249


def test_a_page_that_shows_two_of_the_last_ones_anywhere_is_the_seam():
    whole = history(3000)

    walk = at_the_seam(whole[998:1000], whole[900:1150], offset=900)

    assert walk.request == PageRequest(1145, PAGE)


@pytest.mark.parametrize("place", [0, 50])
def test_one_of_the_last_ones_alone_is_no_seam_wherever_it_is_shown(place):
    """Its time may have been edited, and its place in the list with it."""
    whole = history(3000)
    page = whole[1500:1600]
    page.insert(place, whole[970])

    walk = at_the_seam(whole[950:1000], page, offset=1400)

    assert walk.request.offset < 1400
    assert walk.checkpoint(started_at=NOW).offset == 1000


def test_a_tail_that_was_deleted_altogether_costs_requests_but_no_items():
    listing = Listing(history(3000))
    checkpoint, shown = begun(listing, 6)
    del listing.items[checkpoint.offset - 260 : checkpoint.offset]

    shown = resumed(listing, checkpoint, shown, later=timedelta(days=1))

    assert {item.key for item in listing.items} <= shown


# --- any history, any cap, any changes ----------------------------------------------------------

CHANGES = st.lists(
    st.tuples(st.sampled_from(["delete", "add"]), st.floats(0, 1), st.integers(1, 30)), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 700),
    cap=st.integers(5, 250),
    changes=CHANGES,
    same_second=st.booleans(),
)
@example(count=3, cap=2, changes=[("add", 0.0, 1), ("delete", 0.0, 1)], same_second=False)
@example(
    count=119, cap=28, same_second=False,
    changes=[
        ("delete", 0.0, 8), ("add", 0.5, 14), ("delete", 0.0, 1), ("delete", 0.0, 1),
        ("add", 0.5, 10), ("add", 0.0, 15), ("delete", 0.0, 19), ("delete", 0.75, 25),
        ("add", 0.0, 14), ("delete", 0.0, 1),
    ],
)  # fmt: skip
def test_whatever_was_there_all_the_time_is_seen(count, cap, changes, same_second):
    step = timedelta(0) if same_second else timedelta(minutes=5)
    listing = Listing(history(count, step=step), cap=cap)
    always = {item.key for item in listing.items}

    def change(listing: Listing, number: int) -> None:
        if number > len(changes):
            return
        kind, place, many = changes[number - 1]
        at = int(place * len(listing.items))
        if kind == "delete":
            always.difference_update(item.key for item in listing.items[at : at + many])
            del listing.items[at : at + many]
        else:
            fresh = [checkin(NOW, 10_000 + 100 * number + n) for n in range(many)]
            listing.items[at:at] = fresh

    listing.between = change
    walk = full()
    shown = walked(listing, walk)

    assert walk.problem is not None or always <= shown
    assert all(isinstance(item, Checkin) for item in listing.items)


@given(
    st.integers(0, 400),
    st.integers(15, 60),
    st.integers(3, 12),
    st.lists(st.integers(0, 3), max_size=12),
)
@settings(deadline=None)
def test_a_walk_that_has_seen_just_what_is_stored_goes_on_to_the_end(count, cap, every, inserted):
    """While the application's rows are adopted page by page, the number of rows with an id equals
    at each page the number of items seen. Some items count, and are never shown."""
    there = history(count)
    hidden = {item.key for item in there[::every]}
    listing = Listing(list(there))

    def between(changed: Listing, number: int) -> None:
        for n in range(inserted[number - 1] if number <= len(inserted) else 0):
            changed.items.insert(0, checkin(NOW + timedelta(minutes=10 * number + n), 900 + n))

    walk, seen = full(), set()
    while walk.request is not None:
        assert len(listing.asked) < 2000
        between(listing, len(listing.asked) + 1)
        request = walk.request
        listing.asked.append(request)
        start = request.offset
        while True:  # a page is empty beyond the end only
            asked = listing.items[start : start + min(request.limit, cap)]
            items = tuple(item for item in asked if item.key not in hidden)
            if items or not asked:
                break
            start += cap
        seen |= {item.key for item in items}
        walk.take(Page(request.offset, request.limit, items, count), stored=len(seen))

    assert walk.problem is None
    assert seen >= {item.key for item in there} - hidden


def test_an_empty_page_further_down_is_no_end_of_what_stands_between():
    """Three pages in a row seemed to be the last one; the list goes on for less than a page."""
    there = history(100)
    walk = full()
    for start, length in ((0, 40), (35, 37), (67, 21)):
        assert walk.request is not None
        page = Page(walk.request.offset, 250, tuple(there[start : start + length]), 100)
        walk.take(page, stored=start + length)
    seen = 88
    while walk.request is not None:
        items = tuple(there[walk.request.offset : walk.request.offset + 40])
        seen = max(seen, walk.request.offset + len(items))
        walk.take(Page(walk.request.offset, 250, items, 100), stored=seen)

    assert walk.ended
    assert walk.seen == 100
