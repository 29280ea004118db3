"""An operator's word that what the list shows no more was deleted: each check-in is asked about.

Where Foursquare answers no such question, its list is read once more, and has to have stood still.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from checkinsync.errors import RequestRefused, TokenRejected
from checkinsync.model.changes import Stored
from checkinsync.model.listing import Page, Window
from checkinsync.store import checkins
from checkinsync.sync.confirm_deletions import (
    confirm,
    ensure_truthful,
    has_no_endpoint,
    mark_deleted,
)
from checkinsync.sync.session import Session
from checkinsync.sync.walk import Walk
from checkinsync.verify import queries

UNANSWERED = 10
"""After so many check-ins without an answer the others wait for the next verification."""

TRIES = 2
"""Questions that have to be refused before a server counts as one that answers none."""

NO_ANSWER = "Foursquare gave no answer about them"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SecondLook:
    """The list read once more, from its top to its end."""

    walk: Walk
    keys: set[str] = field(default_factory=set)
    totals: set[int | None] = field(default_factory=set)
    nameless: bool = False

    def take(self, page: Page, *, stored: int | None) -> None:
        """Take a page in. `stored`: as for `Walk.take`."""
        self.walk.take(page, stored=stored)
        self.keys.update(item.key for item in page.items)
        self.totals.add(page.total)
        self.nameless = self.nameless or any(item.nameless for item in page.items)

    def doubt(self, shown: set[str], totals: set[int | None], *, extra: int) -> str | None:
        """Return why what neither look has shown may be there all the same, or None.

        `shown`, `totals`: the first look's; `extra`: how many check-ins neither has shown.
        """
        if self.walk.problem is not None:
            return "its list could not be read twice"
        if self.keys != shown or len(self.totals | totals) != 1:
            return "its list changed while it was read twice"
        if self.nameless:
            return "its list holds items without an id, which may be any check-in"
        [total] = self.totals
        if not self.keys or (total is not None and total - len(self.keys) >= extra):
            return f"its list shows {len(self.keys)} check-ins and counts {total}"
        return None


@dataclass(slots=True)
class Acceptance:
    """Confirms a user's deletions; keeps what it has read over a rate limit."""

    check_stop: Callable[[], None]
    begun: bool = False
    refusal: str | None = None
    """Half a sentence: why some of them are left as they are."""
    second: SecondLook | None = None

    def run(self, session: Session, extra: Sequence[Stored], *, totals: set[int | None]) -> None:
        """Mark what is deleted of `extra`, which the list did not show; what Foursquare knows by
        its id counts as shown from now on.

        `totals`: the list's own, as its pages told them. Raises what ends a verification; what was
        marked until then stays.
        """
        self.begun, self.refusal = True, None
        if not extra:
            return
        try:
            can_ask = self._can_ask(session, extra[0])
        except (RequestRefused, TokenRejected):
            self.refusal = NO_ANSWER
            return
        if can_ask:
            self._ask(session, extra)
        else:
            self._look_twice(session, extra, totals)

    def _can_ask(self, session: Session, row: Stored) -> bool:
        """Return False if the server refuses each question about a check-in by its id. Raises as
        `UserClient.checkin` does."""
        assert row.foursquare_id is not None
        for _ in range(TRIES):
            self.check_stop()
            try:
                if not ensure_truthful(session):
                    session.client.checkin(row.foursquare_id)
            except RequestRefused as refusal:
                if not has_no_endpoint(refusal):
                    raise
            else:
                return True
        return False

    def _ask(self, session: Session, extra: Sequence[Stored]) -> None:
        unanswered = 0
        for row in extra:
            self.check_stop()
            try:
                if not confirm(session, row).gone:
                    with session.transaction() as conn:
                        queries.add_known_by_id(conn, session.user.id, row, at=session.now)
            except (RequestRefused, TokenRejected) as reason:
                log.info("nothing_said", extra={"user_id": session.user.id, "reason": str(reason)})
                self.refusal = NO_ANSWER
                unanswered += 1
            if unanswered == UNANSWERED:
                break

    def _look_twice(
        self, session: Session, extra: Sequence[Stored], totals: set[int | None]
    ) -> None:
        """On the operator's word and the list's, which has to show twice the same to its end."""
        user_id = session.user.id
        if self.second is None:
            self.second = SecondLook(Walk(Window(None), now=session.now, expected=None))
        while (request := self.second.walk.request) is not None:
            self.check_stop()
            page = session.client.page(offset=request.offset, limit=request.limit)
            with session.services.reading() as conn:
                stored = None if page.items else checkins.count(conn, user_id)
            self.second.take(page, stored=stored)
        with session.services.reading() as conn:
            shown = queries.shown_ids(conn, user_id)
        self.refusal = self.second.doubt(shown, totals, extra=len(extra))
        self.second = None
        if self.refusal is None:
            for row in extra:
                mark_deleted(session, row)
