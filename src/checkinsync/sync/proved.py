"""What the pages of a walk have proved so far, and what is written down of it.

A step: it decides nothing (that is `evidence`, `reconcile` and `coverage`) and commits nothing.
"""

from __future__ import annotations

from datetime import datetime

from checkinsync.model.checkin import Page
from checkinsync.model.span import EVERYTHING, Span, Verified, first_at
from checkinsync.store import verified_spans
from checkinsync.store.pool import Connection
from checkinsync.sync.coverage import covered
from checkinsync.sync.save_page import note_unshown


def note_verified(conn: Connection, user_id: int, compared: Verified) -> None:
    """A stretch of the history was compared with Foursquare just now."""
    verified_spans.keep(conn, user_id, covered(verified_spans.load(conn, user_id), compared))


class Proved:
    """The last page of a walk that showed anything, and what it proves."""

    def __init__(self) -> None:
        self._last: Page | None = None
        self._span: Span | None = None

    def take(self, page: Page, span: Span | None) -> None:
        """One page more; `span`: what it proves, if anything."""
        if page.items:
            self._last, self._span = page, span

    @property
    def oldest(self) -> datetime | None:
        """Down to here all has been compared; None: it is not known."""
        return None if self._span is None else self._span.oldest

    def place(self, *, now: datetime) -> int:
        """The place in the list down to which all has been compared: see `oldest`."""
        if self._last is None or self.oldest is None:
            return 0
        return self._last.offset + first_at(self._last.items, self.oldest, now=now)

    def note_end(self, conn: Connection, user_id: int, *, now: datetime) -> None:
        """The end of the list was seen: what is stored below it was not shown."""
        if self._last is None:
            note_unshown(conn, user_id, (), EVERYTHING, now=now)
        elif self._span is not None:
            whole = self._span.to_the_end(complete=True)
            shown = {item.key for item in self._last.items}
            note_unshown(conn, user_id, shown, whole, now=now)
