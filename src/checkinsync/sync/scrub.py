"""Besides the window: what seems to be gone is looked for again, or else the next slice is read.

The first thing to be dropped when requests or time run short, and caught up with later. It never
fails an import: the window is stored already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from checkinsync.errors import (
    CheckinsyncError,
    FoursquareAway,
    RateLimited,
    RequestRefused,
    TokenRejected,
    UserFailed,
    UserRemoved,
)
from checkinsync.foursquare.client import UserClient
from checkinsync.model.changes import Saved, Stored
from checkinsync.model.checkin import Checkin, Item
from checkinsync.model.listing import PAGE, Page
from checkinsync.model.span import Order, PageOrder, Span, VerifiedSpan, first_at
from checkinsync.store import checkins, deletions, leases, sync_state, users, verified_spans
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.store.sync_state import Slices
from checkinsync.sync.confirm_deletions import ASKED, UNANSWERED, _has_no_endpoint
from checkinsync.sync.coverage import note_verified
from checkinsync.sync.deletions import AGAIN_AFTER
from checkinsync.sync.save_page import note_unshown, save_page
from checkinsync.sync.slice import FEW, LEAST, MARGIN, Slice, share

NOT_BEFORE = timedelta(hours=20)
"""Between two looks back of one user."""

LATE_AFTER = timedelta(days=25)
"""A stretch that was not compared for so long shows that slices were missed: two are read."""

RESERVE = 30
"""Requests of the hour that a look back leaves for others."""


UNFORESEEN = (RequestRefused, UserFailed, psycopg.Error)
"""What an operator should hear of, though it spoils nothing."""

log = logging.getLogger(__name__)


def scrub(
    user_id: int,
    *,
    pool: Pool,
    lease: Lease,
    client: UserClient,
    reached: datetime | None,
    reached_at: int,
    now: Callable[[], datetime],
    check_stop: Callable[[], None],
) -> Saved:
    """Read again what is older than `reached`, down to which tonight's window has been compared;
    None: there is nothing older. `reached_at`: the place in the list where that was.
    """
    looking = _Scrub(
        user_id,
        pool=pool,
        lease=lease,
        client=client,
        reached=reached,
        reached_at=reached_at,
        now=now,
        check_stop=check_stop,
    )
    looking.back()
    return looking.saved


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a look back begins with."""

    slices: Slices
    waiting: list[Stored]
    """Marked as missing, and to be looked for again."""
    twice: list[Stored]
    """Looked for twice in vain."""
    above: int
    """Check-ins in the window."""
    stored: int
    late: bool


