"""A slice of the older history: which pages to read again tonight, and what they cover; pure.

The window covers the recent history. Everything older is read again in slices, one per night and
user, so that each check-in is compared with Foursquare at least once a month.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil

from checkinsync.model.checkin import Checkin, instant_of_id
from checkinsync.model.listing import PAGE, Page, PageRequest
from checkinsync.model.span import Span

SLICES = 25
"""Slices that make up the older history: a month allows for a few missed nights."""

HASTE = 1.1
"""Factor by which a slice is larger than its share: a night that looks for a missing check-in
reads no slice."""

LEAST = 25
"""Check-ins of the smallest slice."""

MARGIN = 15
"""Items by which a page begins above and ends below its place: deletions that are not known yet
shift the list."""

OVERLAP = 5
"""Items of the previous page that a page repeats."""

MOST = 4
"""Maximum of pages read for each page planned."""

FEW = 3
"""Check-ins stored below a short page that may have been deleted; with more, it is not the end."""


def share(older: int) -> int:
    """Return how many of `older` check-ins a slice holds."""
    return max(LEAST, ceil(older / SLICES * HASTE))


def pages(older: int) -> int:
    """Return the requests that a slice of `older` check-ins takes if all goes well."""
    return _pages(share(older))


def _pages(length: int) -> int:
    return ceil(length / (PAGE - 2 * MARGIN))


class Slice:
    """Reads down from a place in the history: pass each page to `take`; `request` is the next."""

    def __init__(
        self, start: datetime, *, offset: int, length: int, end_is_known: bool = False
    ) -> None:
        """`offset`: expected number of items above `start`; `length`: check-ins to read;
        `end_is_known`: what follows a short page at the end was asked for lately."""
        self.start = start
        self.offset = offset
        self.request: PageRequest | None = PageRequest(
            max(0, offset - MARGIN), min(PAGE, length + 2 * MARGIN)
        )
        self.newest: datetime | None = None
        """Upper end of what was compared; None: nothing yet."""
        self.oldest: datetime | None = None
        """Lower end of what was compared; None with `ended`: the beginning of the history."""
        self.ended = False
        """The list ends here, or seems to where its end is known."""
        self.missed = False
        """The last page missed its place: see `aim`."""
        self.taken = False
        """The last page joins what was read before."""
        self.proves_nothing = False
        """A page was in no known order, or empty."""
        self.next_start: datetime | None = start
        """Start of the next slice; None: the top of the older history."""
        self._end_is_known = end_is_known
        self._length = length
        self._pages_planned = _pages(length)
        self._pages = 0
        self._read = 0
        self._seen: set[str] = set()

    @property
    def compared(self) -> tuple[datetime, datetime | None] | None:
        """The upper and the lower end of what was compared; None: nothing yet."""
        if self.newest is None or (self.oldest is None and not self.ended):
            return None
        empty = self.oldest is not None and self.oldest >= self.newest
        return None if empty else (self.newest, self.oldest)

    def take(self, page: Page, span: Span | None, *, below: int) -> None:
        """Take a page in, and its span.

        `below`: number of stored check-ins older than the page by both instants; it need not count
        further than `FEW` + 1.
        """
        self.missed = self.taken = False
        if span is None or span.oldest is None:
            self._give_up(page)
        elif self.newest is None and self._misses(page, span, span.oldest, below):
            self.missed, self.request = True, None
        elif self.newest is not None and page.items[0].key not in self._seen:
            self.request = None  # the list has shifted; what was compared stays compared
        else:
            self._take(page, span, span.oldest, below=below)

    def aim(self, offset: int) -> None:
        """Request the place again at a better offset, after a page that missed it."""
        self.request = PageRequest(max(0, offset - MARGIN), PAGE)

    def _misses(self, page: Page, span: Span, oldest: datetime, below: int) -> bool:
        """Return True if the page begins below the start of this slice, or ends above it."""
        begins_too_low = span.newest is not None and span.newest < self.start
        ends_too_high = oldest > self.start and not self._ends(page, below)
        return begins_too_low or ends_too_high

    def _give_up(self, page: Page) -> None:
        """End the slice at a page that proves nothing; the next one begins below most of it."""
        self.request = None
        self.proves_nothing = True
        later = sorted(
            max(item.created_at, instant_of_id(item.id) or item.created_at)
            for item in page.items
            if isinstance(item, Checkin)
        )
        places = [later[len(later) // share_of] for share_of in (2, 4)] if later else []
        self.next_start = next((at for at in places if at < self.start), None)

    def _ends(self, page: Page, below: int) -> bool:
        """Return True if the list seems to end here: a short page, and little is stored below."""
        assert self.request is not None
        return len(page.items) < self.request.limit and below <= FEW

    def _take(self, page: Page, span: Span, oldest: datetime, *, below: int) -> None:
        assert self.request is not None
        if self.newest is None:
            self.newest = min(max(self.start, oldest), span.newest or self.start)
        self.taken = True
        short = len(page.items) < self.request.limit
        nothing_more = short and self._seen.issuperset(item.key for item in page.items)
        self.oldest = self.next_start = oldest
        self._pages += 1
        self._read += self._fresh(page)
        seems_to_end = self._ends(page, below)
        proved = nothing_more or (seems_to_end and _shows_the_last(page))
        if proved or (seems_to_end and self._end_is_known):
            self._end(below, proved=proved)
        elif self._pages >= MOST * self._pages_planned or (self._enough() and oldest < self.start):
            self.request = None
        else:
            self.request = PageRequest(page.offset + max(1, len(page.items) - OVERLAP), PAGE)

    def _fresh(self, page: Page) -> int:
        keys = {i.key for i in page.items if isinstance(i, Checkin) and i.created_at <= self.start}
        fresh = len(keys - self._seen)
        self._seen.update(item.key for item in page.items)
        return fresh

    def _end(self, below: int, *, proved: bool) -> None:
        self.request = self.next_start = None
        self.ended = True
        if proved and not below:
            self.oldest = None

    def _enough(self) -> bool:
        """Return True if the slice is long enough; small pages allow for a few more of them."""
        planned = self._pages >= self._pages_planned and 2 * self._read >= self._length
        return self._read >= self._length or planned


def _shows_the_last(page: Page) -> bool:
    """Return True if Foursquare counts no more than the page reaches to. It may count too many, and
    pages may be short anywhere: then only the next page tells whether this is the end."""
    return page.total is not None and page.total <= page.offset + len(page.items)
