"""A walk over a user's list: the pages seen so far decide the next request, or the end; pure.

A walk reads the list newest first, by offset. It relies on one thing only: a page shows the list's
items from its offset on, in the list's order. It trusts neither `count`, nor a short page, nor the
offsets of a list that changes meanwhile: a page counts when it *joins* what was seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from checkinsync.errors import OffsetIgnored, UnsteadyList, UserFailed
from checkinsync.model.checkin import Checkin, Item
from checkinsync.model.listing import PAGE, Checkpoint, Page, PageRequest, Window
from checkinsync.model.span import PageOrder

OVERLAP = 5
"""Items of the previous page that a page repeats, to detect deletions; doubled with each shift."""

RELOOKS = 2
"""Number of times the end is checked again because the list was longer for a moment."""

MOST_OVERLAP = 100
MOST_SHIFTS = 100
"""Number of shifts of the list that a walk follows before it gives up until next time."""

FAR = 100_000
"""Items beyond the known end: a server that shows the same page there ignores `offset`."""

TAIL = PAGE
"""Keys of the last contiguous items that a walk keeps, to see how the list moves."""

MARK = 16
"""Keys of these that a checkpoint keeps, to find the seam again. It is written after each page, so
that a long one costs more than the page where nothing in it has changed."""


class Stage(Enum):
    """The purpose of the next request."""

    DOWN = "down"
    """Go on where the contiguous items end."""
    FOOT = "foot"
    """Expect an empty page at the known length: the end of the history."""
    BACK = "back"
    """Join again after a shift."""
    SEAM = "seam"
    """Find the place where an earlier attempt stopped."""
    PROOF = "proof"
    """Expect an empty page far beyond the end: `offset` is not ignored."""


class Walk:
    """One walk over a list: pass each page to `take`; `request` is the next request."""

    def __init__(
        self,
        window: Window,
        *,
        now: datetime,
        expected: int | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Begin at the top; with `checkpoint`, `window` is the top that has to be read again.

        `expected`: number of items that the window should hold, by what is stored; the first page
        is made large enough to show an item older than the window, so that it is the only one.
        """
        self.request: PageRequest | None = PageRequest(0, first_limit(window, expected))
        self.problem: UserFailed | None = None
        self.ended = False
        """The end of the whole list was seen, not just that of the window."""
        self._now = now
        self._window = window
        self._checkpoint = checkpoint
        self._seen: set[str] = set()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._down_to: datetime | None = None
        self._reach = 0
        self._total: int | None = None  # the list's length, as told by the last page with items
        self._stage = Stage.DOWN
        self._overlap = OVERLAP
        self._step = 0
        self._shifts = 0
        self._repeats = 0
        self._last: Page | None = None
        self._suspect: tuple[Page, int | None] | None = None
        self._readable = 0
        self._longest = 0
        self._feet = 0
        self._ahead = 0
        """Number of items by which the last look for the end went beyond the known length."""
        self._pushed = False
        self._relooks = 0
        self._whole = True
        """Everything above was seen in this walk, none of it in an earlier attempt."""
        self._beyond = False
        """A look beyond the known length saw nothing: everything that is left is above it."""
        self._asked_again = False
        self._offset_works = False
        self._inserted = 0

    @property
    def known(self) -> set[str]:
        """The keys of the items seen contiguously so far."""
        return self._seen

    @property
    def seen(self) -> int:
        """Number of different items seen contiguously so far."""
        return len(self._seen)

    def would_end(self, page: Page) -> bool:
        """Return True if `take` would end the walk with this page, the first one: it is the top of
        the list, and reaches past the window."""
        top = page.offset == 0 and not self._seen and self._checkpoint is None
        return top and is_past(page.items, self._window.start, now=self._now)

    def decides_early(self, page: Page) -> bool:
        """Return True if `take` needs nothing but this page: whatever storing it shows, the end of
        the list is not near, and there is no earlier attempt to be found again."""
        full = len(page.items) == page.limit
        return bool(page.offset) and full and self._checkpoint is None

    def requests_after(self, page: Page, *, most: int) -> list[PageRequest]:
        """Return the next request, none at the end, and those that follow if the list goes on as it
        is: only of the whole history, and not beyond its length as Foursquare reports it."""
        if self.request is None:
            return []
        total = page.total if self._window.start is None and self._stage is Stage.DOWN else None
        following = range(self.request.offset, total or 0, PAGE - self._overlap)
        return [self.request, *(PageRequest(offset, PAGE) for offset in following[1:most])]

    def checkpoint(self, *, started_at: datetime) -> Checkpoint:
        """Return where to resume; an earlier attempt's checkpoint stays until it is reached."""
        if self._checkpoint is not None:
            return self._checkpoint
        tail = tuple(self._tail)[-MARK:]
        return Checkpoint(started_at, self._window.start, self._reach, tail, self._down_to)

    def take(self, page: Page, *, new: int = 0, stored: int | None = None) -> None:
        """Take a page in; afterwards `request` is the next request, or None at the end.

        `new`: number of its items that were not stored before. `stored`: number of stored
        check-ins; once as many were seen, the end of the list is looked for.
        Sets `problem`, and `request` to None, if the list can't be walked.
        """
        self._inserted += new
        self._longest = max(self._longest, len(page.items))
        if self._stage is Stage.PROOF:
            self._judge(page)
        elif self._repeats_too_often(page):
            self._suspect = page, stored
            self._stage, self.request = Stage.PROOF, PageRequest(page.offset + FAR, PAGE)
        else:
            self._place(page, stored)

    def _place(self, page: Page, stored: int | None) -> None:
        """Join a page, go back if it does not join, or conclude that the list has ended."""
        at_foot = self._stage is Stage.FOOT
        if self._stage is Stage.SEAM:
            self._find_seam(page)
        elif page.offset == 0 or (page.items and page.items[0].key in self._seen):
            self._join(page, stored)
        elif not page.items and at_foot:
            self._see_foot(page)
        elif at_foot and self._longest == 1:  # pages of one item can't overlap
            self._join(page, stored)
        else:
            self._go_back(page)

    def _judge(self, proof: Page) -> None:
        """Decide whether `offset` is ignored, or new items only kept pace with the requests."""
        assert self._suspect is not None
        page, stored = self._suspect
        if proof.items and proof.items[0].key == page.items[0].key:
            self._give_up(OffsetIgnored(_SAME_PAGE))
            return
        self._offset_works = True
        self._stage = Stage.FOOT
        self._place(page, stored)

    def _repeats_too_often(self, page: Page) -> bool:
        """Return True if `offset` may be ignored: the same page at three offsets in a row.

        Twice may be an insertion at the top of a short list.
        """
        last, self._last = self._last, page
        if self._offset_works or last is None or not page.items or not last.items:
            return False
        repeated = page.offset > last.offset and page.items[0].key == last.items[0].key
        self._repeats = self._repeats + 1 if repeated else 0
        return self._repeats > 1

    def _give_up(self, problem: UserFailed) -> None:
        self.problem = problem
        self.request = None

    def _join(self, page: Page, stored: int | None = None) -> None:
        """Take in a page that is contiguous with what was seen, and decide what to request next."""
        if not page.items:
            self._top_is_empty(page, stored)
            return
        fresh = [item for item in page.items if item.key not in self._seen]
        self._pushed = self._pushed or self._is_pushed(page)
        self._extend(fresh)
        self._reach, self._total = page.offset + len(page.items), page.total
        self._step = 0
        self._beyond = self._beyond and not fresh
        if self._checkpoint is not None and not self._seen.isdisjoint(self._checkpoint.tail[-1:]):
            self._reached_checkpoint()
        if self._beyond:
            self._end()  # nothing below, and nothing new above
        elif is_past(page.items, self._window.start, now=self._now):
            self._end_of_window()
        elif self._readable == stored or (not fresh and self._stage is not Stage.BACK):
            self._go_to_foot(len(page.items), fresh=bool(fresh))
        else:
            self._go_down(len(page.items))

    def _top_is_empty(self, page: Page, stored: int | None) -> None:
        """The list shows no check-in; request it once more if there should be some."""
        if (bool(page.total) or bool(stored)) and not self._asked_again:
            self._asked_again = True
            self.request = PageRequest(0, PAGE)
        else:
            self._end()

    def _end(self) -> None:
        self.request = None
        self.ended = True

    def _go_to_foot(self, length: int, *, fresh: bool) -> None:
        """Request the place where the list should end.

        New items at the top push the end down, so that after three pages of known items the next
        request goes further down, by the length of the last page.
        """
        self._feet = 0 if fresh or self._stage is not Stage.FOOT else self._feet + 1
        self._ahead = length if self._feet > 1 else 0
        self._go_to(Stage.FOOT, self._reach + self._ahead)

    def _see_foot(self, page: Page) -> None:
        """Handle an empty page: where the known items end it is the end of the list, unless the
        list has become shorter since: then what follows has moved up.

        Further down it proves nothing about the items in between: they have yet to be seen.
        """
        fewer = (self._total or 0) - (page.total or 0)
        if self._ahead:
            self._ahead, self._beyond = 0, True
            self._go_to(Stage.FOOT, self._reach)
        elif self._pushed and self._relooks < RELOOKS:
            self._relooks, self._pushed = self._relooks + 1, False
            self._go_to(Stage.DOWN, max(0, len(self._seen) - OVERLAP))
        elif page.total and fewer > 0 and self._relooks < RELOOKS:
            self._relooks += 1
            self._go_to(Stage.DOWN, max(0, self._reach - fewer - OVERLAP))
        else:
            self._end()

    def _is_pushed(self, page: Page) -> bool:
        """Return True if items inserted above have pushed the page's items down since.

        If those are deleted again, the list is shorter than the offsets suggest.
        """
        first = page.items[0].key
        if page.offset == 0 or not self._whole or first not in self._tail:
            return False
        place = len(self._seen) - len(self._tail) + self._tail.index(first)
        return place < page.offset

    def _extend(self, fresh: Sequence[Item]) -> None:
        self._seen.update(item.key for item in fresh)
        self._tail.extend(item.key for item in fresh)
        dated = [item.created_at for item in fresh if isinstance(item, Checkin)]
        self._readable += len(dated)
        self._down_to = dated[-1] if dated else self._down_to

    def _go_down(self, length: int) -> None:
        overlap = min(self._overlap, max(1, length // 2))
        self._go_to(Stage.DOWN, self._reach - overlap)

    def _go_to(self, stage: Stage, offset: int) -> None:
        self._stage = stage
        self.request = PageRequest(offset, PAGE)

    def _go_back(self, page: Page) -> None:
        """Look further up after a shift, twice as far each time, until a page joins."""
        self._overlap = min(self._overlap * 2, MOST_OVERLAP)
        self._step_back(page, Stage.BACK)

    def _step_back(self, page: Page, stage: Stage) -> None:
        self._shifts += 1
        if self._shifts > MOST_SHIFTS:
            self._give_up(UnsteadyList(_TOO_MANY_SHIFTS))
            return
        self._step = self._step * 2 or max(len(page.items) - self._overlap, self._overlap)
        self._go_to(stage, max(0, page.offset - self._step))

    # --- an earlier attempt's walk ----------------------------------------------------------------

    def _end_of_window(self) -> None:
        """Finish, or go on to the seam: everything down to the window's start was seen."""
        if self._checkpoint is None:
            self.request = None
            return
        back = len(self._checkpoint.tail) * 4 // 5  # allows for deletions since
        self._go_to(Stage.SEAM, max(0, self._checkpoint.offset + self._inserted - back))

    def _reached_checkpoint(self) -> None:
        """Drop the checkpoint that this walk has reached, and go on to the end of its window."""
        assert self._checkpoint is not None
        self._window = Window(self._checkpoint.since)
        self._checkpoint = None

    def _find_seam(self, page: Page) -> None:
        assert self._checkpoint is not None
        tail = self._checkpoint.tail
        keys = [item.key for item in page.items]
        if page.offset == 0 or (keys and keys[0] in self._seen):
            self._reached_checkpoint()  # still in the part that was read again: walk on from here
            self._join(page)
        elif len(set(tail) & set(keys)) > 1 or keys[:1] == list(tail[-1:]):
            self._reached_checkpoint()
            self._whole = False
            self._seen.update(tail)
            self._tail.extend(tail)
            self._join(page)
        else:
            self._step_back(page, Stage.SEAM)


def first_limit(window: Window, expected: int | None) -> int:
    """Return the items to request first: those expected and a margin, or a full page."""
    if window.start is None or expected is None:
        return PAGE
    return min(PAGE, expected + max(10, expected // 4))


def is_past(items: Sequence[Item], start: datetime | None, *, now: datetime) -> bool:
    """Return True if everything below this page is older than `start`, under either order.

    The page must be in order by one of the two instants, and its last check-in older than `start`
    by both. Unreadable items, and instants of ids in the future, are ignored.
    """
    if start is None:
        return False
    listed = PageOrder.of(items, now=now)
    return listed.last is not None and listed.last < start and bool(listed.orders)


_SAME_PAGE = (
    "Foursquare returns the same page at every offset, so the list can't be read to its end; "
    "what was stored is kept, and the next attempt starts again"
)
_TOO_MANY_SHIFTS = (
    f"the list shifted more than {MOST_SHIFTS} times while it was read; "
    "what was stored is kept, and the next attempt resumes there"
)
