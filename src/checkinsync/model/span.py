"""Spans: the stretch of a list of which a page shows every check-in.

Foursquare does not document whether "newest first" means by `createdAt` or by the instant in the
id. A page is in order by one of them or by both, or it proves nothing; what it proves holds under
either order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from checkinsync.model.checkin import Checkin, Item, instant_of_id

AFTER_ALL_IDS = "\U0010ffff"
"""Sorts after all there are, those that are no hex digits too."""


class Order(Enum):
    """The instant of a check-in by which a list is ordered."""

    CREATED = "created"
    """`createdAt`."""
    ENTERED = "id"
    """The instant in the id: when the check-in was entered."""


@dataclass(frozen=True, slots=True)
class PageOrder:
    """Both instants of a page's readable check-ins, in the order of the page."""

    created: tuple[datetime, ...]
    entered: tuple[datetime, ...]
    """Only of ids that hold an instant which is not in the future."""
    last: datetime | None
    """The later instant of the last check-in that has both; past the window only if this is."""
    complete: bool = True
    """False: the page holds an item without an id, which may be any check-in."""

    @classmethod
    def of(cls, items: Sequence[Item], *, now: datetime) -> PageOrder:
        """Return the instants of a page; unreadable items are ignored."""
        checkins = [item for item in items if isinstance(item, Checkin)]
        created = tuple(checkin.created_at for checkin in checkins)
        instants = [(c.created_at, instant_of_id(c.id)) for c in checkins]
        both = [(created, at) for created, at in instants if at is not None and at <= now]
        last = max(both[-1]) if both else created[-1] if created else None
        complete = len(checkins) == len(items) or not any(item.nameless for item in items)
        return cls(created, tuple(at for _, at in both), last, complete)

    @property
    def orders(self) -> frozenset[Order]:
        """The orders, newest first, that this page may be in; empty: it is in no known order."""
        may_be = set()
        if self.created and _descends(self.created):
            may_be.add(Order.CREATED)
        if self.entered and _descends(self.entered):
            may_be.add(Order.ENTERED)
        return frozenset(may_be)

    @property
    def order(self) -> Order | None:
        """The order of the whole list if this page rules out the other one, else None."""
        [*orders] = self.orders
        return orders[0] if len(orders) == 1 and self.created and self.entered else None

    def span(self, *, top: bool, known: Order | None = None) -> Span | None:
        """Return the span of the page; None if it is in no known order.

        `top`: it begins with the list's first item. `known`: the order of the list, if another
        page has shown it.
        """
        may_be = self.orders
        if not may_be:
            return None
        orders = frozenset({known}) if known in may_be else may_be
        entered = self.entered or self.created
        ends = {
            Order.CREATED: (self.created[0], self.created[-1]),
            Order.ENTERED: (entered[0], entered[-1]),
        }
        return Span(
            created_after=min(self.created),
            created_before=None if top else max(self.created),
            entered_after=min(entered),
            entered_before=None if top else max(entered),
            oldest=max(ends[order][1] for order in orders),
            newest=None if top else min(ends[order][0] for order in orders),
            orders=orders,
            complete=self.complete,
        )

    def reaches(self, start: datetime) -> int:
        """Count the check-ins that are not older than `start`, under the order that counts more."""
        return max(sum(at >= start for at in instants) for instants in (self.created, self.entered))


