"""After the import: checks suspected deletions again, or re-reads the next slice of the history.

The first thing to be dropped when requests or time run short, and made up for later. It never
fails an import: the window is stored already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseError,
    RequestRefused,
    UserFailed,
)
from checkinsync.model.changes import Saved, Stored
from checkinsync.model.listing import PAGE, Page, PageRequest
from checkinsync.model.span import Span, VerifiedSpan, first_at
from checkinsync.store import slices
from checkinsync.store.checkins import Shown
from checkinsync.store.pool import Connection
from checkinsync.store.slices import Counted, Place, Read
from checkinsync.store.sync_state import Slices
from checkinsync.sync.confirm_deletions import Missing, confirm_missing, looked_for
from checkinsync.sync.coverage import covered
from checkinsync.sync.deletions import is_due_each_night
from checkinsync.sync.received import Received
from checkinsync.sync.save_page import as_shown, mark_unshown, save_page, shown_as
from checkinsync.sync.session import Session
from checkinsync.sync.slice import FEW, LEAST, MARGIN, Slice, share

NOT_BEFORE = timedelta(hours=20)
"""Between two scrubs of one user."""

LATE_AFTER = timedelta(days=25)
"""A stretch that was not compared for so long shows that slices were missed: two are read. So does
one that was compared so far in the future: a wrong clock dated it."""

END_KNOWN_FOR = timedelta(days=6.5)
"""After so long a slice that comes to the end of the list asks for what follows, unless the count
says that nothing does: once a week, as a user whose count is too high would cost a request more
each night."""

RESERVE = 30
"""Requests of the hour that a scrub leaves for others."""

UNEXPECTED = (RequestRefused, UserFailed, DatabaseError)
"""Reasons for dropping a scrub that an operator should see, though the import is not affected. Not
a database that is away: if it stays away, the run says so."""

log = logging.getLogger(__name__)


def is_scrub_due(last: datetime | None, *, now: datetime) -> bool:
    """Return True if the last scrub was long enough ago; a time far in the future was written by a
    clock that went wrong."""
    return last is None or abs(now - last) >= NOT_BEFORE


def begin(scrubs: Sequence[Scrub], *, least: int = 0) -> None:
    """Begin the next slice of each, of at least so many check-ins."""
    places = [place for each in scrubs for place in each.places()]
    with scrubs[0].session.services.reading() as conn:
        found = slices.counted(conn, places)
    for each, window, above in zip(scrubs, found[::2], found[1::2], strict=True):
        each.begin(window, above, least=least)


def store_unchanged(conn: Connection, scrubs: Sequence[Scrub]) -> None:
    """Store that their pages were read, which are stored as they are shown. If that fails, nothing
    of these scrubs can be used any more."""
    pages = [(each, each.received) for each in scrubs if each.received is not None]
    places = [place for each, page in pages for place in _ends(page, each.user_id)]
    found = slices.counted(conn, places)
    read = [
        each.take(conn, page, each.unchanged(page), around)
        for (each, page), around in zip(pages, found, strict=True)
    ]
    if read:
        slices.store(conn, read)


def _ends(received: Received, user_id: int) -> list[Place]:
    """Return where a page ends, if that can be told, for what is stored around it."""
    if received.span is None or received.span.oldest is None:
        return []
    short = len(received.page.items) < received.page.limit
    return [Place(user_id, received.span.oldest, below=FEW + 1 if short else 0)]


@dataclass(slots=True)
class Scrub:
    """A look at what is older than tonight's window, from page to page."""

    session: Session
    slices: Slices
    spans: tuple[VerifiedSpan, ...]
    """What has been compared so far, with the window."""
    reached: datetime | None
    """Down to where tonight's window has been compared; None: there is nothing older."""
    reached_at: int
    """The place in the list where that is."""
    before: Saved
    """What the walk has stored, for the job's totals."""
    check_stop: Callable[[], None]
    saved: Saved = field(default_factory=Saved)
    reading: Slice | None = None
    received: Received | None = None
    """The page that is to be stored next, if it is there already."""
    over: int = 0
    """Check-ins stored above the place where the reading begins."""
    may_aim: bool = True
    """A page that misses the place may be asked for again."""
    moves: bool = True
    """It is the next slice: another one begins where this one ends."""
    stretch: tuple[Span, set[str]] | None = None
    """The span that the slice's pages prove together so far, and the keys of all that they show."""
    unsure: Stored | None = None
    """The check-in that was looked for again, whether or not it had to be shown."""
    dropped: bool = False
    """Something came in the way, and nothing more is asked for."""

    @property
    def user_id(self) -> int:
        return self.session.user.id

    @property
    def now(self) -> datetime:
        return self.session.now

    @property
    def is_done(self) -> bool:
        """True if nothing is left to be asked for."""
        read = self.reading is not None and self.reading.request is None
        return self.dropped or (read and not self.session.state.missing)

    @property
    def reads_slice(self) -> bool:
        """True if the next slice is all there is to do."""
        return self.reached is not None and not self.session.state.missing

    @property
    def asks(self) -> bool:
        """True if another page of the slice is to be asked for."""
        asked = self.reading is not None and self.reading.request is not None
        return asked and self.received is None

    def ask(self) -> Shown | None:
        """Receive the next page of the slice. Return it, to be stored with others' if it is stored
        as it is shown; None: that is for `run`."""
        with self._dropped_on_error():
            if self.reading is not None and self.reading.request is not None and self._may_ask():
                self.received = self._receive(self.reading.request)
                page, span = self.received.page, self.received.span
                return shown_as(self.user_id, page.items, span, now=self.received.at)
        return None

    def run(self) -> None:
        """Look for what is missing, or read a slice if that is owed; then ask for what was missed
        twice. So a missing one costs one more request in the night in which it is asked for.

        Raises nothing of ours: what comes in the way ends the scrub, and is logged.
        """
        with self._dropped_on_error():
            if self.session.state.missing:
                self._run(looked_for(self.session))
                self.saved += confirm_missing(
                    self.session,
                    order=self.slices.order,
                    unsure=self.unsure,
                    check_stop=self.check_stop,
                )
            elif not self.dropped:
                self._run(Missing())

    @contextmanager
    def _dropped_on_error(self) -> Iterator[None]:
        try:
            yield
        except CheckinsyncError as reason:
            self.dropped = True
            odd = isinstance(reason, UNEXPECTED) and not isinstance(reason, DatabaseAway)
            level = logging.WARNING if odd else logging.INFO
            log.log(level, "slice_dropped", extra={"user_id": self.user_id, "reason": str(reason)})

    def _run(self, marked: Missing) -> None:
        owed = self.slices.owed and self.reached is not None
        if marked.waiting and not owed:  # another one each night, so that none waits for ever
            number = self.now.toordinal() % len(marked.waiting)
            self._look_again(marked.waiting[number])
            self.slices = replace(self.slices, sliced_at=self.now, owed=True)
            with self.session.transaction() as conn:
                slices.store(conn, [self._state(self.spans)])
        elif self.reached is not None:
            if self.reading is None:  # what was moved may turn up the sooner
                begin([self], least=PAGE - 2 * MARGIN if marked.missed_twice else 0)
            self._read()

    # --- the next slice ---------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """Return where the older history begins, and where its next slice does."""
        assert self.reached is not None
        return [
            Place(self.user_id, self.reached, whole=True),
            Place(self.user_id, self._start(self.reached)),
        ]

    def _start(self, reached: datetime) -> datetime:
        start = self.slices.start
        return reached if start is None or start > reached else start

    def begin(self, window: Counted, above: Counted, *, least: int = 0) -> None:
        """Begin the next slice, given what is stored around these places."""
        assert self.reached is not None
        late = any(abs(self.now - span.at) > LATE_AFTER for span in self.spans)
        older = window.stored - window.above(self.slices.order)
        length = max(share(older) * (2 if late else 1), least)
        self._begin(self._start(self.reached), above, length=length)

    def _begin(self, start: datetime, above: Counted, *, length: int) -> None:
        """Read `length` check-ins from there on, of a list that is longer than what is stored by as
        much as it was seen to be."""
        self.over = above.above(self.slices.order)
        shift = self.reached_at - self.over if start == self.reached else self.slices.shift
        known = not self.moves or self._end_is_known()
        self.reading = Slice(start, offset=self.over + shift, length=length, end_is_known=known)

    def _end_is_known(self) -> bool:
        """Return True if it was seen lately where the list ends."""
        if not self.spans or self.spans[-1].oldest is not None:
            return False
        return abs(self.now - self.spans[-1].at) < END_KNOWN_FOR

    def _read(self) -> Page | None:
        """Page after page. Return the page with which the list seems to end."""
        reading, page = self.reading, None
        assert reading is not None
        while self.received is not None or (reading.request is not None and self._may_ask()):
            assert reading.request is not None
            received = self.received or self._receive(reading.request)
            self._store(received)
            page = received.page
        return page if reading.ended else None

    def _receive(self, request: PageRequest) -> Received:
        page = self.session.client.page(offset=request.offset, limit=request.limit)
        return Received.of(page, known=self.slices.order, now=self.now)

    def _may_ask(self) -> bool:
        self.check_stop()
        left = self.session.client.remaining
        return left is None or left > RESERVE

    def _store(self, received: Received) -> None:
        """One page, one transaction: its rows, what it does not show, what it verifies. The job
        ends with the last one, if nothing else is to be done."""
        with self.session.transaction() as conn:
            saved = self._save(conn, received)
            around = slices.counted(conn, _ends(received, self.user_id))
            slices.store(conn, [self.take(conn, received, saved, *around)])

    def _save(self, conn: Connection, received: Received) -> Saved:
        items, span, at = received.page.items, received.span, received.at
        saved = as_shown(conn, self.user_id, items, span, now=at, known=self._known)
        if saved is not None:
            return saved
        return save_page(conn, self.user_id, items, now=at, span=span, known=self._known)

    def unchanged(self, received: Received) -> Saved:
        """Return what became of a page that is stored as it is shown."""
        return Saved(unchanged=sum(item.key not in self._known for item in received.page.items))

    @property
    def _known(self) -> Collection[str]:
        return self.stretch[1] if self.stretch else ()

    def take(
        self,
        conn: Connection,
        received: Received,
        saved: Saved,
        around: Counted | None = None,
    ) -> Read:
        """Take the page in, mark what it does not show, and return what is to be stored with it.
        `around`: where it ends."""
        reading, self.received = self.reading, None
        assert reading is not None
        page, span, at = received.page, received.span, received.at
        self.saved += saved
        reading.take(page, span, below=around.below if around else 0)
        if reading.taken and span is not None:
            self._note_stretch(conn, page, span, ended=reading.ended, now=at)
        before = self.spans
        if reading.compared is not None:
            self.spans = tuple(covered(before, VerifiedSpan(*reading.compared, at)))
        self._learn(received, reading, around)
        if self.moves:
            self.slices = replace(self.slices, start=reading.next_start, sliced_at=at, owed=False)
        log.info(
            "slice_read",
            extra={"user_id": self.user_id, "offset": page.offset, "items": len(page.items)},
        )
        ends = reading.request is None and not self.session.state.missing
        self.session.gives_back = ends
        return self._state(before, ends=ends)

    def _learn(self, received: Received, reading: Slice, around: Counted | None) -> None:
        """Note the list's order, and by how many places it is longer here than what is stored
        (items in quarantine, and those that are counted but never shown, less deletions not noticed
        yet), if the page shows it. If it missed the place, ask for that again, once."""
        known, shown = self.slices.order, received.order
        self.slices = replace(self.slices, order=shown or known)
        if around is None:
            return
        [place] = _ends(received, self.user_id)
        page = received.page
        at = page.offset + first_at(page.items, place.at, now=received.at)
        shift = at - around.above(known or shown)
        self.slices = replace(self.slices, shift=shift)
        if reading.missed and self.may_aim:
            self.may_aim = False
            by = self.over + shift - reading.offset
            reading.aim(self.over + shift)
            log.info("slice_missed", extra={"user_id": self.user_id, "by": by})

    def _state(self, before: tuple[VerifiedSpan, ...], *, ends: bool = False) -> Read:
        """Return what is to be stored. `ends`: nothing else is to be done."""
        return Read(
            self.session.lease,
            self.session.job,
            self.slices,
            before,
            self.spans,
            self.before + self.saved,
            self.session.client.requests,
            ends,
        )

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
        requests = self.session.client.requests
        start = row.second + timedelta(seconds=1)
        with self.session.services.reading() as conn:
            [above] = slices.counted(conn, [Place(self.user_id, start)])
        self.moves = False
        self._begin(start, above, length=2 * LEAST)
        end = self._read()
        if end is not None and not is_due_each_night(row, now=self.now):
            self._look_below(end)
        if self.session.client.requests > requests:
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
                    before = self.spans
                    compared = VerifiedSpan(span.oldest, None, self.now)
                    self.spans = tuple(covered(before, compared))
                    slices.store(conn, [self._state(before)])
