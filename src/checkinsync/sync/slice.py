"""A slice of the older history: which pages to read again tonight, and what they cover; pure.

The window sees what is young. Everything older is read again in slices, one a night and user, so
that within a month each check-in has been compared with Foursquare once.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil

from checkinsync.model.checkin import Checkin, instant_of_id
from checkinsync.model.listing import PAGE, Page, PageRequest
from checkinsync.model.span import Span

SLICES = 25
"""In so many the older history is read: a month has room for a few nights that were missed."""

HASTE = 1.1
"""A slice is a little larger than its share: nights on which something missing is looked for go
without one."""

LEAST = 25
"""Check-ins of the smallest slice: a short history is not cut into crumbs."""

MARGIN = 15
"""Items that a page begins above the place it is meant for, and ends below: deletions that are not
known yet move the list up."""

OVERLAP = 5
"""Items that a further page repeats of the one before."""

MOST = 4
"""Pages of a slice for each that was planned, at most."""

FEW = 3
"""Stored check-ins below the end of a short page: that few may be gone; more are its neighbours."""


def share(older: int) -> int:
    """How many of `older` check-ins a slice holds."""
    return max(LEAST, ceil(older / SLICES * HASTE))


def pages(older: int) -> int:
    """How many requests tonight's slice of `older` check-ins takes, where nothing is in the way."""
    return _pages(share(older))


def _pages(length: int) -> int:
    return ceil(length / (PAGE - 2 * MARGIN))


class Slice:
    """Reads down from a place in the history; feed it each page by `see`, ask it for the next."""

    def __init__(self, start: datetime, *, offset: int, length: int) -> None:
        """`offset`: how many items are thought to stand above `start`; `length`: check-ins."""
        self.start = start
        self.request: PageRequest | None = PageRequest(
            max(0, offset - MARGIN), min(PAGE, length + 2 * MARGIN)
        )
        self.newest: datetime | None = None
        """Down from here all has been compared; None: nothing yet."""
        self.oldest: datetime | None = None
        """Down to here; None with `ended`: to the beginning."""
        self.ended = False
        """The list goes no further down, as far as a slice can tell."""
        self.missed = False
        """The last page is not the one that was meant: see `aim`."""
        self.taken = False
        """The last page joins what was read before."""
        self.proves_nothing = False
        """A page was in no known order, or empty."""
        self.next_start: datetime | None = start
        """Where the next slice begins; None: at the top of the older history again."""
        self._length = length
        self._pages_planned = _pages(length)
        self._pages = 0
        self._read = 0
        self._seen: set[str] = set()

    @property
    def compared(self) -> tuple[datetime, datetime | None] | None:
        """From where down to where all has been compared; None: nothing yet."""
        if self.newest is None or (self.oldest is None and not self.ended):
            return None
        empty = self.oldest is not None and self.oldest >= self.newest
        return None if empty else (self.newest, self.oldest)

    def take(self, page: Page, span: Span | None, *, below: int) -> None:
        """Take a page in, and what it proves. `below`: stored check-ins older than all of it, by
        both their instants; counted up to a few."""
        self.missed = self.taken = False
        if span is None or span.oldest is None:
            self._give_up(page)
        elif self.newest is None and self._misses(page, span, span.oldest, below):
            self.missed, self.request = True, None
        elif self.newest is not None and page.items[0].key not in self._seen:
            self.request = None  # the list has shifted meanwhile: what is proved stays proved
        else:
            self._take(page, span, span.oldest, below=below)

    def aim(self, offset: int) -> None:
        """The page has missed the place it was meant for; this offset is nearer."""
        self.request = PageRequest(max(0, offset - MARGIN), PAGE)

    def _misses(self, page: Page, span: Span, oldest: datetime, below: int) -> bool:
        """Whether it begins below the place where the last slice ended, or ends above it."""
        begins_too_low = span.newest is not None and span.newest < self.start
        ends_too_high = oldest > self.start and not self._ends(page, below)
        return begins_too_low or ends_too_high

    def _give_up(self, page: Page) -> None:
        """A page that proves nothing, or shows nothing: the next slice begins below it, by what
        most of its check-ins say."""
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
        """Whether the list seems to end here. A short page alone is no end, but below this one
        next to nothing is stored."""
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
        if nothing_more or self._ends(page, below):
            self._end(below)
        elif self._pages >= MOST * self._pages_planned or (self._enough() and oldest < self.start):
            self.request = None
        else:
            self.request = PageRequest(page.offset + max(1, len(page.items) - OVERLAP), PAGE)

    def _fresh(self, page: Page) -> int:
        keys = {i.key for i in page.items if isinstance(i, Checkin) and i.created_at <= self.start}
        fresh = len(keys - self._seen)
        self._seen.update(item.key for item in page.items)
        return fresh

    def _end(self, below: int) -> None:
        self.request = self.next_start = None
        self.ended = True
        if not below:
            self.oldest = None

    def _enough(self) -> bool:
        """A server that shows small pages is asked for a few more of them."""
        planned = self._pages >= self._pages_planned and 2 * self._read >= self._length
        return self._read >= self._length or planned