@dataclass(frozen=True, slots=True)
class Span:
    """The time between two instants, both excluded, of which everything was shown.

    None: no border.
    """

    created_after: datetime | None = None
    created_before: datetime | None = None
    entered_after: datetime | None = None
    entered_before: datetime | None = None
    oldest: datetime | None = None
    """The lower end under either order. None: the beginning of the history."""
    newest: datetime | None = None
    """The upper end under either order. None: the top of the list."""
    orders: frozenset[Order] = frozenset(Order)
    """The orders that the list may be in."""
    complete: bool = True
    """False: a check-in that was not shown may still exist. The span assumes that a short page is
    the end of the list, or the page holds an item without an id, which may be any check-in."""

    @classmethod
    def of(
        cls, items: Sequence[Item], *, top: bool, now: datetime, known: Order | None = None
    ) -> Span | None:
        """Return the span of a page; see `PageOrder.span`."""
        return PageOrder.of(items, now=now).span(top=top, known=known)

    def to_the_end(self, *, complete: bool) -> Span:
        """Return the same span down to the beginning, if the list ends with it."""
        return replace(
            self,
            created_after=None,
            entered_after=None,
            oldest=None,
            complete=complete and self.complete,
        )

    def joined(self, below: Span) -> Span | None:
        """Return this span and the one that continues it as one, the border between them included.

        None if the list can't be in one order in both.
        """
        orders = self.orders & below.orders
        return (
            replace(
                below,
                created_before=_later(self.created_before, below.created_before),
                entered_before=_later(self.entered_before, below.entered_before),
                created_after=_earlier(self.created_after, below.created_after),
                entered_after=_earlier(self.entered_after, below.entered_after),
                newest=self.newest,
                orders=orders,
                complete=self.complete and below.complete,
            )
            if orders
            else None
        )

    def holds(self, created: datetime, entered: datetime | None) -> bool:
        """Return True if a check-in would have to be inside under each possible order."""
        inside = self._inside(created, entered)
        return all(inside[order] for order in self.orders)

    def surely_holds(self, created: datetime, entered: datetime | None) -> bool:
        """Return True if a check-in would have to be inside by both instants, and the span is
        complete."""
        return self.complete and all(self._inside(created, entered).values())

    def _inside(self, created: datetime, entered: datetime | None) -> dict[Order, bool]:
        return {
            Order.CREATED: _between(created, self.created_after, self.created_before),
            Order.ENTERED: entered is not None
            and _between(entered, self.entered_after, self.entered_before),
        }

    def borders(self, *, now: datetime) -> Borders:
        """Return the ends between which rows have to be looked for."""
        by_time, by_id = Order.CREATED in self.orders, Order.ENTERED in self.orders
        entered_before = min(self.entered_before or now, now) + timedelta(seconds=1)
        return Borders(
            self.created_after if by_time else None,
            self.created_before if by_time else None,
            id_from(self.entered_after) if by_id else "",
            id_from(entered_before) if by_id else AFTER_ALL_IDS,
        )


@dataclass(frozen=True, slots=True)
class Borders:
    """The ends of a span by the instants by which the list may be ordered; the others exclude
    nothing. Wider than the span: it includes its ends."""

    created_after: datetime | None
    created_before: datetime | None
    first_id: str
    last_id: str
    """The first id behind the span."""

    def hold(self, checkin: Checkin) -> bool:
        """Return True if a check-in is between them."""
        return (
            (self.created_after is None or checkin.created_at >= self.created_after)
            and (self.created_before is None or checkin.created_at <= self.created_before)
            and self.first_id <= checkin.id < self.last_id
        )


EVERYTHING = Span()
"""The span of an empty list."""


@dataclass(frozen=True, slots=True)
class VerifiedSpan:
    """A stretch of a user's history, last compared with Foursquare at `at`."""

    newest: datetime
    oldest: datetime | None
    """None: the beginning of the history."""
    at: datetime


def first_at(items: Sequence[Item], at: datetime, *, now: datetime) -> int:
    """Return the number of items of a page above the first one of that instant."""
    for number, item in enumerate(items):
        if isinstance(item, Checkin) and at in {item.created_at, entered_at(item.id, now=now)}:
            return number
    return len(items)


def entered_at(checkin_id: str, *, now: datetime) -> datetime | None:
    """Return the instant in a check-in's id; None if it has none or it is in the future."""
    at = instant_of_id(checkin_id)
    return None if at is None or at > now else at


def id_from(at: datetime | None) -> str:
    """Return the first id of that second: an id begins with its instant in hex, eight digits."""
    return "" if at is None else f"{max(0, int(at.timestamp())):08x}"


def _descends(instants: Sequence[datetime]) -> bool:
    return sorted(instants, reverse=True) == list(instants)  # at once, where they do


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else min(one, other)


def _between(at: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or at > after) and (before is None or at < before)
