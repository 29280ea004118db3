"""One user brought up to date, page by page: each page and its progress in one transaction.

HTTP happens outside transactions and holds no connection. Nothing here sleeps, retries or decides
what a failure means for others; that is `nightly.run`.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import FoursquareAway, RateLimited, sentence
from checkinsync.foursquare import parse
from checkinsync.model.changes import Saved
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Checkpoint, Page
from checkinsync.model.span import Order, PageOrder, Span, VerifiedSpan
from checkinsync.model.user import User
from checkinsync.store import checkins, jobs, quarantine, sync_state, users
from checkinsync.store.pool import Connection
from checkinsync.sync.coverage import WalkCoverage, add_verified
from checkinsync.sync.outcome import Imported
from checkinsync.sync.save_page import save_page
from checkinsync.sync.scope import Nightly, Scope, Since, begin
from checkinsync.sync.scrub import scrub
from checkinsync.sync.session import Hooks, Services, Session
from checkinsync.sync.walk import Walk

LARGEST = 2**31 - 1
"""The largest number that the progress columns hold; `count` may be anything."""

NO_HOOKS = Hooks()

log = logging.getLogger(__name__)


def import_user(
    user: User,
    *,
    services: Services,
    scope: Scope,
    hooks: Hooks = NO_HOOKS,
    run_id: int | None = None,
) -> Imported:
    """Walk the user's list as far as `scope` says and store what it shows.

    `run_id`: the nightly run that this import belongs to; None: an operator's.
    Raises NoToken, TokenUnreadable, TokenRejected, AtWork, LeaseLost, RateLimited, QuotaExceeded,
    FoursquareAway, RequestRefused, DatabaseError, UserRemoved, UserFailed, and what
    `hooks.check_stop` raises; what was committed stays.
    """
    started = services.now()
    with services.session(user, defer_retry=run_id is not None) as session:
        with session.transaction() as conn:
            jobs.close_leftovers(conn, user.id)
            job = jobs.start(conn, session.lease, expected=None)
        return _Import(session, scope, hooks, run_id, job, started).run()


@dataclass(slots=True)
class _Import:
    """The state that an import carries from page to page."""

    session: Session
    scope: Scope
    hooks: Hooks
    run_id: int | None
    job: int
    started: datetime
    first_attempt: datetime = field(init=False)
    """The start of the walk, which this import may be resuming."""
    walk: Walk = field(init=False)
    scrubs: bool = False
    coverage: WalkCoverage = field(default_factory=WalkCoverage)
    order: Order | None = None
    pages: int = 0
    saved: Saved = field(default_factory=Saved)
    expected: int | None = None
    stored_checkpoint: Checkpoint | None = None

    @property
    def user_id(self) -> int:
        return self.session.user.id

    @property
    def requests(self) -> int:
        return self.session.client.requests

    def run(self) -> Imported:
        """Page after page; an early end is stored with its reason, and the lease given back."""
        finished = False
        self._log("import_started", scope=type(self.scope).__name__.lower())
        try:
            self._prepare()
            while (request := self.walk.request) is not None:
                self.hooks.check_stop()
                page = self.session.client.page(offset=request.offset, limit=request.limit)
                self._take(page)
            if self.walk.problem is not None:
                raise self.walk.problem
            finished = True
        finally:
            if not finished:
                self._end_early(sys.exception())
        if self.scrubs:
            self._scrub()
        return self._imported()

    def _prepare(self) -> None:
        """Plan the walk, and try again what is in quarantine: this version may understand it."""
        with self.session.transaction() as conn:
            self.walk = self._plan(conn)
            waiting = [parse.checkin(item) for _, item in quarantine.items(conn, self.user_id)]
            readable = [item for item in waiting if isinstance(item, Checkin)]
            if readable:
                self.saved += save_page(conn, self.user_id, readable, now=self.session.now)

    def _plan(self, conn: Connection) -> Walk:
        known = sync_state.load(conn, self.user_id)
        window, checkpoint = begin(
            self.scope, cursor=known.cursor, checkpoint=known.checkpoint, now=self.started
        )
        self.first_attempt = self.started if checkpoint is None else checkpoint.started_at
        self.stored_checkpoint = checkpoint
        self.expected = checkins.expected_in(conn, self.user_id, window)
        return Walk(window, now=self.started, expected=self.expected, checkpoint=checkpoint)

    def _take(self, page: Page) -> None:
        """One page, one transaction: its rows, the job's progress, the checkpoint or the end."""
        with self.session.transaction() as conn:
            at = self.session.now
            span = Span.of(page.items, top=page.offset == 0, now=at)
            known = self.walk.known
            saved = save_page(conn, self.user_id, page.items, now=at, span=span, known=known)
            self.coverage.take(page, span)
            self._store_order(conn, page, now=at)
            self.walk.take(page, new=saved.new, stored=self._stored(conn, page, saved))
            if self.walk.ended:
                self.coverage.note_end(conn, self.user_id, now=at)
            self.pages += 1
            self.saved += saved
            progress = self._progress(page)
            jobs.set_progress(conn, self.job, progress)
            self._store_state(conn, saved)
        self._log("page_stored", page=self.pages, new=saved.new, changed=saved.changed)
        self.hooks.on_page(progress)

    def _store_order(self, conn: Connection, page: Page, *, now: datetime) -> None:
        """Store by what the list is ordered, where a page tells it: slices rely on it."""
        order = PageOrder.of(page.items, now=now).order
        if order is not None and order is not self.order:
            sync_state.set_list_order(conn, self.user_id, order=order, shift=None)
            self.order = order

    def _stored(self, conn: Connection, page: Page, saved: Saved) -> int | None:
        """Count the stored check-ins where the end of the list may be near, else return None.

        Where rows of the application are being taken over, the count is just what was seen, and
        says nothing about the end.
        """
        if saved.new or saved.changed or (page.offset and len(page.items) == page.limit):
            return None
        return checkins.count(conn, self.user_id)

    def _store_state(self, conn: Connection, saved: Saved) -> None:
        """Store how far the walk has come, or that it has finished."""
        if saved.new:
            sync_state.set_last_new(conn, self.user_id, at=self.session.now)
        if self.walk.request is None and self.walk.problem is None:
            self._finish(conn)
        elif not isinstance(self.scope, Since):
            checkpoint = self.walk.checkpoint(started_at=self.first_attempt)
            if checkpoint != self.stored_checkpoint:
                sync_state.set_checkpoint(conn, self.user_id, checkpoint)
                self.stored_checkpoint = checkpoint

    def _finish(self, conn: Connection) -> None:
        if isinstance(self.scope, Since):
            sync_state.record_answered(conn, self.user_id)
        else:
            sync_state.record_finished(
                conn,
                self.user_id,
                cursor=self.first_attempt,
                token_in=self.session.client.token_way,
                at=self.session.now,
            )
            self._store_verified(conn)
        jobs.finish(conn, self.job)
        self.scrubs = isinstance(self.scope, Nightly) and self.hooks.may_scrub()
        if not self.scrubs:
            self.session.release(conn)

    def _store_verified(self, conn: Connection) -> None:
        """Down to where the walk went, all has been compared since its first attempt began."""
        if self.walk.ended or self._oldest is not None:
            compared = VerifiedSpan(self.started, self._oldest, self.first_attempt)
            add_verified(conn, self.user_id, compared)

    @property
    def _oldest(self) -> datetime | None:
        """Down to where the walk has compared; None: to the beginning, or it is not known."""
        return None if self.walk.ended else self.coverage.oldest

    def _scrub(self) -> None:
        """Check what is older than the window; the import has succeeded whatever comes of it."""
        try:
            self.saved += scrub(
                self.session,
                reached=self._oldest,
                reached_at=self.coverage.place(now=self.session.now),
                check_stop=self.hooks.check_stop,
            )
        finally:
            self.session.close(
                lambda conn: jobs.set_totals(conn, self.job, self.saved, requests=self.requests)
            )

    def _progress(self, page: Page) -> jobs.Progress:
        expected = self.expected if self.expected is not None else page.total
        expected = None if expected is None else min(expected, LARGEST)
        return jobs.Progress(self.pages, self.walk.seen, expected, self.requests, self.saved)

    def _end_early(self, error: BaseException | None) -> None:
        self._log("import_failed", reason=sentence(error), requests=self.requests)
        if isinstance(error, FoursquareAway):
            error.answered = self.session.client.answered
        self.session.close(lambda conn: self._store_early_end(conn, error))

    def _store_early_end(self, conn: Connection, error: BaseException | None) -> None:
        message = sentence(error)
        if isinstance(error, RateLimited) and users.stays(conn, self.user_id):
            until = error.until
            jobs.end(conn, self.job, status="rate_limited", message=message, retry_after=until)
            sync_state.record_rate_limit(conn, self.user_id, until=until, reason=message)
        else:
            jobs.end(conn, self.job, status="failed", message=message)

    def _imported(self) -> Imported:
        seconds = (self.session.now - self.started).total_seconds()
        cursor = None if isinstance(self.scope, Since) else self.first_attempt
        self._log(
            "import_finished",
            new=self.saved.new,
            changed=self.saved.changed,
            gone=self.saved.gone,
            requests=self.requests,
            seconds=round(seconds, 3),
        )
        return Imported(self.saved, self.requests, seconds, cursor)

    def _log(self, event: str, **fields: object) -> None:
        log.info(event, extra={"run_id": self.run_id, "user_id": self.user_id, **fields})
