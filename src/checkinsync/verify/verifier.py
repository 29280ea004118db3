"""Verifies completeness: walks a user's whole list and compares it with the rows id by id.

Each page is committed with its checkpoint, so that an interrupted verification resumes there.
Without `repair` nothing else is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from checkinsync.errors import CheckinsyncError, DatabaseAway, DatabaseError, RateLimited
from checkinsync.foursquare import parse
from checkinsync.foursquare.client import UserClient
from checkinsync.model.changes import Saved, Stored, Unseen
from checkinsync.model.checkin import Checkin, Item, Unreadable
from checkinsync.model.listing import Checkpoint, Page
from checkinsync.model.span import Span, VerifiedSpan
from checkinsync.model.user import User
from checkinsync.store import checkins, deletions
from checkinsync.store.jobs import Progress
from checkinsync.store.pool import Connection
from checkinsync.sync.ahead import PagesAhead
from checkinsync.sync.coverage import add_verified
from checkinsync.sync.deletions import LATELY, judge
from checkinsync.sync.reconcile import once
from checkinsync.sync.revisions import edited, parts
from checkinsync.sync.save_page import as_shown, compare, mark_unshown, save_page
from checkinsync.sync.scope import Full, begin
from checkinsync.sync.session import Hooks, Services, Session
from checkinsync.sync.walk import Walk
from checkinsync.verify import queries
from checkinsync.verify.deletions import Acceptance
from checkinsync.verify.queries import Compared
from checkinsync.verify.result import (
    Deletions,
    Finding,
    Unfinished,
    VerificationResult,
    extra_finding,
)

log = logging.getLogger(__name__)


def verify(
    user: User,
    *,
    services: Services,
    hooks: Hooks,
    wait: Callable[[RateLimited], None] | None = None,
    repair: bool = False,
    accept_deletions: bool = False,
) -> VerificationResult | Unfinished:
    """Compare everything that Foursquare shows of this user with everything that is stored.

    `repair`: store what is missing or different, and mark what is extra as missing;
    `accept_deletions`: an operator's confirmation that what is extra was deleted, however much it
    is. `verify.deletions` describes how Foursquare is asked as well.
    `wait`: called at a rate limit, returns when it is over; None: the limit ends the verification.
    Raises DatabaseAway; other errors of ours are returned in `Unfinished`.
    """
    acceptance = Acceptance(hooks.check_stop) if accept_deletions else None
    work = _Verification(user, services, hooks, repair, acceptance)
    while True:
        try:
            return work.run()
        except DatabaseAway:
            raise
        except RateLimited as limit:
            if wait is None:
                return work.unfinished(limit)
            try:
                wait(limit)
            except CheckinsyncError as error:
                return work.unfinished(error)
        except CheckinsyncError as error:
            return work.unfinished(error)


@dataclass(slots=True)
class _Verification:
    """The state that a verification carries from page to page, and over a rate limit."""

    user: User
    services: Services
    hooks: Hooks
    repair: bool
    acceptance: Acceptance | None
    session: Session = field(init=False)
    walk: Walk = field(init=False)
    ahead: PagesAhead = field(init=False)
    started: datetime = field(init=False)
    pages: int = 0
    saved: Saved = field(default_factory=Saved)
    earlier_requests: int = 0
    """Requests of earlier attempts."""
    reported_total: int | None = None
    """Foursquare's own total."""
    totals: set[int | None] = field(default_factory=set)
    """All totals that its pages reported."""
    checkpoint: Checkpoint | None = None
    resumed: bool = False
    unreadable: set[str] = field(default_factory=set)
    """The keys of items that could not be read."""

    @property
    def client(self) -> UserClient:
        return self.session.client

    @property
    def now(self) -> datetime:
        return self.services.now()

    def run(self) -> VerificationResult:
        """Walk to the end of the list and return the verdict."""
        with self.services.session(self.user) as self.session:
            self.ahead = PagesAhead(self.client, self.hooks.check_stop)
            with self.session.transaction() as conn:
                self._begin(conn)
            with closing(self.ahead):
                while (request := self.walk.request) is not None:
                    self._take(self.ahead.receive(request))
            if self.walk.problem is not None:
                raise self.walk.problem
            if self.repair:
                self._settle()
            with self.session.transaction() as conn:
                return self._verdict(conn)

    def _begin(self, conn: Connection) -> None:
        """Resume an earlier verification if it is recent and repairs as this one does, or start."""
        known = queries.load(conn, self.user.id)
        at = self.now
        self.resumed = (
            known is not None
            and known.repairs == self.repair
            and timedelta() <= at - known.started_at <= queries.KEPT
        )
        if known is None or not self.resumed:
            queries.start(conn, self.user.id, at=at, repairs=self.repair)
            known = queries.load(conn, self.user.id)
            assert known is not None
        elif known.reported_total is not None:
            self.totals.add(known.reported_total)
        self.started, self.earlier_requests = known.started_at, known.requests
        self.reported_total = known.reported_total
        window, self.checkpoint = begin(Full(), cursor=None, checkpoint=known.checkpoint, now=at)
        self.walk = Walk(window, now=at, expected=None, checkpoint=self.checkpoint)

    @property
    def _requests(self) -> int:
        return self.earlier_requests + self.client.requests

    def _take(self, page: Page) -> None:
        """Compare a page, repair it if asked to, and store the checkpoint, in one transaction."""
        with self.session.transaction() as conn:
            seen = self._seen(conn, page)
            early = self.ahead.take(self.walk, page)
            at = self.now
            items = [item for item in page.items if item.key not in seen]
            compared = self._compare(conn, page, items)
            new = sum(item.finding == "missing" for item in compared)
            if self.repair:
                self._store(conn, page, items, at=at)
                compared = self._looked_at_again(conn, page, items, compared)
            if not early:
                stored = None if page.items else checkins.count(conn, self.user.id)
                self.walk.take(page, new=new, stored=stored)
            self.reported_total = self.reported_total if page.total is None else page.total
            self.totals.add(page.total)
            self._store_progress(conn, compared, at=at)
        self.pages += 1
        requests, total = self._requests, self.reported_total
        self.hooks.on_page(Progress(self.pages, self.walk.seen, total, requests, self.saved))

    def _seen(self, conn: Connection, page: Page) -> set[str]:
        """Return the ids of a page that an earlier one has shown readably. Only a walk that goes on
        with an earlier one has to look them up."""
        keys = [item.key for item in page.items]
        if self.resumed:
            return queries.seen(conn, self.user.id, keys)
        return self.walk.known.intersection(keys) - self.unreadable

    def _store_progress(
        self, conn: Connection, compared: Sequence[Compared], *, at: datetime
    ) -> None:
        self.unreadable |= {c.foursquare_id for c in compared if c.finding == "unreadable"}
        self.checkpoint = self.walk.checkpoint(started_at=self.started)
        queries.go_on(
            conn,
            self.user.id,
            compared,
            self.checkpoint,
            at=at,
            requests=self._requests,
            reported_total=self.reported_total,
        )

    # --- a page -----------------------------------------------------------------------------------

    def _store(self, conn: Connection, page: Page, items: Sequence[Item], *, at: datetime) -> None:
        """Store the page's items that were not shown before, and mark what it does not show."""
        self.saved += save_page(conn, self.user.id, items, now=at)
        span = Span.of(page.items, top=page.offset == 0, now=at)
        if span is not None:
            mark_unshown(conn, self.user.id, {item.key for item in page.items}, span, now=at)

    def _looked_at_again(
        self,
        conn: Connection,
        page: Page,
        items: Sequence[Item],
        compared: Sequence[Compared],
    ) -> list[Compared]:
        """Return the findings, marked as repaired where the rows are now as shown."""
        if all(item.finding in {"same", "unreadable"} for item in compared):
            return list(compared)
        after = {item.foursquare_id: item for item in self._compare(conn, page, items)}
        repaired = {key for key, item in after.items() if item.finding == "same"}
        return [replace(item, repaired=item.foursquare_id in repaired) for item in compared]

    def _compare(self, conn: Connection, page: Page, items: Sequence[Item]) -> list[Compared]:
        """Return one finding per id of these items of a page. Of several with one id the first
        readable one counts, as it does when they are stored."""
        shown = once(item for item in items if isinstance(item, Checkin))
        readable = {checkin.id for checkin in shown}
        bad = {item.key: item for item in items if isinstance(item, Unreadable)}
        unread = [
            Compared(key, "unreadable", None, item.problem)
            for key, item in bad.items()
            if key not in readable
        ]
        if not shown:
            return unread
        differing = {} if self._is_stored(conn, page) else self._differing(conn, shown)
        alike = [c for c in shown if c.id not in differing]
        differing |= self._tampered(conn, alike)
        same = (Compared(c.id, "same", c.created_at, "") for c in shown)
        return [*(differing.get(item.foursquare_id, item) for item in same), *unread]

    def _is_stored(self, conn: Connection, page: Page) -> bool:
        """Return True if all of a page is surely stored as it is shown, as nearly always."""
        span = Span.of(page.items, top=page.offset == 0, now=self.now)
        saved = as_shown(conn, self.user.id, page.items, span, now=self.now, known=())
        return saved is not None

    def _differing(self, conn: Connection, shown: Sequence[Checkin]) -> dict[str, Compared]:
        """Return the check-ins that are not stored as they are shown, by id."""
        changes = compare(conn, self.user.id, shown)
        found = {c.id: Compared(c.id, "missing", c.created_at, "not stored") for c in changes.add}
        deleted = {row.foursquare_id: row for row in changes.restore if row.deleted_at is not None}
        for item_id, row in deleted.items():
            assert item_id is not None
            found[item_id] = Compared(item_id, "missing", row.second, "marked as deleted here")
        for rewrite in changes.adopt:
            c = rewrite.checkin
            detail = "stored by the application, without its id"
            found[c.id] = Compared(c.id, "different", c.created_at, detail, adopts=rewrite.row)
        before = checkins.former(conn, [rewrite.row for rewrite in changes.change])
        raw = {row.row: row.raw for row in before}
        for rewrite in changes.change:
            c = rewrite.checkin
            detail = _difference(raw.get(rewrite.row), c)
            found[c.id] = Compared(c.id, "different", c.created_at, detail)
        return found

    def _tampered(self, conn: Connection, alike: Sequence[Checkin]) -> dict[str, Compared]:
        """Return the check-ins whose rows were overwritten though their fingerprints match."""
        found = {}
        rows = queries.overwritten(conn, self.user.id, alike)
        for c in (each for each in alike if each.id in rows):
            pairs = zip(queries.COLUMNS, rows[c.id], queries.values(c), strict=True)
            what = ", ".join(name for name, stored, value in pairs if stored != value)
            detail = f"overwritten since it was stored: {what}"
            found[c.id] = Compared(c.id, "different", c.created_at, detail)
        if self.repair and found:
            queries.clear_fingerprints(conn, self.user.id, list(found))
        return found

    # --- the end ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Mark what is no longer shown, and confirm its deletion if the operator accepts it."""
        with self.session.transaction() as conn:
            extra = self._mark(conn, self._not_shown(conn), at=self.now)
        if self.acceptance is not None:
            self.acceptance.run(self.session, extra, totals=self.totals)

    def _mark(self, conn: Connection, extra: list[Stored], *, at: datetime) -> list[Stored]:
        """Mark rows as missing, and hold them back if too many; return the rows as marked."""
        if not extra:
            return extra
        everything = checkins.count(conn, self.user.id)
        recent = deletions.recent(conn, self.user.id, since=at - LATELY, now=at)
        sure = frozenset(row.row for row in extra)
        deletions.note(conn, judge(Unseen(tuple(extra), everything, sure), recent, now=at), now=at)
        return self._not_shown(conn)

    def _not_shown(self, conn: Connection) -> list[Stored]:
        return queries.not_shown(conn, self.user.id, before=self.started)

    def _verdict(self, conn: Connection) -> VerificationResult:
        extra = self._not_shown(conn)
        left = self.acceptance.refusal if self.acceptance is not None else None
        findings = [
            *queries.differing(conn, self.user.id),
            *(extra_finding(row, left=left) for row in extra),
            *self._accepted(conn),
        ]
        result = VerificationResult(
            user=self.user,
            started_at=self.started,
            finished_at=self.now,
            shown=queries.count(conn, self.user.id),
            reported_total=self.reported_total,
            stored=checkins.count(conn, self.user.id),
            unreadable=queries.unreadable(conn, self.user.id),
            findings=tuple(findings),
            nameless=tuple(queries.nameless(conn, self.user.id)),
            requests=self._requests,
            deletions=self._deletions(conn),
        )
        if result.complete:
            add_verified(conn, self.user.id, VerifiedSpan(self.started, None, self.started))
        queries.end(conn, self.user.id)
        log.info(
            "verified",
            extra={"user_id": self.user.id, "shown": result.shown, "open": len(result.open)},
        )
        return result

    def _accepted(self, conn: Connection) -> list[Finding]:
        if self.acceptance is None:
            return []
        deleted = queries.deleted_since(conn, self.user.id, self.started)
        return [*map(extra_finding, deleted), *queries.known_by_id(conn, self.user.id)]

    def _deletions(self, conn: Connection) -> Deletions | None:
        """Return the result of the operator's acceptance, in this attempt and earlier ones."""
        if self.acceptance is None or not self.acceptance.begun:
            return None
        return Deletions(
            deleted=len(queries.deleted_since(conn, self.user.id, self.started)),
            there=len(queries.known_by_id(conn, self.user.id)),
            waiting=len(self._not_shown(conn)),
            refusal=self.acceptance.refusal,
        )

    def unfinished(self, error: CheckinsyncError) -> Unfinished:
        """Return how far the verification got, without a verdict."""
        seen, down_to, found = 0, self.checkpoint.down_to if self.checkpoint else None, None
        with suppress(DatabaseError), self.services.reading() as conn:
            seen = queries.count(conn, self.user.id)
            found = self._deletions(conn)
        options = " --repair" * self.repair + " --accept-deletions" * (self.acceptance is not None)
        return Unfinished(self.user, seen, down_to, error, found, options)


def _difference(raw: str | None, shown: Checkin) -> str:
    """Return the names of the parts in which a stored item differs from the one shown."""
    stored = parse.checkin(raw.encode()) if raw is not None else None
    if not isinstance(stored, Checkin):
        return "stored differently"
    return (
        ", ".join(edited(parts(stored), parts(shown)))
        or "stored by another version of this program"
    )
