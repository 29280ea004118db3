"""One user brought up to date, page by page: each page and its progress in one transaction.

HTTP happens outside transactions and holds no connection. Nothing here sleeps, retries or decides
what a failure means for others; that is `orchestrate`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import psycopg

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    FoursquareAway,
    LeaseLost,
    RateLimited,
)
from checkinsync.foursquare import parse
from checkinsync.foursquare.client import Foursquare, UserClient
from checkinsync.keys.keyring import Keyring
from checkinsync.model.changes import Saved
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Checkpoint, Page
from checkinsync.model.span import Order, PageOrder, Span, VerifiedSpan
from checkinsync.model.user import User
from checkinsync.store import checkins, jobs, leases, quarantine, sync_state, users
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.sync import session
from checkinsync.sync.coverage import WalkCoverage, note_verified
from checkinsync.sync.outcome import Imported
from checkinsync.sync.save_page import save_page
from checkinsync.sync.scope import Nightly, Scope, Since, begin
from checkinsync.sync.scrub import scrub
from checkinsync.sync.walk import Walk

log = logging.getLogger(__name__)


def import_user(
    user: User,
    *,
    pool: Pool,
    foursquare: Foursquare,
    keyring: Keyring,
    lease_renewer: LeaseRenewer,
    now: Callable[[], datetime],
    scope: Scope,
    check_stop: Callable[[], None] = lambda: None,
    on_page: Callable[[jobs.Progress], None] = lambda _: None,
    run_id: int | None = None,
    defer_retry: bool = False,
    may_scrub: Callable[[], bool] = lambda: False,
) -> Imported:
    """Walk the user's list as far as `scope` says and store what it shows.

    `go_on` is called before each request and raises Interrupted when it is time to stop;
    `on_page` hears of each page that was stored. `patient`: see `Foursquare.conversation`.
    `spare`: whether there is time to look back beyond the window, once that is stored.
    Raises NoToken, TokenUnreadable, TokenRejected, AtWork, LeaseLost, RateLimited, QuotaExceeded,
    FoursquareAway, RequestRefused, DatabaseAway, UserRemoved, UserFailed; what was committed stays.
    """
    started = now()
    user = session.present(user, pool=pool)
    token = session.token_of(user, keyring=keyring)
    client = foursquare.user_client(token, defer_retry=defer_retry)
    with transaction(pool) as conn:
        lease, job = _begin(conn, user, lease_renewer)
    run = _Import(
        user,
        scope=scope,
        pool=pool,
        lease=lease,
        job=job,
        client=client,
        now=now,
        started=started,
        run_id=run_id,
        on_page=on_page,
        may_scrub=may_scrub,
    )
    with lease_renewer.renewing(lease):
        return run.run(check_stop)


def _begin(conn: Connection, user: User, lease_renewer: LeaseRenewer) -> tuple[Lease, int]:
    """Claim the lease and open the job's row, both or none. Raises AtWork, UserRemoved."""
    lease = session.claim(conn, user, lease_renewer=lease_renewer)
    jobs.close_leftovers(conn, user.id)
    return lease, jobs.start(conn, lease, expected=None)


