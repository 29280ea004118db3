"""Asks Foursquare about each missing check-in, before anything marks it as deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise

from checkinsync.errors import FoursquareAway, RateLimited, RequestRefused, TokenRejected
from checkinsync.model.changes import RecentDeletions, Saved, Stored
from checkinsync.model.checkin import Checkin, Item
from checkinsync.model.span import Order, VerifiedSpan
from checkinsync.store import deletions, verified_spans
from checkinsync.store.pool import Connection
from checkinsync.sync.deletions import AGAIN_AFTER, LATELY, LIST_ALONE, OWN_WORD, is_due
from checkinsync.sync.save_page import save_page
from checkinsync.sync.session import Session

ASKED = 100
"""Check-ins that a night asks about, at most: the `checkins` endpoints have 500 an hour."""

UNANSWERED = 2
"""After so many check-ins without an answer the others are left for another night."""

NO_ENDPOINT = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
"""Statuses by which a server says, without an `errorType`, that it has no such endpoint."""

NO_ANSWER = (FoursquareAway, RateLimited, RequestRefused, TokenRejected)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """The check-ins that were not shown where they had to be."""

    waiting: Sequence[Stored] = ()
    """To be looked for again tonight."""
    missed_twice: bool = False
    """Two looks did not show some."""


def looked_for(session: Session) -> Missing:
    """Return the rows to be looked for again; none where more is missing than any answer about it
    would be believed."""
    user_id, at = session.user.id, session.now
    with session.services.reading() as conn:
        missed_twice = bool(deletions.missing_twice(conn, user_id, now=at))
        once = deletions.missing_once(conn, user_id, before=at - AGAIN_AFTER, now=at)
        waiting = [row for row in once if is_due(row, now=at)]
        if waiting:
            recent = deletions.recent(conn, user_id, since=at - LATELY, now=at)
            waiting = [] if OWN_WORD.holds(recent) else waiting
    return Missing(waiting, missed_twice)


# --- one check-in ---------------------------------------------------------------------------------


def confirm(session: Session, row: Stored) -> Saved:
    """Ask Foursquare about one check-in, and mark it as deleted or as there, as it says.

    Raises as `UserClient.checkin` does where Foursquare says neither: nothing is marked then.
    """
    assert row.foursquare_id is not None
    item = session.client.checkin(row.foursquare_id)
    if item is None:
        return mark_deleted(session, row)
    return _mark_there(session, row, item)


def mark_deleted(session: Session, row: Stored) -> Saved:
    """Mark one check-in as deleted."""
    log.info("checkin_gone", extra={"user_id": session.user.id, "id": row.foursquare_id})
    with session.transaction() as conn:
        return Saved(gone=deletions.mark_deleted(conn, [row.row], at=session.now))


def _mark_there(session: Session, row: Stored, item: Item) -> Saved:
    with session.transaction() as conn:
        deletions.clear(conn, [row.row])
        if isinstance(item, Checkin) and item.id == row.foursquare_id:
            return save_page(conn, session.user.id, [item], now=session.now)
        return Saved()


def ensure_truthful(session: Session) -> bool:
    """Ask about a check-in that is there: an endpoint that denies it proves nothing about others.

    False: none is known to be there. Raises FoursquareAway where it is denied, and as
    `UserClient.checkin` does.
    """
    with session.services.reading() as conn:
        there = deletions.one_that_is_there(conn, session.user.id)
    if there is not None and session.client.checkin(there) is None:
        raise FoursquareAway(
            "Foursquare denies by its id a check-in that its list shows, so that nothing it says "
            "about deletions is believed; try again later"
        )
    return there is not None


def has_no_endpoint(refusal: RequestRefused | TokenRejected) -> bool:
    """Return True if the refusal means that no check-in can be asked about by its id."""
    if isinstance(refusal, TokenRejected):
        return False
    if refusal.error_type is None:
        return refusal.status in NO_ENDPOINT
    return refusal.error_type == "endpoint_error" or refusal.status == HTTPStatus.METHOD_NOT_ALLOWED


# --- a night --------------------------------------------------------------------------------------


def confirm_missing(
    session: Session,
    *,
    order: Order | None,
    unsure: Stored | None,
    check_stop: Callable[[], None],
) -> Saved:
    """Ask Foursquare about each check-in that was missed twice, and about `unsure`, if it is still
    missing. One without an answer stays marked, and is asked about again. `order`: of the list."""
    with session.services.reading() as conn:
        night = _Night.load(conn, session, order, check_stop)
        once = deletions.missing_once(
            conn, session.user.id, before=session.now - AGAIN_AFTER, now=session.now
        )
    asked = [*night.to_ask(), *(row for row in once if unsure and row.row == unsure.row)]
    return night.ask(asked) if asked else Saved()


@dataclass(slots=True)
class _Night:
    """The missing check-ins of a user, and what is known about their history."""

    session: Session
    check_stop: Callable[[], None]
    missed_twice: Mapping[int, Stored]
    """By row."""
    recent: RecentDeletions
    order: Order | None
    known: Sequence[VerifiedSpan]
    truthful: bool = field(default=False, init=False)

    @classmethod
    def load(
        cls,
        conn: Connection,
        session: Session,
        order: Order | None,
        check_stop: Callable[[], None],
    ) -> _Night:
        user_id, now = session.user.id, session.now
        return cls(
            session,
            check_stop,
            {row.row: row for row in deletions.missing_twice(conn, user_id, now=now)},
            deletions.recent(conn, user_id, since=now - LATELY, now=now),
            order,
            verified_spans.load(conn, user_id),
        )

    def to_ask(self) -> list[Stored]:
        """The rows missed twice that are due, or that the list's own word is enough for; others
        first each night, so that those without an answer keep none waiting for ever."""
        now = self.session.now
        due = [r for r in self.missed_twice.values() if is_due(r, now=now) or self._proved(r)]
        first = now.toordinal() % len(due) if due else 0
        return [*due[first:], *due[:first]][:ASKED]

    def ask(self, asked: Sequence[Stored]) -> Saved:
        """About one after the other, unless so much is missing that no answer is believed."""
        if OWN_WORD.holds(self.recent):
            self._hold_back()
            return Saved()
        saved, unanswered = Saved(), 0
        for row in asked:
            self.check_stop()
            try:
                saved += self._confirm(row)
            except NO_ANSWER as reason:
                user_id = self.session.user.id
                log.info("nothing_said", extra={"user_id": user_id, "reason": str(reason)})
                unanswered += 1
            if unanswered == UNANSWERED:
                break
        return saved

    def _confirm(self, row: Stored) -> Saved:
        """By Foursquare's own word, or by the list's where there is no such endpoint."""
        try:
            if row.held_back_since is not None and not self.truthful:
                self.truthful = ensure_truthful(self.session)
            return confirm(self.session, row)
        except RequestRefused as refusal:
            if not has_no_endpoint(refusal):
                raise
            if LIST_ALONE.holds(self.recent):
                self._hold_back()
            if not self._proved(row):
                raise
            return mark_deleted(self.session, row)

    def _hold_back(self) -> None:
        with self.session.transaction() as conn:
            deletions.hold_back(conn, self.session.user.id, at=self.session.now)

    def _proved(self, row: Stored) -> bool:
        """Return True if the list's own word is enough: two looks that had to show it did not, it
        is not one of too many, and it was met nowhere else since. Its time may have been edited
        to anything, and its place with it, unless the list goes by what never changes."""
        assert row.missing_since is not None
        met_nowhere = self.order is Order.ENTERED or compared_since(
            self.known, row.missing_since, now=self.session.now
        )
        return (
            row.row in self.missed_twice
            and row.held_back_since is None
            and not LIST_ALONE.holds(self.recent)
            and met_nowhere
        )


def compared_since(known: Sequence[VerifiedSpan], at: datetime, *, now: datetime) -> bool:
    """Return True if the whole history was compared after that: stretches without a gap, newest
    first, down to its beginning. One compared in the future was dated by a wrong clock."""
    if not known or known[-1].oldest is not None or known[0].newest < at:
        return False
    joined = all(above.oldest and above.oldest <= below.newest for above, below in pairwise(known))
    return joined and all(at < span.at <= now for span in known)
