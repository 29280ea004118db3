"""A slice of the older history: which pages to read again tonight, and what they cover; pure.

The window sees what is young. Everything older is read again in slices, one a night and user, so
that within a month each check-in has been compared with Foursquare once.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil

from checkinsync.evidence import Span
from checkinsync.model import PAGE, Ask, Checkin, Page

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

BACKS = 3
"""How often to go back when a page begins too far down."""

ABOVES = 5
"""How often to go on when a page ends too far up."""

FEW = 3
"""Stored check-ins below the end of a short page: that few may be gone; more are its neighbours."""


def share(older: int) -> int:
    """How many of `older` check-ins a slice holds."""
    return max(LEAST, ceil(older / SLICES * HASTE))


class Slice:
    """Reads down from a place in the history; feed it each page by `see`, ask it for the next."""

    def __init__(self, start: datetime, *, offset: int, length: int) -> None:
        """`offset`: how many items are thought to stand above `start`; `length`: check-ins."""
        self.start = start
        self.ask: Ask | None = Ask(max(0, offset - MARGIN), min(PAGE, length + 2 * MARGIN))
        self.newest: datetime | None = None
        """Down from here all has been compared; None: nothing yet."""
        self.oldest: datetime | None = None
        """Down to here; None with `ended`: to the beginning."""
        self.ended = False
        """The list goes no further down, as far as a slice can tell."""
        self.next_start: datetime | None = start
        """Where the next slice begins; None: at the top of the older history again."""
        self._length = length
        self._pages_planned = ceil(length / (PAGE - 2 * MARGIN))
        self._pages = 0
        self._read = 0
        self._backs = 0
        self._aboves = 0
        self._seen: set[str] = set()

    def see(self, page: Page, span: Span | None, *, below: int) -> None:
        """Take a page in, and what it proves. `below`: stored check-ins older than all of it, by
        both their instants; counted up to a few."""
        if self.newest is None and self._begins_too_low(page, span):
            self._go_back(page)
        elif span is None or span.oldest is None:
            self._give_up(page)
        elif self.newest is not None and page.items[0].key not in self._seen:
            self.ask = None  # the list has shifted: what is proved stays proved
        elif span.oldest > self.start and not self._ends(page, below):
            self._go_down(page)
        else:
            self._take(page, span, span.oldest, below=below)

    def _begins_too_low(self, page: Page, span: Span | None) -> bool:
        if page.offset == 0 or self._backs == BACKS:
            return False
        if not page.items:
            return True
        return span is not None and span.newest is not None and span.newest < self.start

    def _go_back(self, page: Page) -> None:
        self._backs += 1
        step = (PAGE - 2 * MARGIN) * 2 ** (self._backs - 1)
        self.ask = Ask(max(0, page.offset - step), PAGE)

    def _go_down(self, page: Page) -> None:
        """The page ends above the place that it is meant for."""
        self._aboves += 1
        self._seen.update(item.key for item in page.items)
        below = page.offset + max(1, len(page.items) - OVERLAP)
        self.ask = Ask(below, PAGE) if self._aboves <= ABOVES else None

    def _give_up(self, page: Page) -> None:
        """A page that proves nothing: the next slice begins below it."""
        self.ask = None
        dates = [item.created_at for item in page.items if isinstance(item, Checkin)]
        below = min(dates) if dates else None
        self.next_start = below if below is not None and below < self.start else None

    def _ends(self, page: Page, below: int) -> bool:
        """Whether the list seems to end here. A short page alone is no end, but below this one
        next to nothing is stored."""
        assert self.ask is not None
        return len(page.items) < self.ask.limit and below <= FEW

    def _take(self, page: Page, span: Span, oldest: datetime, *, below: int) -> None:
        if self.newest is None:
            self.newest = min(max(self.start, oldest), span.newest or self.start)
        self.oldest = self.next_start = oldest
        self._pages += 1
        self._read += self._fresh(page)
        if self._ends(page, below):
            self._end(below)
        elif self._enough():
            self.ask = None
        else:
            self.ask = Ask(page.offset + max(1, len(page.items) - OVERLAP), PAGE)

    def _fresh(self, page: Page) -> int:
        keys = {i.key for i in page.items if isinstance(i, Checkin) and i.created_at <= self.start}
        fresh = len(keys - self._seen)
        self._seen.update(item.key for item in page.items)
        return fresh

    def _end(self, below: int) -> None:
        self.ask = self.next_start = None
        self.ended = True
        if not below:
            self.oldest = None

    def _enough(self) -> bool:
        """A server that shows small pages is asked for a few more of them."""
        planned = self._pages >= self._pages_planned and 2 * self._read >= self._length
        return self._read >= self._length or planned or self._pages >= 4 * self._pages_planned
