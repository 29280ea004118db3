"""One account's check-ins: kept as encoded JSON, listed in the order that the server is set to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from checkinsync.simulator.venues import Json

Order = Literal["created", "id"]


@dataclass(slots=True, eq=False)
class Entry:
    """One check-in. Its JSON is made when first asked for: a history of 70,000 costs no wait.

    `created_at` and `entered_at` (Unix seconds) say where it stands in the list; they are kept
    beside the item, because some items have no readable time.
    """

    id: str
    created_at: int
    entered_at: int
    make: Callable[[], object] | None = None
    _encoded: bytes = b""

    @property
    def made(self) -> bool:
        """Return True if the JSON exists already."""
        return self.make is None

    @property
    def encoded(self) -> bytes:
        """The item as the server sends it: ASCII, so that even lone surrogates get through."""
        if self.make is not None:
            self.item = self.make()
        return self._encoded

    @property
    def item(self) -> Any:
        """The item as JSON values; a copy, to be assigned when changed."""
        return json.loads(self.encoded)

    @item.setter
    def item(self, item: object) -> None:
        self.write(json.dumps(item, separators=(",", ":")).encode())

    def write(self, text: bytes) -> None:
        """Send just this, which need not be JSON, as the item."""
        self._encoded = text
        self.make = None


@dataclass(eq=False)
class Account:
    """A Foursquare account: its user, their present token, and their check-ins."""

    token: str
    user_id: str
    first_name: str
    last_name: str | None = None
    entries: list[Entry] = field(default_factory=list, repr=False)
    unlisted: frozenset[str] = frozenset()
    """Ids that the list leaves out though they are there, and can be asked for one by one."""
    _listed: dict[Order, list[Entry]] = field(default_factory=dict, repr=False)

    @property
    def ids(self) -> list[str]:
        """The ids of all check-ins, newest first by creation: the truth to compare with."""
        return [entry.id for entry in self.newest_first()]

    @property
    def items(self) -> list[Any]:
        """All check-ins as JSON values, newest first by creation."""
        return [entry.item for entry in self.newest_first()]

    def newest_first(self, order: Order = "created") -> list[Entry]:
        """The whole list in one of its two possible orders; not to be changed."""
        if order not in self._listed:
            shown = [entry for entry in self.entries if entry.id not in self.unlisted]
            self._listed[order] = sorted(shown, key=SORT_KEYS[order], reverse=True)
        return self._listed[order]

    def entry(self, item_id: str) -> Entry | None:
        """The check-in of this id, if there is one."""
        return next((entry for entry in self.entries if entry.id == item_id), None)

    def add(self, *entries: Entry) -> None:
        """Put check-ins into the list."""
        self.entries.extend(entries)
        self._listed.clear()

    def leave_out(self, ids: Iterable[str]) -> None:
        """Leave these, and no others, out of the list."""
        self.unlisted = frozenset(ids)
        self._listed.clear()

    def delete(self, item_id: str) -> None:
        """Delete a check-in; KeyError if there is none of this id."""
        self.entries.remove(self._known(item_id))
        self._listed.clear()

    def edit(self, item_id: str, **changes: object) -> Any:
        """Replace keys of a check-in; a new `createdAt` moves it in the list. The edited item."""
        entry = self._known(item_id)
        entry.item = item = {**entry.item, **changes}
        if isinstance(item["createdAt"], int):
            entry.created_at = item["createdAt"]
        self._listed.clear()
        return item

    def show_venue(self, venue_id: str, venue: Json) -> None:
        """Show `venue` in every check-in that showed the venue of this id."""
        needle = venue_id.encode()
        for entry in self.entries:
            if entry.made and needle in entry.encoded:
                entry.item = with_venue(entry.item, venue_id, venue)

    def _known(self, item_id: str) -> Entry:
        entry = self.entry(item_id)
        if entry is None:
            raise KeyError(item_id)
        return entry


SORT_KEYS: dict[Order, Callable[[Entry], tuple[int, str]]] = {
    "created": lambda entry: (entry.created_at, entry.id),
    "id": lambda entry: (entry.entered_at, entry.id),
}
"""The real list has one of these two orders; ids decide between check-ins of one second."""


def with_venue(item: Any, venue_id: str, venue: Json) -> Any:
    """The item showing `venue`, if it is at the venue of this id."""
    shown = item.get("venue") if isinstance(item, dict) else None
    if isinstance(shown, dict) and shown.get("id") == venue_id:
        return {**item, "venue": venue}
    return item
