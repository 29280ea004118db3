"""Completeness proved: a user's whole list walked, and compared with the rows id by id.

Page by page, each committed with how far it has come, so that a verification that is cut off goes
on from there. Without `repair` nothing is written but that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import psycopg

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    LeaseLost,
    RateLimited,
    UserFailed,
)
from checkinsync.foursquare import parse
from checkinsync.foursquare.client import Foursquare, UserClient
from checkinsync.keys.keyring import Keyring
from checkinsync.model.changes import Changes, Saved, Stored, Unseen
from checkinsync.model.checkin import Checkin, Item, Unreadable
from checkinsync.model.listing import Checkpoint, Page
from checkinsync.model.span import Span, VerifiedSpan
from checkinsync.model.user import User
from checkinsync.store import checkins, deletions, leases
from checkinsync.store.jobs import Progress
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.sync import session
from checkinsync.sync.coverage import note_verified
from checkinsync.sync.deletions import LATELY, judge
from checkinsync.sync.reconcile import once
from checkinsync.sync.revisions import edited, parts
from checkinsync.sync.save_page import compare, note_unshown, save_page
from checkinsync.sync.scope import Full, begin
from checkinsync.sync.walk import Walk
from checkinsync.verify import queries
from checkinsync.verify.queries import Compared
from checkinsync.verify.result import Unfinished, VerificationResult, extra_finding

log = logging.getLogger(__name__)


def verify(
    user: User,
    *,
    pool: Pool,
    foursquare: Foursquare,
    keyring: Keyring,
    lease_renewer: LeaseRenewer,
    now: Callable[[], datetime],
    check_stop: Callable[[], None],
    on_page: Callable[[Progress], None] = lambda _: None,
    wait: Callable[[RateLimited], None] | None = None,
    repair: bool = False,
    accept_deletions: bool = False,
) -> VerificationResult | Unfinished:
    """Compare everything that Foursquare shows of this user with everything that is stored.

    `repair`: store what is missing or different, and mark what is extra as missing, unless that is
    more than can be believed; `accept_deletions`: what is extra is gone, on an operator's word.
    `wait`: called at a rate limit, comes back when it is over; None: the limit ends it.
    Raises what can't be told as one user's trouble: DatabaseAway, bugs.
    """
    proving = _Proving(
        user,
        pool=pool,
        now=now,
        on_page=on_page,
        repair=repair,
        accept_deletions=accept_deletions,
    )
    while True:
        try:
            return proving.run(
                foursquare=foursquare,
                keyring=keyring,
                lease_renewer=lease_renewer,
                check_stop=check_stop,
            )
        except DatabaseAway:
            raise
        except psycopg.Error as error:  # a lock, a time-out: it stays this user's
            words = error.diag.message_primary or type(error).__name__
            return proving.unfinished(UserFailed(f"the database refused: {words}"))
        except RateLimited as limit:
            if wait is None:
                return proving.unfinished(limit)
            try:
                wait(limit)
            except CheckinsyncError as error:
                return proving.unfinished(error)
        except CheckinsyncError as error:
            return proving.unfinished(error)


class _Proving:
    """What a verification carries from page to page, and over a rate limit."""

    def __init__(
        self,
        user: User,
        *,
        pool: Pool,
        now: Callable[[], datetime],
        on_page: Callable[[Progress], None],
        repair: bool,
        accept_deletions: bool,
    ) -> None:
        self.user = user
        self.pool = pool
        self.now = now
        self.on_page = on_page
        self.repair = repair
        self.accept_deletions = accept_deletions
        self.started = now()
        self.pages = 0
        self.saved = Saved()
        self.before = 0
        """Requests of earlier attempts."""
        self.told: int | None = None
        self.noted: Checkpoint | None = None
        self.lease: Lease
        self.client: UserClient
        self.walk: Walk

    def run(
        self,
        *,
        foursquare: Foursquare,
        keyring: Keyring,
        lease_renewer: LeaseRenewer,
        check_stop: Callable[[], None],
    ) -> VerificationResult:
        """To the verdict; whatever ends it early, the lease is given back."""
        user = session.present(self.user, pool=self.pool)
        self.client = foursquare.user_client(session.token_of(user, keyring=keyring))
        with transaction(self.pool) as conn:
            self.lease = session.claim(conn, user, lease_renewer=lease_renewer)
            self._begin(conn)
        try:
            with lease_renewer.renewing(self.lease):
                while (ask := self.walk.ask) is not None:
                    check_stop()
                    self._take(self.client.page(offset=ask.offset, limit=ask.limit))
                if self.walk.problem is not None:
                    raise self.walk.problem
                with transaction(self.pool) as conn:
                    leases.ensure_held(conn, self.lease)
                    session.expect(conn, self.user)
                    return self._verdict(conn)
        finally:
            with (
                suppress(LeaseLost, DatabaseAway, psycopg.OperationalError),
                transaction(self.pool) as conn,
            ):
                leases.release(conn, self.lease)

    def _begin(self, conn: Connection) -> None:
        """Go on with an earlier one, if it is young enough and did the same."""
        known = queries.load(conn, self.user.id)
        at = self.now()
        if known is None or known.repairs != self.repair or at - known.started_at > queries.KEPT:
            queries.start(conn, self.user.id, at=at, repairs=self.repair)
            known = queries.load(conn, self.user.id)
            assert known is not None
        self.started, self.before, self.told = known.started_at, known.requests, known.told
        window, self.noted = begin(Full(), cursor=None, mark=known.mark, now=at)
        self.walk = Walk(window, now=at, expected=None, mark=self.noted)

    @property
    def _requests(self) -> int:
        return self.before + self.client.requests

    def _take(self, page: Page) -> None:
        """One page, one transaction: what it shows compared, repaired if asked, and noted."""
        with transaction(self.pool) as conn:
            leases.ensure_held(conn, self.lease)
            session.expect(conn, self.user)
            at = self.now()
            seen = queries.seen(conn, self.user.id, [item.key for item in page.items])
            items = [item for item in page.items if item.key not in seen]
            compared = self._compare(conn, items)
            new = sum(item.finding == "missing" for item in compared)
            if self.repair:
                self._store(conn, page, items, at=at)
                compared = self._looked_at_again(conn, items, compared)
            queries.add(conn, self.user.id, compared, at=at)
            stored = None if page.items else checkins.count(conn, self.user.id)
            self.walk.see(page, new=new, stored=stored)
            self.told = self.told if page.total is None else page.total
            self._note(conn)
        self.pages += 1
        self.on_page(Progress(self.pages, self.walk.seen, self.told, self._requests, self.saved))

    def _note(self, conn: Connection) -> None:
        self.noted = self.walk.mark(started_at=self.started)
        queries.note(conn, self.user.id, self.noted, requests=self._requests, told=self.told)

    # --- a page -----------------------------------------------------------------------------------

    def _store(self, conn: Connection, page: Page, items: Sequence[Item], *, at: datetime) -> None:
        """Store the page's items that were not shown before, and mark what it does not show."""
        self.saved += save_page(conn, self.user.id, items, now=at)
        span = Span.of(page.items, top=page.offset == 0, now=at)
        if span is not None:
            note_unshown(conn, self.user.id, {item.key for item in page.items}, span, now=at)

    def _looked_at_again(
        self, conn: Connection, items: Sequence[Item], compared: Sequence[Compared]
    ) -> list[Compared]:
        """The same findings, repaired where the rows are as shown now."""
        if all(item.finding in {"same", "unreadable"} for item in compared):
            return list(compared)
        after = {item.foursquare_id: item for item in self._compare(conn, items)}
        repaired = {key for key, item in after.items() if item.finding == "same"}
        return [replace(item, repaired=item.foursquare_id in repaired) for item in compared]

    def _compare(self, conn: Connection, items: Sequence[Item]) -> list[Compared]:
        """One finding for each id. Of several items with one id the first counts, as it does when
        they are stored, or the first that can be read."""
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
        changes = compare(conn, self.user.id, shown)
        differing = self._differing(conn, changes)
        alike = [c for c in shown if c.id not in differing]
        differing |= self._tampered(conn, alike)
        same = (Compared(c.id, "same", c.created_at, "") for c in shown)
        return [*(differing.get(item.foursquare_id, item) for item in same), *unread]

    def _differing(self, conn: Connection, changes: Changes) -> dict[str, Compared]:
        """The check-ins of a page that are not stored as they are shown, by id."""
        found = {c.id: Compared(c.id, "missing", c.created_at, "not stored") for c in changes.add}
        gone = {row.foursquare_id: row for row in changes.restore if row.deleted_at is not None}
        for item_id, row in gone.items():
            assert item_id is not None
            found[item_id] = Compared(item_id, "missing", row.second, "counts as gone here")
        for rewrite in changes.adopt:
            c = rewrite.checkin
            detail = "stored by the application, without its id"
            found[c.id] = Compared(c.id, "different", c.created_at, detail, adopts=rewrite.row)
        before = checkins.former(conn, [rewrite.row for rewrite in changes.change])
        raw = {row.row: row.raw for row in before}
        for rewrite in changes.change:
            c = rewrite.checkin
            found[c.id] = Compared(
                c.id, "different", c.created_at, _difference(raw.get(rewrite.row), c)
            )
        return found

    def _tampered(self, conn: Connection, alike: Sequence[Checkin]) -> dict[str, Compared]:
        """Those of the check-ins that are stored as shown, by their fingerprints, whose rows
        somebody else has written over."""
        rows = queries.columns(conn, self.user.id, [c.id for c in alike])
        found = {}
        for c in alike:
            row = rows.get(c.id, {})
            what = [name for name, value in row.items() if getattr(c, name) != value]
            if what:
                detail = f"not as it was stored: {', '.join(what)}"
                found[c.id] = Compared(c.id, "different", c.created_at, detail)
        if self.repair and found:
            queries.clear_fingerprints(conn, self.user.id, list(found))
        return found

    # --- the end ----------------------------------------------------------------------------------

    def _verdict(self, conn: Connection) -> VerificationResult:
        at = self.now()
        extra = queries.not_shown(conn, self.user.id, before=self.started)
        if self.repair:
            extra = self._settle(conn, extra, at=at)
        findings = [*queries.differing(conn, self.user.id), *map(extra_finding, extra)]
        proof = VerificationResult(
            user=self.user,
            started_at=self.started,
            finished_at=at,
            shown=queries.count(conn, self.user.id),
            told=self.told,
            stored=checkins.count(conn, self.user.id),
            unreadable=queries.unreadable(conn, self.user.id),
            findings=tuple(findings),
            nameless=tuple(queries.nameless(conn, self.user.id)),
            requests=self._requests,
        )
        if proof.complete:
            note_verified(conn, self.user.id, VerifiedSpan(self.started, None, self.started))
        queries.end(conn, self.user.id)
        log.info(
            "verified",
            extra={"user_id": self.user.id, "shown": proof.shown, "open": len(proof.open)},
        )
        return proof

    def _settle(self, conn: Connection, extra: list[Stored], *, at: datetime) -> list[Stored]:
        """What is shown no more is marked, or gone if so ordered; the rows as they are then."""
        if not extra:
            return extra
        if self.accept_deletions:
            self.saved += Saved(
                gone=deletions.mark_deleted(conn, [row.row for row in extra], at=at)
            )
            return [replace(row, deleted_at=at) for row in extra]
        everything = checkins.count(conn, self.user.id)
        toll = deletions.toll(conn, self.user.id, since=at - LATELY)
        sure = frozenset(row.row for row in extra)
        deletions.note(conn, judge(Unseen(tuple(extra), everything, sure), toll, now=at), now=at)
        return queries.not_shown(conn, self.user.id, before=self.started)

    def unfinished(self, error: CheckinsyncError) -> Unfinished:
        """How far it got; never a verdict."""
        seen, down_to = 0, self.noted.down_to if self.noted else None
        with suppress(DatabaseAway, psycopg.OperationalError), transaction(self.pool) as conn:
            seen = queries.count(conn, self.user.id)
        return Unfinished(self.user, seen, down_to, error)


def _difference(raw: str | None, shown: Checkin) -> str:
    """In which parts a stored item differs from the one shown."""
    stored = parse.checkin(raw.encode()) if raw is not None else None
    if not isinstance(stored, Checkin):
        return "stored otherwise"
    return (
        ", ".join(edited(parts(stored), parts(shown)))
        or "stored by another version of this program"
    )
