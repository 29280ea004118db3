"""After the import: checks suspected deletions again, or re-reads the next slice of the history.

The first thing to be dropped when requests or time run short, and made up for later. It never
fails an import: the window is stored already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseError,
    RequestRefused,
    UserFailed,
)
from checkinsync.model.changes import Saved, Stored
from checkinsync.model.listing import PAGE, Page
from checkinsync.model.span import Order, PageOrder, Span, VerifiedSpan, first_at
from checkinsync.store import checkins, deletions, sync_state, verified_spans
from checkinsync.store.pool import Connection
from checkinsync.store.sync_state import Slices
from checkinsync.sync.confirm_deletions import confirm_missing
from checkinsync.sync.coverage import add_verified
from checkinsync.sync.deletions import AGAIN_AFTER, LATELY, OWN_WORD, is_due
from checkinsync.sync.save_page import mark_unshown, save_page
from checkinsync.sync.session import Session
from checkinsync.sync.slice import FEW, LEAST, MARGIN, Slice, share

NOT_BEFORE = timedelta(hours=20)
"""Between two scrubs of one user."""

LATE_AFTER = timedelta(days=25)
"""A stretch that was not compared for so long shows that slices were missed: two are read. So does
one that was compared so far in the future: a wrong clock dated it."""

RESERVE = 30
"""Requests of the hour that a scrub leaves for others."""

UNEXPECTED = (RequestRefused, UserFailed, DatabaseError)
"""Reasons for dropping a scrub that an operator should see, though the import is not affected. Not
a database that is away: if it stays away, the run says so."""

log = logging.getLogger(__name__)


def scrub(
    session: Session,
    *,
    reached: datetime | None,
    reached_at: int,
    check_stop: Callable[[], None],
) -> Saved:
    """Read again what is older than `reached`, down to which tonight's window has been compared;
    None: there is nothing older. `reached_at`: the place in the list where that was.

    Raises nothing of ours: what comes in the way ends the scrub, and is logged.
    """
    work = _Scrub(session, reached, reached_at, check_stop)
    try:
        work.run()
    except CheckinsyncError as reason:
        odd = isinstance(reason, UNEXPECTED) and not isinstance(reason, DatabaseAway)
        level = logging.WARNING if odd else logging.INFO
        log.log(level, "slice_dropped", extra={"user_id": work.user_id, "reason": str(reason)})
    return work.saved


def is_scrub_due(last: datetime | None, *, now: datetime) -> bool:
    """Return True if the last scrub was long enough ago; a time far in the future was written by a
    clock that went wrong."""
    return last is None or abs(now - last) >= NOT_BEFORE


@dataclass(frozen=True, slots=True)
class _Start:
    """The state of a user's history that a scrub begins with."""

    slices: Slices
    waiting: list[Stored]
    """Marked as missing, and to be looked for again tonight."""
    missed_twice: bool
    """Two looks did not show some."""
    above: int
    """Check-ins in the window."""
    stored: int
    late: bool


