"""The spans of a history that were compared with Foursquare, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from checkinsync.model.listing import Page
from checkinsync.model.span import EVERYTHING, Span, VerifiedSpan, first_at
from checkinsync.store import verified_spans
from checkinsync.store.pool import Connection
from checkinsync.sync.save_page import mark_unshown

BEGINNING = datetime.min.replace(tzinfo=UTC)


def covered(known: Iterable[VerifiedSpan], new: VerifiedSpan) -> list[VerifiedSpan]:
    """Return all spans after `new` was compared, newest first: it replaces what it overlaps."""
    if _start(new) >= new.newest:
        return list(known)  # an empty span
    kept = [part for span in known for part in _outside(span, new)]
    return sorted([*kept, new], key=lambda span: span.newest, reverse=True)


def _outside(span: VerifiedSpan, new: VerifiedSpan) -> Iterator[VerifiedSpan]:
    """Yield the parts of a span above and below another one."""
    if span.newest > new.newest:
        yield replace(span, oldest=max(new.newest, _start(span)))
    if _start(span) < _start(new):
        yield replace(span, newest=min(_start(new), span.newest))


def _start(span: VerifiedSpan) -> datetime:
    return span.oldest or BEGINNING


def add_verified(conn: Connection, user_id: int, compared: VerifiedSpan) -> None:
    """Store that a span was compared with Foursquare."""
    verified_spans.keep(conn, user_id, covered(verified_spans.load(conn, user_id), compared))


class WalkCoverage:
    """The part of the list that a walk has compared: its last page with items, and their span."""

    def __init__(self) -> None:
        self._last: Page | None = None
        self._span: Span | None = None

    def take(self, page: Page, span: Span | None) -> None:
        """Take a page in; `span`: None if it is in no known order."""
        if page.items:
            self._last, self._span = page, span

    @property
    def oldest(self) -> datetime | None:
        """The instant down to which everything was compared; None: unknown."""
        return None if self._span is None else self._span.oldest

    def place(self, *, now: datetime) -> int:
        """Return the position of `oldest` in the list."""
        if self._last is None or self.oldest is None:
            return 0
        return self._last.offset + first_at(self._last.items, self.oldest, now=now)

    def note_end(self, conn: Connection, user_id: int, *, now: datetime) -> None:
        """Mark what is stored below the last page as not shown: the list has ended."""
        if self._last is None:
            mark_unshown(conn, user_id, (), EVERYTHING, now=now)
        elif self._span is not None:
            whole = self._span.to_the_end(complete=True)
            mark_unshown(conn, user_id, {item.key for item in self._last.items}, whole, now=now)