class _Scrub:
    def __init__(
        self,
        user_id: int,
        *,
        pool: Pool,
        lease: Lease,
        client: UserClient,
        reached: datetime | None,
        reached_at: int,
        now: Callable[[], datetime],
        check_stop: Callable[[], None],
    ) -> None:
        self.user_id = user_id
        self.pool = pool
        self.lease = lease
        self.client = client
        self.reached = reached
        self.reached_at = reached_at
        self.now = now
        self.check_stop = check_stop
        self.saved = Saved()
        self.stretch: tuple[Span, set[str]] | None = None
        """What the slice's pages prove together so far, and the keys of all that they show."""
        self.unsure: Stored | None = None
        """One that a second look did not show, though it need not have."""

    def back(self) -> None:
        """As far as nothing comes between. Whatever does is none of the import's business, whose
        window is stored: the next request, or the next import, will tell."""
        try:
            self._back()
        except (CheckinsyncError, psycopg.Error) as reason:
            self._log_dropped(reason)

    def _log_dropped(self, reason: CheckinsyncError | psycopg.Error) -> None:
        level = logging.WARNING if isinstance(reason, UNFORESEEN) else logging.INFO
        told = str(reason) if isinstance(reason, CheckinsyncError) else type(reason).__name__
        log.log(level, "slice_dropped", extra={"user_id": self.user_id, "reason": told})

    def _back(self) -> None:
        """Look for what is missing, or read a slice if that is owed; then ask for what was missed
        twice. So a missing one costs one more request in the night in which it is asked for."""
        with transaction(self.pool) as conn:
            standing = self._standing(conn)
        slices = standing.slices
        at = self.now()
        if slices.sliced_at is not None and timedelta() <= at - slices.sliced_at < NOT_BEFORE:
            return  # a time in the future was written by a clock that went wrong
        owed = slices.owed and self.reached is not None
        if standing.waiting and not owed:  # another each night, lest one keeps the others waiting
            number = at.toordinal() % len(standing.waiting)
            self._look_again(standing.waiting[number], slices)
            with transaction(self.pool) as conn:
                leases.ensure_held(conn, self.lease)
                sync_state.note_looked(conn, self.user_id, at=self.now())
        elif self.reached is not None:
            self._read_slice(standing, self.reached)
        self._ask_for_missing()

    def _standing(self, conn: Connection) -> _Standing:
        slices = sync_state.slices(conn, self.user_id)
        at = self.now()
        known = verified_spans.load(conn, self.user_id)
        return _Standing(
            slices,
            waiting=deletions.missing_before(conn, self.user_id, at - AGAIN_AFTER),
            twice=deletions.missing_twice(conn, self.user_id, most=ASKED),
            above=self._above(conn, self.reached, slices.order) if self.reached else 0,
            stored=checkins.count(conn, self.user_id),
            late=any(at - span.at > LATE_AFTER for span in known),
        )

    def _above(self, conn: Connection, at: datetime, order: Order | None) -> int:
        """How many items stand above a place of the list, by what is stored: under the order that
        is known, or the one under which the place is higher up."""
        orders = [order] if order else list(Order)
        return min(deletions.count_above(conn, self.user_id, at, order=each) for each in orders)

    # --- the next slice ---------------------------------------------------------------------------

    def _read_slice(self, standing: _Standing, reached: datetime) -> None:
        older = standing.stored - standing.above
        length = share(older) * (2 if standing.late else 1)
        if standing.twice:  # what was moved may turn up the sooner
            length = max(length, PAGE - 2 * MARGIN)
        start = standing.slices.start
        if start is None or start > reached:
            start = reached
        self._read(start, standing.slices, length=length, moves=True)

    def _read(self, start: datetime, slices: Slices, *, length: int, moves: bool) -> Slice:
        """Page after page; `moves`: the next slice begins where this one ends."""
        with transaction(self.pool) as conn:
            above = self._above(conn, start, slices.order)
        shift = self.reached_at - above if start == self.reached else slices.shift
        reading = Slice(start, offset=above + shift, length=length)
        self.stretch = None
        aims = 1
        while (ask := reading.ask) is not None and self._may_ask():
            page = self.client.page(offset=ask.offset, limit=ask.limit)
            with transaction(self.pool) as conn:
                span = self._take(conn, page, reading, known=slices.order)
                learnt = self._learn(conn, page, span, slices.order)
                if moves:
                    sync_state.note_slice(
                        conn, self.user_id, start=reading.next_start, at=self.now()
                    )
            if reading.missed and learnt is not None and aims:
                aims -= 1
                reading.aim(above + learnt)
                log.info("slice_missed", extra={"user_id": self.user_id, "by": learnt - shift})
        return reading

    def _learn(
        self, conn: Connection, page: Page, span: Span | None, known: Order | None
    ) -> int | None:
        """What a page tells of the list: its order, and how many places it is longer here than what
        is stored: items in quarantine, and those that count and can't be fetched, less what has
        gone unnoticed. None: it tells nothing."""
        order = PageOrder.of(page.items, now=self.now()).order
        shift = None
        if span is not None and span.oldest is not None:
            above = self._above(conn, span.oldest, known or order)
            shift = page.offset + first_at(page.items, span.oldest, now=self.now()) - above
        if order is not None or shift is not None:
            sync_state.note_list(conn, self.user_id, order=order, shift=shift)
        return shift

    def _may_ask(self) -> bool:
        self.check_stop()
        left = self.client.remaining
        return left is None or left > RESERVE

    def _take(
        self, conn: Connection, page: Page, reading: Slice, *, known: Order | None
    ) -> Span | None:
        """One page, one transaction: its rows, what it does not show, what it verifies."""
        leases.ensure_held(conn, self.lease)
        if not users.stays(conn, self.user_id):
            raise UserRemoved("the user was removed from the database meanwhile")
        at = self.now()
        span = Span.of(page.items, top=page.offset == 0, now=at, known=known)
        self.saved += save_page(conn, self.user_id, page.items, now=at, span=span)
        deepest = span.oldest if span else None
        lower = deletions.below(conn, self.user_id, deepest, most=FEW + 1) if deepest else []
        reading.see(page, span, below=len(lower))
        if reading.taken and span is not None:
            self._note_stretch(conn, page, span, ended=reading.ended, now=at)
        if reading.compared is not None:
            note_verified(conn, self.user_id, VerifiedSpan(*reading.compared, at))
        log.info(
            "slice_read",
            extra={"user_id": self.user_id, "offset": page.offset, "items": len(page.items)},
        )
        return span

    def _note_stretch(
        self, conn: Connection, page: Page, span: Span, *, ended: bool, now: datetime
    ) -> None:
        """What the slice's pages do not show together, and below the end of the list."""
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
            note_unshown(conn, self.user_id, shown, reaches, now=now)
        self.stretch = whole, shown

    # --- what seems to be gone --------------------------------------------------------------------

    def _look_again(self, row: Stored, slices: Slices) -> None:
        """Read the place of this one again. What is not shown and need not have been (the end of a
        short page) is left to Foursquare's own word; a place that proves nothing takes the mark."""
        start = row.second + timedelta(seconds=1)
        reading = self._read(start, slices, length=2 * LEAST, moves=False)
        if reading.newest is not None:
            self.unsure = row
        elif reading.proves_nothing:
            with transaction(self.pool) as conn:
                leases.ensure_held(conn, self.lease)
                deletions.clear(conn, [row.row])

    def _ask_for_missing(self) -> None:
        """Foursquare's own word on each that was missed twice; one that nothing is said about
        stays marked, and is asked for again."""
        with transaction(self.pool) as conn:
            asked = [(row, True) for row in deletions.missing_twice(conn, self.user_id, most=ASKED)]
            waiting = deletions.missing_before(conn, self.user_id, self.now() - AGAIN_AFTER)
        asked += [(row, False) for row in waiting if self.unsure and row.row == self.unsure.row]
        unanswered = 0
        for row, sure in asked:
            try:
                self._ask_for(row, sure=sure)
            except (FoursquareAway, RateLimited, RequestRefused, TokenRejected) as reason:
                log.info("nothing_said", extra={"user_id": self.user_id, "reason": str(reason)})
                unanswered += 1
            if unanswered == UNANSWERED:
                return

    def _ask_for(self, row: Stored, *, sure: bool) -> None:
        """Foursquare's own word on one check-in; `sure`: it was missed twice in stretches that had
        to show it. Where there is no such endpoint, it is gone once it was met nowhere else."""
        assert row.foursquare_id is not None
        self.check_stop()
        item: Item | None = None
        try:
            item = self.client.checkin(row.foursquare_id)
            gone = item is None
        except (RequestRefused, TokenRejected) as refusal:
            gone = sure and _has_no_endpoint(refusal) and self._was_met_nowhere(row)
            if sure and not gone:
                raise
        with transaction(self.pool) as conn:
            leases.ensure_held(conn, self.lease)
            self._settle(conn, row, item, gone=gone)

    def _was_met_nowhere(self, row: Stored) -> bool:
        """Whether all the history was compared since it was missed first, or the list goes by what
        never changes: its time may have been moved to anywhere, and the list with it."""
        assert row.missing_since is not None
        with transaction(self.pool) as conn:
            if sync_state.slices(conn, self.user_id).order is Order.ENTERED:
                return True
            known = verified_spans.load(conn, self.user_id)
        return all(span.at > row.missing_since for span in known)

    def _settle(self, conn: Connection, row: Stored, item: Item | None, *, gone: bool) -> None:
        if gone:
            self.saved += Saved(gone=deletions.mark_deleted(conn, [row.row], at=self.now()))
            log.info("checkin_gone", extra={"user_id": self.user_id, "id": row.foursquare_id})
            return
        deletions.clear(conn, [row.row])
        if isinstance(item, Checkin) and item.id == row.foursquare_id:
            self.saved += save_page(conn, self.user_id, [item], now=self.now())