@dataclass(slots=True)
class _Scrub:
    """The state that a scrub carries from page to page."""

    session: Session
    reached: datetime | None
    reached_at: int
    check_stop: Callable[[], None]
    saved: Saved = field(default_factory=Saved)
    stretch: tuple[Span, set[str]] | None = None
    """The span that the slice's pages prove together so far, and the keys of all that they show."""
    unsure: Stored | None = None
    """The check-in that was looked for again, whether or not it had to be shown."""

    @property
    def user_id(self) -> int:
        return self.session.user.id

    @property
    def now(self) -> datetime:
        return self.session.now

    def run(self) -> None:
        """Look for what is missing, or read a slice if that is owed; then ask for what was missed
        twice. So a missing one costs one more request in the night in which it is asked for."""
        with self.session.services.reading() as conn:
            start = self._start(conn)
        slices = start.slices
        owed = slices.owed and self.reached is not None
        if start.waiting and not owed:  # another one each night, so that none waits for ever
            number = self.now.toordinal() % len(start.waiting)
            self._look_again(start.waiting[number], slices)
            with self.session.transaction() as conn:
                sync_state.set_scrubbed(conn, self.user_id, at=self.now)
        elif self.reached is not None:
            self._read_slice(start, self.reached)
        self.saved += confirm_missing(self.session, unsure=self.unsure, check_stop=self.check_stop)

    def _start(self, conn: Connection) -> _Start:
        slices = sync_state.slices(conn, self.user_id)
        at = self.now
        known = verified_spans.load(conn, self.user_id)
        return _Start(
            slices,
            waiting=self._waiting(conn),
            missed_twice=bool(deletions.missing_twice(conn, self.user_id, now=at)),
            above=self._above(conn, self.reached, slices.order) if self.reached else 0,
            stored=checkins.count(conn, self.user_id),
            late=any(abs(at - span.at) > LATE_AFTER for span in known),
        )

    def _waiting(self, conn: Connection) -> list[Stored]:
        """The rows to be looked for again; none where more is missing than any answer about it
        would be believed."""
        at = self.now
        once = deletions.missing_once(conn, self.user_id, before=at - AGAIN_AFTER, now=at)
        waiting = [row for row in once if is_due(row, now=at)]
        if not waiting:
            return []
        recent = deletions.recent(conn, self.user_id, since=at - LATELY, now=at)
        return [] if OWN_WORD.holds(recent) else waiting

    def _above(self, conn: Connection, at: datetime, order: Order | None) -> int:
        """Count the stored items above a place of the list: under the order that is known, or the
        one under which the place is higher up."""
        orders = [order] if order else list(Order)
        return min(deletions.count_above(conn, self.user_id, at, order=each) for each in orders)

    # --- the next slice ---------------------------------------------------------------------------

    def _read_slice(self, begin: _Start, reached: datetime) -> None:
        older = begin.stored - begin.above
        length = share(older) * (2 if begin.late else 1)
        if begin.missed_twice:  # what was moved may turn up the sooner
            length = max(length, PAGE - 2 * MARGIN)
        start = begin.slices.start
        if start is None or start > reached:
            start = reached
        self._read(start, begin.slices, length=length, moves=True)

    def _read(self, start: datetime, slices: Slices, *, length: int, moves: bool) -> None:
        """Page after page; `moves`: the next slice begins where this one ends."""
        with self.session.services.reading() as conn:
            above = self._above(conn, start, slices.order)
        shift = self.reached_at - above if start == self.reached else slices.shift
        reading = Slice(start, offset=above + shift, length=length)
        self.stretch = None
        aims = 1
        while (request := reading.request) is not None and self._may_ask():
            page = self.session.client.page(offset=request.offset, limit=request.limit)
            with self.session.transaction() as conn:
                span = self._take(conn, page, reading, known=slices.order)
                learnt = self._learn(conn, page, span, slices.order)
                if moves:
                    sync_state.set_slice(conn, self.user_id, start=reading.next_start, at=self.now)
            if reading.missed and learnt is not None and aims:
                aims -= 1
                reading.aim(above + learnt)
                log.info("slice_missed", extra={"user_id": self.user_id, "by": learnt - shift})

    def _learn(
        self, conn: Connection, page: Page, span: Span | None, known: Order | None
    ) -> int | None:
        """Store what a page shows of the list: its order, and by how many places it is longer here
        than what is stored (items in quarantine, and those that are counted but never shown, less
        deletions not noticed yet). Return that number; None: the page does not show it."""
        order = PageOrder.of(page.items, now=self.now).order
        shift = None
        if span is not None and span.oldest is not None:
            above = self._above(conn, span.oldest, known or order)
            shift = page.offset + first_at(page.items, span.oldest, now=self.now) - above
        if order is not None or shift is not None:
            sync_state.set_list_order(conn, self.user_id, order=order, shift=shift)
        return shift

    def _may_ask(self) -> bool:
        self.check_stop()
        left = self.session.client.remaining
        return left is None or left > RESERVE

    def _take(
        self, conn: Connection, page: Page, reading: Slice, *, known: Order | None
    ) -> Span | None:
        """One page, one transaction: its rows, what it does not show, what it verifies."""
        at = self.now
        span = Span.of(page.items, top=page.offset == 0, now=at, known=known)
        above = self.stretch[1] if self.stretch else ()
        self.saved += save_page(conn, self.user_id, page.items, now=at, span=span, known=above)
        deepest = span.oldest if span else None
        lower = deletions.below(conn, self.user_id, deepest, most=FEW + 1) if deepest else []
        reading.take(page, span, below=len(lower))
        if reading.taken and span is not None:
            self._note_stretch(conn, page, span, ended=reading.ended, now=at)
        if reading.compared is not None:
            add_verified(conn, self.user_id, VerifiedSpan(*reading.compared, at))
        log.info(
            "slice_read",
            extra={"user_id": self.user_id, "offset": page.offset, "items": len(page.items)},
        )
        return span

    def _note_stretch(
        self, conn: Connection, page: Page, span: Span, *, ended: bool, now: datetime
    ) -> None:
        """Mark what the slice's pages do not show together, and below the end of the list."""
        shown = {item.key for item in page.items}
        whole: Span | None = span
        if self.stretch is not None:
            above, keys = self.stretch
            whole, shown = above.joined(span), shown | keys
        if whole is None:
            self.stretch = None
            return
        if self.stretch is not None or ended:
            reaches = whole.to_the_end(complete=False) if ended else whole
            mark_unshown(conn, self.user_id, shown, reaches, now=now)
        self.stretch = whole, shown

    # --- what seems to be gone --------------------------------------------------------------------

    def _look_again(self, row: Stored, slices: Slices) -> None:
        """Read the place of this one again. If it is still not shown, Foursquare is asked about it,
        even where it need not have been shown, as below the end of a short page. A place that
        proves nothing changes nothing: the mark stays until the check-in is shown."""
        before = self.session.client.requests
        self._read(row.second + timedelta(seconds=1), slices, length=2 * LEAST, moves=False)
        if self.session.client.requests > before:
            self.unsure = row
