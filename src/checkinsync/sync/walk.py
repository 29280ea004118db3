"""The pages seen so far -> the next request, or the end; no HTTP, no SQL, no clock.

A walk reads a user's list newest first, by offset. It rests on one thing only: that a page shows
the list's items from its offset on, in the list's order. It trusts neither `count`, nor a short
page, nor the offsets of a list that changes under it: a page counts when it *joins* what was seen.
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
"""Items that a page repeats of the one before, to see deletions; doubled with each shift seen."""

RELOOKS = 2
"""How often an end is doubted because the list was longer for a moment."""

MOST_OVERLAP = 100
MOST_SHIFTS = 100
"""How often a walk follows a list that shifts under it before it gives up until next time."""

FAR = 100_000
"""Items beyond the known end: whoever shows the same page there ignores `offset`."""

TAIL = PAGE
"""Ids of the last items of the contiguous stretch that are kept for finding the seam again."""


class Stage(Enum):
    """What the next page is asked for."""

    DOWN = "down"
    """To go on where the stretch ends."""
    FOOT = "foot"
    """To see nothing: an empty page at the known length is the end of the history."""
    BACK = "back"
    """To join again after a shift."""
    SEAM = "seam"
    """To find the place where an earlier attempt stopped."""
    PROOF = "proof"
    """To see nothing far beyond the end: `offset` is not ignored."""


class Walk:
    """One walk over a list; feed it each page by `take`, ask it for the next request."""

    def __init__(
        self,
        window: Window,
        *,
        now: datetime,
        expected: int | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Begin at the top; with `checkpoint`, `window` is the top that has to be read again.

        `expected`: how many items the window is thought to hold, from what is stored; the first
        page is made large enough to show one older than the window, so that it is the only one.
        """
        self.request: PageRequest | None = PageRequest(0, first_limit(window, expected))
        self.problem: UserFailed | None = None
        self.ended = False
        """Whether the end of the whole list was seen, not just that of the window."""
        self._now = now
        self._window = window
        self._checkpoint = checkpoint
        self._seen: set[str] = set()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._down_to: datetime | None = None
        self._reach = 0
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
        """By how much the last look for the end went beyond what is known of the list."""
        self._pushed = False
        self._relooks = 0
        self._whole = True
        """Whether all that stands above was seen in this walk, not in an earlier attempt."""
        self._beyond = False
        """That look saw nothing: all that there is stands above."""
        self._asked_again = False
        self._offset_works = False
        self._inserted = 0

    @property
    def seen(self) -> int:
        """How many different items the contiguous stretch holds so far."""
        return len(self._seen)

    def checkpoint(self, *, started_at: datetime) -> Checkpoint:
        """Where to go on after a kill; an earlier attempt's mark stays until it is reached."""
        if self._checkpoint is not None:
            return self._checkpoint
        tail = tuple(self._tail)
        return Checkpoint(started_at, self._window.start, self._reach, tail, self._down_to)

    def take(self, page: Page, *, new: int = 0, stored: int | None = None) -> None:
        """Take a page in; afterwards `ask` is the next request, or None at the end.

        `new`: how many of its items were not stored before. `stored`: how many check-ins are; if
        just those have been seen, a page is as good as one that shows nothing new.
        Sets `problem`, and asks no more, where the list can't be walked.
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
        """Where a page belongs: at the end of the stretch, beyond it, or at the list's end."""
        at_foot = self._stage is Stage.FOOT
        if self._stage is Stage.SEAM:
            self._find_seam(page)
        elif page.offset == 0 or (page.items and page.items[0].key in self._seen):
            self._join(page, stored)
        elif not page.items and at_foot:
            self._see_foot()
        elif at_foot and self._longest == 1:  # pages of one can't overlap
            self._join(page, stored)
        else:
            self._go_back(page)

    def _judge(self, proof: Page) -> None:
        """Whether `offset` is ignored, or new items kept pace with us at the end of the list."""
        assert self._suspect is not None
        page, stored = self._suspect
        if proof.items and proof.items[0].key == page.items[0].key:
            self._give_up(OffsetIgnored(_SAME_PAGE))
            return
        self._offset_works = True
        self._stage = Stage.FOOT
        self._place(page, stored)

    def _repeats_too_often(self, page: Page) -> bool:
        """Whether `offset` may be ignored: once may be an insertion at the top of a short list."""
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
        """The page is contiguous with what was seen: extend the stretch and decide."""
        if not page.items:
            self._top_is_empty(page, stored)
            return
        fresh = [item for item in page.items if item.key not in self._seen]
        self._pushed = self._pushed or self._is_pushed(page)
        self._extend(fresh)
        self._reach = page.offset + len(page.items)
        self._step = 0
        self._beyond = self._beyond and not fresh
        if self._checkpoint is not None and not self._seen.isdisjoint(self._checkpoint.tail[-1:]):
            self._reached_checkpoint()
        if self._beyond:
            self._end()  # nothing further down, and nothing new up to there
        elif is_past(page.items, self._window.start, now=self._now):
            self._end_of_window()
        elif self._readable == stored or (not fresh and self._stage is not Stage.BACK):
            self._go_to_foot(len(page.items), fresh=bool(fresh))
        else:
            self._go_down(len(page.items))

    def _top_is_empty(self, page: Page, stored: int | None) -> None:
        """No check-in at all; where there should be some, it is asked for once more."""
        if (bool(page.total) or bool(stored)) and not self._asked_again:
            self._asked_again = True
            self.request = PageRequest(0, PAGE)
        else:
            self._end()

    def _end(self) -> None:
        self.request = None
        self.ended = True

    def _go_to_foot(self, length: int, *, fresh: bool) -> None:
        """See that the list ends where it is known to. New items at its top push the end away, so
        that after three pages of known ones as many more are expected as came in before."""
        self._feet = 0 if fresh or self._stage is not Stage.FOOT else self._feet + 1
        self._ahead = length if self._feet > 1 else 0
        self._go_to(Stage.FOOT, self._reach + self._ahead)

    def _see_foot(self) -> None:
        """An empty page where the list is known to reach is its end. One further down proves
        nothing of what stands between: that has still to be seen."""
        if self._ahead:
            self._ahead, self._beyond = 0, True
            self._go_to(Stage.FOOT, self._reach)
        elif self._pushed and self._relooks < RELOOKS:
            self._relooks, self._pushed = self._relooks + 1, False
            self._go_to(Stage.DOWN, max(0, len(self._seen) - OVERLAP))
        else:
            self._end()

    def _is_pushed(self, page: Page) -> bool:
        """Whether the page begins further up in the list than its offset says: items that came in
        above have pushed all down. If they go again, the end is nearer than it seems."""
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
        """The list has shifted: look further up, twice as far each time, until a page joins."""
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
        """Everything down to the window's start was seen: done, or on to the seam."""
        if self._checkpoint is None:
            self.request = None
            return
        back = min(len(self._checkpoint.tail), TAIL * 4 // 5)  # room for deletions since
        self._go_to(Stage.SEAM, max(0, self._checkpoint.offset + self._inserted - back))

    def _reached_checkpoint(self) -> None:
        """The stretch reaches the earlier attempt's end by itself: no seam to look for."""
        assert self._checkpoint is not None
        self._window = Window(self._checkpoint.since)
        self._checkpoint = None

    def _find_seam(self, page: Page) -> None:
        assert self._checkpoint is not None
        tail = self._checkpoint.tail
        keys = [item.key for item in page.items]
        if page.offset == 0 or (keys and keys[0] in self._seen):
            self._reached_checkpoint()  # still in the part read again: walk down from here
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
    """Items to ask for first: what the window should hold and a margin; a full page if unknown."""
    if window.start is None or expected is None:
        return PAGE
    return min(PAGE, expected + max(10, expected // 4))


def is_past(items: Sequence[Item], start: datetime | None, *, now: datetime) -> bool:
    """Whether everything below this page is older than `start`, under either order of the list.

    The page must be in order by one of its check-ins' two instants, and its last one older than
    `start` by both. Items that can't be read and id instants in the future say nothing.
    """
    listed = PageOrder.of(items, now=now)
    if start is None or listed.last is None:
        return False
    return bool(listed.orders) and listed.last < start


_SAME_PAGE = (
    "Foursquare shows the same page at every offset, so the walk can't go on; "
    "what was stored stays, and it is tried again next time"
)
_TOO_MANY_SHIFTS = (
    f"the list shifted more than {MOST_SHIFTS} times during one walk; "
    "what was stored stays, and it goes on from there next time"
)