class _Import:
    """What one import carries from page to page."""

    def __init__(
        self,
        user: User,
        *,
        scope: Scope,
        pool: Pool,
        lease: Lease,
        job: int,
        client: UserClient,
        now: Callable[[], datetime],
        started: datetime,
        run_id: int | None,
        on_page: Callable[[jobs.Progress], None],
        may_scrub: Callable[[], bool],
    ) -> None:
        self.user = user
        self.scope = scope
        self.pool = pool
        self.lease = lease
        self.job = job
        self.client = client
        self.now = now
        self.started = started
        self.first_attempt = started
        self.run_id = run_id
        self.on_page = on_page
        self.may_scrub = may_scrub
        self.looks_back = False
        self.proved = WalkCoverage()
        self.order: Order | None = None
        self.pages = 0
        self.saved = Saved()
        self.expected: int | None = None
        self.noted: Checkpoint | None = None
        self.walk: Walk

    def run(self, check_stop: Callable[[], None]) -> Imported:
        """Page after page; whatever ends it early is written down, and the lease given back."""
        finished = False
        self._log("import_started", scope=type(self.scope).__name__.lower())
        try:
            self._prepare()
            while (ask := self.walk.ask) is not None:
                check_stop()
                self._take(self.client.page(offset=ask.offset, limit=ask.limit))
            if self.walk.problem is not None:
                raise self.walk.problem
            finished = True
        finally:
            if not finished:
                self._end_early(sys.exception())
        if self.looks_back:
            self._look_back(check_stop)
        return self._imported()

    def _prepare(self) -> None:
        """Plan the walk, and try again what is in quarantine: this version may understand it."""
        with transaction(self.pool) as conn:
            leases.ensure_held(conn, self.lease)
            session.expect(conn, self.user)
            self.walk = self._plan(conn)
            waiting = [parse.checkin(item) for _, item in quarantine.items(conn, self.user.id)]
            readable = [item for item in waiting if isinstance(item, Checkin)]
            if readable:
                self.saved += save_page(conn, self.user.id, readable, now=self.now())

    def _plan(self, conn: Connection) -> Walk:
        known = sync_state.load(conn, self.user.id)
        window, mark = begin(self.scope, cursor=known.cursor, mark=known.mark, now=self.started)
        if mark is not None:
            self.first_attempt, self.noted = mark.started_at, mark
        self.expected = checkins.expected_in(conn, self.user.id, window)
        return Walk(window, now=self.started, expected=self.expected, mark=mark)

    def _take(self, page: Page) -> None:
        """One page, one transaction: its rows, the job's progress, the mark, or the end."""
        with transaction(self.pool) as conn:
            leases.ensure_held(conn, self.lease)
            session.expect(conn, self.user)
            at = self.now()
            span = Span.of(page.items, top=page.offset == 0, now=at)
            saved = save_page(conn, self.user.id, page.items, now=at, span=span)
            self.proved.take(page, span)
            self._note_order(conn, page, now=at)
            self.walk.see(page, new=saved.new, stored=self._stored(conn, page, saved))
            if self.walk.ended:
                self.proved.note_end(conn, self.user.id, now=at)
            self.pages += 1
            self.saved += saved
            progress = self._progress(page)
            jobs.note_progress(conn, self.job, progress)
            self._note(conn, saved)
        self._log("page_stored", page=self.pages, new=saved.new, changed=saved.changed)
        self.on_page(progress)

    def _note_order(self, conn: Connection, page: Page, *, now: datetime) -> None:
        """By what the list is ordered, where a page tells it: slices find their places by it."""
        order = PageOrder.of(page.items, now=now).order
        if order is not None and order is not self.order:
            sync_state.note_list(conn, self.user.id, order=order, shift=None)
            self.order = order

    def _stored(self, conn: Connection, page: Page, saved: Saved) -> int | None:
        """How many check-ins are stored, where the end of the list may be near. Where rows of the
        application are being taken over, it is just those that were seen, which tells nothing."""
        if saved.new or saved.changed or (page.offset and len(page.items) == page.limit):
            return None
        return checkins.count(conn, self.user.id)

    def _note(self, conn: Connection, saved: Saved) -> None:
        """Where the walk stands now, or that it has finished."""
        if saved.new:
            sync_state.note_new(conn, self.user.id, at=self.now())
        if self.walk.ask is None and self.walk.problem is None:
            self._finish(conn)
        elif not isinstance(self.scope, Since):
            mark = self.walk.mark(started_at=self.first_attempt)
            if mark != self.noted:
                sync_state.note_mark(conn, self.user.id, mark)
                self.noted = mark

    def _finish(self, conn: Connection) -> None:
        if isinstance(self.scope, Since):
            sync_state.note_answered(conn, self.user.id)
        else:
            sync_state.note_finished(
                conn,
                self.user.id,
                cursor=self.first_attempt,
                token_in=self.client.token_way,
                at=self.now(),
            )
            self._note_verified(conn)
        jobs.finish(conn, self.job)
        self.looks_back = isinstance(self.scope, Nightly) and self.may_scrub()
        if not self.looks_back:
            leases.release(conn, self.lease)

    def _note_verified(self, conn: Connection) -> None:
        """Down to where the walk went, all has been compared since its first attempt began."""
        if self.walk.ended or self._oldest is not None:
            compared = VerifiedSpan(self.started, self._oldest, self.first_attempt)
            note_verified(conn, self.user.id, compared)

    @property
    def _oldest(self) -> datetime | None:
        """Down to where the walk has compared; None: to the beginning, or it is not known."""
        return None if self.walk.ended else self.proved.oldest

    # --- beyond the window ------------------------------------------------------------------------

    def _look_back(self, check_stop: Callable[[], None]) -> None:
        try:
            self.saved += scrub(
                self.user.id,
                pool=self.pool,
                lease=self.lease,
                client=self.client,
                reached=self._oldest,
                reached_at=self.proved.place(now=self.now()),
                now=self.now,
                check_stop=check_stop,
            )
        finally:
            with (
                suppress(LeaseLost, DatabaseAway, psycopg.OperationalError),
                transaction(self.pool) as conn,
            ):
                leases.ensure_held(conn, self.lease)
                jobs.note_total(conn, self.job, self.saved, requests=self.client.requests)
                leases.release(conn, self.lease)

    def _progress(self, page: Page) -> jobs.Progress:
        expected = self.expected if self.expected is not None else page.total
        expected = None if expected is None else min(expected, LARGEST)
        requests = self.client.requests
        return jobs.Progress(self.pages, self.walk.seen, expected, requests, self.saved)

    def _end_early(self, error: BaseException | None) -> None:
        """Write down why, and give the lease back; where that can't be done, it ends by itself."""
        self._log("import_failed", reason=told(error), requests=self.client.requests)
        if isinstance(error, FoursquareAway):
            error.answered = self.client.answered
        with (
            suppress(LeaseLost, DatabaseAway, psycopg.OperationalError),
            transaction(self.pool) as conn,
        ):
            leases.ensure_held(conn, self.lease)
            if isinstance(error, RateLimited) and users.stays(conn, self.user.id):
                message, until = told(error), error.until
                jobs.end(conn, self.job, status="rate_limited", message=message, retry_after=until)
                sync_state.note_rate_limited(conn, self.user.id, until=until, reason=message)
            else:
                jobs.end(conn, self.job, status="failed", message=told(error))
            leases.release(conn, self.lease)

    def _imported(self) -> Imported:
        seconds = (self.now() - self.started).total_seconds()
        requests = self.client.requests
        cursor = None if isinstance(self.scope, Since) else self.first_attempt
        self._log(
            "import_finished",
            new=self.saved.new,
            changed=self.saved.changed,
            gone=self.saved.gone,
            requests=requests,
            seconds=round(seconds, 3),
        )
        return Imported(self.saved, requests, seconds, cursor)

    def _log(self, event: str, **fields: object) -> None:
        log.info(event, extra={"run_id": self.run_id, "user_id": self.user.id, **fields})


LARGEST = 2**31 - 1
"""What the progress columns can hold; `count` may say anything."""


def told(error: BaseException | None) -> str:
    """An error as a sentence for the job's row; of strangers only the kind, lest a secret shows."""
    if isinstance(error, CheckinsyncError):
        return str(error)
    if isinstance(error, psycopg.Error):
        return f"the database refused: {error.diag.message_primary or type(error).__name__}"
    return f"an error nobody foresaw ({type(error).__name__}); the log has more"
