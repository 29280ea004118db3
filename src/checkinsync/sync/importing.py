"""One import: its walk, page by page; each page and its progress in one transaction.

HTTP happens outside transactions and holds no connection. Nothing here sleeps, retries or decides
what a failure means for others; that is `nightly.run`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from checkinsync.errors import FoursquareAway, RateLimited, sentence
from checkinsync.foursquare import parse
from checkinsync.model.changes import Saved
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Checkpoint, Page, Window
from checkinsync.model.span import Order, VerifiedSpan
from checkinsync.store import checkins, jobs, quarantine, sync_state, users, walks
from checkinsync.store.checkins import Shown
from checkinsync.store.pool import Connection
from checkinsync.store.walks import Finished
from checkinsync.sync.ahead import PagesAhead
from checkinsync.sync.coverage import WalkCoverage, covered
from checkinsync.sync.outcome import Imported
from checkinsync.sync.received import Received
from checkinsync.sync.save_page import as_shown, save_page, shown_as
from checkinsync.sync.scope import Nightly, Scope, Since, begin
from checkinsync.sync.scrub import Scrub, is_scrub_due
from checkinsync.sync.session import Hooks, Session
from checkinsync.sync.walk import Walk

LARGEST = 2**31 - 1
"""The largest number that the progress columns hold; `count` may be anything."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Import:
    """The state that an import carries from page to page."""

    session: Session
    scope: Scope
    hooks: Hooks
    run_id: int | None
    started: datetime
    first_attempt: datetime = field(init=False)
    """The start of the walk, which this import may be resuming."""
    walk: Walk = field(init=False)
    ahead: PagesAhead = field(init=False)
    received: Received | None = None
    """The page that is to be stored next, if it is there already."""
    candidate: Shown | None = None
    """The page, if the import ends with it unless something in it has to be stored."""
    may_be_unchanged: bool = False
    """The next page may be stored as it is shown."""
    scrubs: bool = False
    scrub: Scrub | None = None
    """The look at what is older than the window, once that is stored."""
    coverage: WalkCoverage = field(default_factory=WalkCoverage)
    order: Order | None = None
    pages: int = 0
    saved: Saved = field(default_factory=Saved)
    expected: int | None = None
    window_size: int = 0
    stored_checkpoint: Checkpoint | None = None
    spans: tuple[VerifiedSpan, ...] = ()
    """What has been compared when, with this walk."""

    def __post_init__(self) -> None:
        self.ahead = PagesAhead(self.session.client, self.hooks.check_stop)

    @property
    def user_id(self) -> int:
        return self.session.user.id

    @property
    def requests(self) -> int:
        return self.session.client.requests

    @property
    def is_done(self) -> bool:
        """True if nothing is left to be asked for."""
        walked = self.received is None and self.walk.request is None
        return walked and (self.scrub.is_done if self.scrub else not self.scrubs)

    # --- the first page ---------------------------------------------------------------------------

    def ask(self) -> None:
        """Plan the walk and receive its first page; or receive the next one of a slice. An early
        end is stored with its reason, and the lease given back."""
        if self.scrub is not None:
            self.candidate = self.scrub.ask()
            return
        self._log("import_started", scope=type(self.scope).__name__.lower())
        with self._ending_early():
            self.hooks.check_start()
            self._plan()
            first = self.received = self._receive()
            if isinstance(self.scope, Nightly) and self.walk.would_end(first.page):
                self.candidate = shown_as(self.user_id, first.page.items, first.span, now=first.at)

    def _plan(self) -> None:
        state = self.session.state
        window, checkpoint = begin(
            self.scope, cursor=state.cursor, checkpoint=state.checkpoint, now=self.started
        )
        self.first_attempt = self.started if checkpoint is None else checkpoint.started_at
        self.stored_checkpoint = checkpoint
        self.order = state.slices.order
        self.expected = state.expected if isinstance(self.scope, Nightly) else None
        self.may_be_unchanged = state.cursor is not None
        if state.in_quarantine or (self.expected is None and window.start is not None):
            self._prepare(window)
        self.walk = Walk(window, now=self.started, expected=self.expected, checkpoint=checkpoint)

    def _prepare(self, window: Window) -> None:
        """Count what the window should hold, and try again what is in quarantine: this version may
        understand it."""
        with self.session.transaction() as conn:
            self.expected = checkins.expected_in(conn, self.user_id, window)
            waiting = [parse.checkin(item) for _, item in quarantine.items(conn, self.user_id)]
            readable = [item for item in waiting if isinstance(item, Checkin)]
            if readable:
                self.saved += save_page(conn, self.user_id, readable, now=self.session.now)

    def _receive(self) -> Received:
        assert self.walk.request is not None
        return Received.of(self.ahead.receive(self.walk.request), now=self.session.now)

    def unchanged_end(self) -> Finished:
        """Return the end of an import whose only page is stored as it is shown. Changes nothing
        that would have to be undone if it can't be stored."""
        assert self.received is not None
        page = self.received.page
        saved = self.saved + Saved(unchanged=len(page.items))
        progress = self._progress(page, 1, seen=len(page.items), saved=saved)
        span = self.received.span
        return self._end(progress, self.received, oldest=span.oldest if span else None)

    def take_unchanged(self) -> None:
        """Take that page in, once its end is stored."""
        assert self.received is not None
        received, self.received = self.received, None
        self.walk.take(received.page)
        self.coverage.take(received.page, received.span)
        self._took(received, Saved(unchanged=len(received.page.items)))

    # --- page after page --------------------------------------------------------------------------

    def run(self) -> Imported:
        """Page after page to the end; an early end is stored likewise."""
        with self._ending_early(), closing(self.ahead):
            self.may_be_unchanged = self.may_be_unchanged and self.candidate is None
            while self.received is not None or self.walk.request is not None:
                received, self.received = self.received or self._receive(), None
                self._take(received)
            if self.walk.problem is not None:
                raise self.walk.problem
        if self.scrubs:
            self._scrub()
        return self._imported()

    @contextmanager
    def _ending_early(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._end_early(error)
            raise

    def _take(self, received: Received) -> None:
        """One page, one transaction: its rows, the job's progress, the checkpoint or the end."""
        page = received.page
        known = self.walk.known.intersection(item.key for item in page.items)
        with self.session.transaction() as conn:
            early = self.ahead.take(self.walk, page)
            saved = self._save(conn, received, known)
            self.coverage.take(page, received.span)
            if not early:
                self.walk.take(page, new=saved.new, stored=self._stored(conn, page, saved))
            if self.walk.ended:
                self.coverage.note_end(conn, self.user_id, now=received.at)
            self._store(conn, received, saved)
        self._took(received, saved)

    def _save(self, conn: Connection, received: Received, known: Collection[str]) -> Saved:
        items, span, at = received.page.items, received.span, received.at
        if self.may_be_unchanged:
            saved = as_shown(conn, self.user_id, items, span, now=at, known=known)
            if saved is not None:
                return saved
        return save_page(conn, self.user_id, items, now=at, span=span, known=known)

    def _took(self, received: Received, saved: Saved) -> None:
        """Note a page that is stored."""
        self.order = received.order or self.order
        self.may_be_unchanged = not saved.new
        self.pages += 1
        self.saved += saved
        self.window_size += self._in_window(received)
        self._log("page_stored", page=self.pages, new=saved.new, changed=saved.changed)
        progress = self._progress(received.page, self.pages, seen=self.walk.seen, saved=self.saved)
        self.hooks.on_page(progress)

    def _stored(self, conn: Connection, page: Page, saved: Saved) -> int | None:
        """Count the stored check-ins where the end of the list may be near, else return None: the
        walk decides on such a page without it (`Walk.decides_early`).

        Where rows of the application are being taken over, the count is just what was seen, and
        says nothing about the end.
        """
        if saved.new or saved.changed or (page.offset and len(page.items) == page.limit):
            return None
        return checkins.count(conn, self.user_id)

    def _store(self, conn: Connection, received: Received, saved: Saved) -> None:
        """Store how far the walk has come, or that it has finished."""
        finished = self.walk.request is None and self.walk.problem is None
        progress = self._progress(
            received.page, self.pages + 1, seen=self.walk.seen, saved=self.saved + saved
        )
        last_new = received.at if saved.new else None
        if finished and not isinstance(self.scope, Since):
            end = self._end(progress, received, oldest=self._oldest)
            walks.finish(conn, [replace(end, last_new=last_new)])
            return
        walks.go_on(
            conn,
            self.user_id,
            self.session.job,
            progress,
            checkpoint=self._new_checkpoint(),
            last_new=last_new,
            order=self._new_order(received),
        )
        if finished:
            sync_state.record_answered(conn, self.user_id)
            jobs.finish(conn, self.session.job)
            self.session.release(conn)

    def _new_order(self, received: Received) -> Order | None:
        """By what the list is ordered, where this page tells it first: slices rely on it."""
        return None if received.order is self.order else received.order

    def _new_checkpoint(self) -> Checkpoint | None:
        """How far the walk has come, if that has changed and is not just `--since`."""
        if isinstance(self.scope, Since):
            return None
        checkpoint = self.walk.checkpoint(started_at=self.first_attempt)
        if checkpoint == self.stored_checkpoint:
            return None
        self.stored_checkpoint = checkpoint
        return checkpoint

    def _end(
        self, progress: jobs.Progress, received: Received, *, oldest: datetime | None
    ) -> Finished:
        """The end of the walk: down to `oldest` all has been compared since its first attempt."""
        self.scrubs = self._may_scrub(oldest)
        self.session.gives_back = not self.scrubs
        before = self.spans = self.session.state.spans
        if self.walk.ended or oldest is not None:
            compared = VerifiedSpan(self.started, oldest, self.first_attempt)
            self.spans = tuple(covered(before, compared))
        size = self.window_size + self._in_window(received)
        return Finished(
            self.session.lease,
            self.session.job,
            progress,
            cursor=self.first_attempt,
            at=self.session.now,
            token_in=self.session.client.token_way,
            window_size=size if isinstance(self.scope, Nightly) else None,
            order=self._new_order(received),
            before=before,
            after=self.spans,
            release=not self.scrubs,
        )

    def _may_scrub(self, oldest: datetime | None) -> bool:
        """Return True if there is something to look at beyond the window, and time to do so."""
        state = self.session.state
        return (
            isinstance(self.scope, Nightly)
            and (oldest is not None or state.missing)
            and is_scrub_due(state.slices.sliced_at, now=self.session.now)
            and self.hooks.may_scrub()
        )

    def _in_window(self, received: Received) -> int:
        """Count the page's check-ins that the next night's window will hold again."""
        if not isinstance(self.scope, Nightly):
            return 0
        return received.listed.reaches(self.first_attempt - self.scope.overlap)

    @property
    def _oldest(self) -> datetime | None:
        """Down to where the walk has compared; None: to the beginning, or it is not known."""
        return None if self.walk.ended else self.coverage.oldest

    def _scrub(self) -> None:
        """Check what is older than the window; the import has succeeded whatever comes of it."""
        work = self.scrub or self.new_scrub()
        try:
            work.run()
        finally:
            self.saved += work.saved
            self.session.close(
                lambda conn: jobs.set_totals(
                    conn, self.session.job, self.saved, requests=self.requests
                )
            )

    def new_scrub(self) -> Scrub:
        """Return the look at what is older than the window, which is stored."""
        return Scrub(
            self.session,
            replace(self.session.state.slices, order=self.order),
            self.spans,
            reached=self._oldest,
            reached_at=self.coverage.place(now=self.session.now),
            before=self.saved,
            check_stop=self.hooks.check_stop,
        )

    def _progress(self, page: Page, number: int, *, seen: int, saved: Saved) -> jobs.Progress:
        expected = self.expected if self.expected is not None else page.total
        expected = None if expected is None else min(expected, LARGEST)
        return jobs.Progress(number, seen, expected, self.requests, saved)

    def _end_early(self, error: BaseException | None) -> None:
        self._log("import_failed", reason=sentence(error), requests=self.requests)
        if isinstance(error, FoursquareAway):
            error.answered = self.session.client.answered
        self.session.close(lambda conn: self._store_early_end(conn, error))

    def _store_early_end(self, conn: Connection, error: BaseException | None) -> None:
        message = sentence(error)
        if isinstance(error, RateLimited) and users.stays(conn, self.user_id):
            until = error.until
            jobs.end(
                conn, self.session.job, status="rate_limited", message=message, retry_after=until
            )
            sync_state.record_rate_limit(conn, self.user_id, until=until, reason=message)
        else:
            jobs.end(conn, self.session.job, status="failed", message=message)

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
