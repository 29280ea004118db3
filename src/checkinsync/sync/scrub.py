"""After the import: checks suspected deletions again, or re-reads the next slice of the history.

The first thing to be dropped when requests or time run short, and made up for later. It never
fails an import: the window is stored already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

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
from checkinsync.store import checkins, deletions, jobs, sync_state, verified_spans
from checkinsync.store.deletions import Above
from checkinsync.store.pool import Connection
from checkinsync.store.sync_state import Slices
from checkinsync.sync.confirm_deletions import confirm_missing
from checkinsync.sync.coverage import covered
from checkinsync.sync.deletions import AGAIN_AFTER, LATELY, OWN_WORD, is_due, is_due_each_night
from checkinsync.sync.save_page import as_shown, mark_unshown, save_page
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
    before: Saved,
    check_stop: Callable[[], None],
) -> Saved:
    """Read again what is older than `reached`, down to which tonight's window has been compared;
    None: there is nothing older. `reached_at`: the place in the list where that was; `before`: what
    the walk has stored, for the job's totals.

    Raises nothing of ours: what comes in the way ends the scrub, and is logged.
    """
    work = _Scrub(session, reached, reached_at, before, check_stop)
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
class _Marked:
    """The check-ins that were not shown where they had to be."""

    waiting: list[Stored]
    """To be looked for again tonight."""
    missed_twice: bool
    """Two looks did not show some."""


NOTHING = _Marked([], missed_twice=False)


@dataclass(slots=True)
class _Scrub:
    """The state that a scrub carries from page to page."""

    session: Session
    reached: datetime | None
    reached_at: int
    before: Saved
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

    @property
    def slices(self) -> Slices:
        return self.session.state.slices

    def run(self) -> None:
        """Look for what is missing, or read a slice if that is owed; then ask for what was missed
        twice. So a missing one costs one more request in the night in which it is asked for."""
        marked = self._marked() if self.session.state.missing else NOTHING
        owed = self.slices.owed and self.reached is not None
        if marked.waiting and not owed:  # another one each night, so that none waits for ever
            number = self.now.toordinal() % len(marked.waiting)
            self._look_again(marked.waiting[number])
            with self.session.transaction() as conn:
                self._note(conn, sliced_at=self.now, owed=True)
        elif self.reached is not None:
            self._read_slice(self.reached, missed_twice=marked.missed_twice)
        if self.session.state.missing:
            self.saved += confirm_missing(
                self.session, unsure=self.unsure, check_stop=self.check_stop
            )

    def _marked(self) -> _Marked:
        """Return the rows to be looked for again; none where more is missing than any answer about
        it would be believed."""
        at = self.now
        with self.session.services.reading() as conn:
            missed_twice = bool(deletions.missing_twice(conn, self.user_id, now=at))
            once = deletions.missing_once(conn, self.user_id, before=at - AGAIN_AFTER, now=at)
            waiting = [row for row in once if is_due(row, now=at)]
            if waiting:
                recent = deletions.recent(conn, self.user_id, since=at - LATELY, now=at)
                waiting = [] if OWN_WORD.holds(recent) else waiting
        return _Marked(waiting, missed_twice)

    def _note(self, conn: Connection, **changes: Any) -> None:
        """Store how far the slices have come, and what was seen of the list."""
        slices = replace(self.slices, **changes)
        if slices != self.slices:
            sync_state.set_slices(conn, self.user_id, slices)
            self.session.state = replace(self.session.state, slices=slices)

    # --- the next slice ---------------------------------------------------------------------------

    def _read_slice(self, reached: datetime, *, missed_twice: bool) -> None:
        start = self.slices.start
        if start is None or start > reached:
            start = reached
        with self.session.services.reading() as conn:
            stored = checkins.count(conn, self.user_id)
            window, above = deletions.above(conn, self.user_id, [reached, start])
        late = any(abs(self.now - span.at) > LATE_AFTER for span in self.session.state.spans)
        length = share(stored - window.under(self.slices.order)) * (2 if late else 1)
        if missed_twice:  # what was moved may turn up the sooner
            length = max(length, PAGE - 2 * MARGIN)
        self._read(start, above, length=length, moves=True)

    def _read(self, start: datetime, above: Above, *, length: int, moves: bool) -> Page | None:
        """Page after page; `moves`: the next slice begins where this one ends. Return the page with
        which the list seems to end."""
        over = above.under(self.slices.order)
        shift = self.reached_at - over if start == self.reached else self.slices.shift
        reading = Slice(start, offset=over + shift, length=length)
        self.stretch = page = None
        aims = 1
        while (request := reading.request) is not None and self._may_ask():
            page = self.session.client.page(offset=request.offset, limit=request.limit)
            with self.session.transaction() as conn:
                learnt = self._take(conn, page, reading, moves=moves)
                again = reading.missed and learnt is not None and aims > 0
                if reading.request is None and not again and not self.session.state.missing:
                    self._end(conn)
            if again and learnt is not None:
                aims -= 1
                reading.aim(over + learnt)
                log.info("slice_missed", extra={"user_id": self.user_id, "by": learnt - shift})
        return page if reading.ended else None

    def _end(self, conn: Connection) -> None:
        """End the job with the last page: nothing else is to be done."""
        totals = self.before + self.saved
        jobs.set_totals(conn, self.session.job, totals, requests=self.session.client.requests)
        self.session.release(conn)

    def _may_ask(self) -> bool:
        self.check_stop()
        left = self.session.client.remaining
        return left is None or left > RESERVE

    def _take(self, conn: Connection, page: Page, reading: Slice, *, moves: bool) -> int | None:
        """One page, one transaction: its rows, what it does not show, what it verifies. Return what
        it shows of the list, see `_learn`."""
        at, known = self.now, self.slices.order
        listed = PageOrder.of(page.items, now=at)
        span = listed.span(top=page.offset == 0, known=known)
        self._save(conn, page, span, now=at)
        lower = 0
        if span is not None and span.oldest is not None and len(page.items) < page.limit:
            lower = deletions.below(conn, self.user_id, span.oldest, most=FEW + 1)
        reading.take(page, span, below=lower)
        if reading.taken and span is not None:
            self._note_stretch(conn, page, span, ended=reading.ended, now=at)
        if reading.compared is not None:
            self._verify(conn, VerifiedSpan(*reading.compared, at))
        log.info(
            "slice_read",
            extra={"user_id": self.user_id, "offset": page.offset, "items": len(page.items)},
        )
        learnt = self._learn(conn, page, span, known or listed.order)
        self._note(
            conn,
            order=listed.order or known,
            shift=self.slices.shift if learnt is None else learnt,
            **({"start": reading.next_start, "sliced_at": at, "owed": False} if moves else {}),
        )
        return learnt

    def _save(self, conn: Connection, page: Page, span: Span | None, *, now: datetime) -> None:
        known = self.stretch[1] if self.stretch else ()
        saved = as_shown(conn, self.user_id, page.items, span, now=now, known=known)
        if saved is None:
            saved = save_page(conn, self.user_id, page.items, now=now, span=span, known=known)
        self.saved += saved

    def _learn(
        self, conn: Connection, page: Page, span: Span | None, order: Order | None
    ) -> int | None:
        """Return by how many places the list is longer here than what is stored (items in
        quarantine, and those that are counted but never shown, less deletions not noticed yet).
        None: the page does not show it."""
        if span is None or span.oldest is None:
            return None
        [above] = deletions.above(conn, self.user_id, [span.oldest])
        return page.offset + first_at(page.items, span.oldest, now=self.now) - above.under(order)

    def _verify(self, conn: Connection, compared: VerifiedSpan) -> None:
        spans = covered(self.session.state.spans, compared)
        verified_spans.keep(conn, self.user_id, spans)
        self.session.state = replace(self.session.state, spans=tuple(spans))

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

    def _look_again(self, row: Stored) -> None:
        """Read the place of this one again. If it is still not shown, Foursquare is asked about it,
        even where it need not have been shown, as below the end of a short page. A place that
        proves nothing changes nothing: the mark stays until the check-in is shown."""
        before = self.session.client.requests
        start = row.second + timedelta(seconds=1)
        with self.session.services.reading() as conn:
            [above] = deletions.above(conn, self.user_id, [start])
        end = self._read(start, above, length=2 * LEAST, moves=False)
        if end is not None and not is_due_each_night(row, now=self.now):
            self._look_below(end)
        if self.session.client.requests > before:
            self.unsure = row

    def _look_below(self, end: Page) -> None:
        """Ask for what follows the end of the list: an empty page proves that what is stored below
        is not shown. Only if Foursquare has said nothing about it for a week."""
        if self.stretch is None or not self._may_ask():
            return
        place = end.offset + len(end.items)
        if not self.session.client.page(offset=place, limit=LEAST).items:
            span, shown = self.stretch
            with self.session.transaction() as conn:
                whole = span.to_the_end(complete=True)
                mark_unshown(conn, self.user_id, shown, whole, now=self.now)
                if span.oldest is not None:
                    self._verify(conn, VerifiedSpan(span.oldest, None, self.now))
