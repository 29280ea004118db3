"""A page that was received, and what it shows of the list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from checkinsync.model.listing import Page
from checkinsync.model.span import Order, PageOrder, Span


@dataclass(frozen=True, slots=True)
class Received:
    """A page, with the order of its items and the span that they fill."""

    page: Page
    listed: PageOrder
    span: Span | None
    at: datetime
    """Aware, UTC."""

    @classmethod
    def of(cls, page: Page, *, now: datetime, known: Order | None = None) -> Received:
        """Return the page as received now; `known`: by what its list is ordered."""
        listed = PageOrder.of(page.items, now=now)
        return cls(page, listed, listed.span(top=page.offset == 0, known=known), now)

    @property
    def order(self) -> Order | None:
        """By what the list is ordered, if this page tells."""
        return self.listed.order
