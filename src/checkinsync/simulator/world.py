"""Deterministic Foursquare histories: accounts, their check-ins, and how those change.

Everything follows from the seed and the times handed in. It knows nothing of HTTP.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from checkinsync.simulator import items, venues
from checkinsync.simulator.history import Account, Entry
from checkinsync.simulator.variants import variants
from checkinsync.simulator.venues import Json

NEWEST = 1_750_000_000
"""Creation instant of an account's newest check-in, where no other is asked for (June 2025)."""

BIRTH = 1_236_729_600
"""March 2009: Foursquare opened. Generated histories begin later."""

USUAL_GAP = 9 * 3600
"""Mean seconds between two check-ins of a busy user; less where the years would not suffice."""

Rejection = Literal["invalid_auth", "not_authorized"]

FIRST_NAMES = ("Ada", "Ben", "Chloé", "Dmitri", "Emi", "Farid", "Grete", "Hiro", "Inés", "Jürgen")
LAST_NAMES = ("Lovelace", "Okafor", "Dupont", "Íñiguez", "Sato", "Haddad", "Weil", None)


class World:
    """All accounts, the places they go to, and which tokens have been revoked."""

    def __init__(self, seed: int = 1, *, places: int = 120) -> None:
        self.seed = seed
        self.accounts: dict[str, Account] = {}
        self.revoked: dict[str, Rejection] = {}
        self.drifted = 0
        """Times that the venues' counters have drifted."""
        self._rng = random.Random(f"world/{seed}")
        self._places = [venues.venue(self._rng) for _ in range(places)]

    @classmethod
    def generate(
        cls, *, seed: int = 1, accounts: int = 3, count: int = 300, newest: int = NEWEST
    ) -> World:
        """A world of accounts `token-1`, `token-2`, …, of `count` check-ins each."""
        world = cls(seed)
        for number in range(1, accounts + 1):
            world.add_account(f"token-{number}", count=count, newest=newest)
        return world

    def add_account(
        self,
        token: str,
        *,
        count: int = 0,
        newest: int = NEWEST,
        gap: float | None = None,
        late: float = 0.0,
        first_name: str | None = None,
        last_name: str | None = "",
    ) -> Account:
        """Add an account with a made-up history.

        `newest` is the creation instant of the newest check-in, `gap` the mean number of seconds
        between two of them, `late` the share of those that were entered up to a year later.
        A `last_name` of None is missing in the API's answer; names are made up if not given.
        """
        number = len(self.accounts)
        account = Account(
            token=token,
            user_id=str(1_000_001 + number),
            first_name=first_name or FIRST_NAMES[number % len(FIRST_NAMES)],
            last_name=LAST_NAMES[number % len(LAST_NAMES)] if last_name == "" else last_name,
        )
        gap = gap or min(USUAL_GAP, 0.9 * (newest - BIRTH) / max(count, 1))
        rng = random.Random(f"history/{self.seed}/{token}")
        account.add(*self._history(rng, token, count=count, newest=newest, gap=gap, late=late))
        self.accounts[token] = account
        return account

    def add(
        self,
        token: str,
        item: object = ...,
        *,
        created_at: int | None = None,
        entered_at: int | None = None,
        **changes: object,
    ) -> str:
        """Add one check-in, given or made up, and return its id.

        `created_at` without `entered_at` is a check-in made just then; with a later `entered_at`
        it was entered late. Of a given `item` both are read from the item where they can be.
        """
        account = self.accounts[token]
        if item is ...:
            at = NEWEST if created_at is None else created_at
            entered = at if entered_at is None else entered_at
            item_id = items.checkin_id(self._rng, entered)
            item = items.checkin(self._rng, self._place(), item_id=item_id, created_at=at)
        if isinstance(item, dict):
            item = {**item, **changes}
        entry = _entry(item, created_at, entered_at)
        account.add(entry)
        return entry.id

    def add_text(self, token: str, text: str, *, created_at: int, item_id: str = "") -> None:
        """Add one check-in as a text that need not be JSON, of that time (Unix seconds).

        `item_id`: the id under which it is kept here.
        """
        entry = Entry(item_id, created_at, created_at)
        entry.write(text.encode())
        self.accounts[token].add(entry)

    def add_group(self, token: str, size: int, *, at: int) -> list[str]:
        """Add `size` check-ins made in the same second `at`; their ids."""
        return [self.add(token, created_at=at) for _ in range(size)]

    def add_variants(self, token: str, *, newest: int = NEWEST) -> dict[str, str]:
        """Add every odd check-in there is; the id under which each is kept here, by its name."""
        odd = variants(seed=self.seed, newest=newest)
        return {
            name: self.add(token, item, created_at=_time_of_none(item, newest - 3600 * n - 1800))
            for n, (name, item) in enumerate(odd.items())
        }

    def delete(self, token: str, item_id: str) -> None:
        """Delete a check-in upstream; KeyError if there is none."""
        self.accounts[token].delete(item_id)

    def leave_out(self, token: str, ids: Iterable[str]) -> None:
        """List all check-ins but these, as if the list were damaged; no ids: it is whole again."""
        self.accounts[token].leave_out(ids)

    def edit(self, token: str, item_id: str, **changes: object) -> None:
        """Replace keys of a check-in (`shout`, `photos`, `createdAt`, …); its id stays."""
        self.accounts[token].edit(item_id, **changes)

    def add_photo(self, token: str, item_id: str) -> str:
        """Add a photo to a check-in, as people do hours later; the photo's id."""
        item = self._item(token, item_id)
        photo = items.photo(self._rng, item["createdAt"] + 7200)
        shown = [*item.get("photos", {}).get("items", []), photo]
        self.edit(token, item_id, photos={"count": len(shown), "items": shown})
        return str(photo["id"])

    def like(self, token: str, item_id: str, *names: str) -> None:
        """Let just the friends of these first names like a check-in."""
        self.edit(token, item_id, likes=items.likes(*names))

    def rename_venue(self, venue_id: str, name: str) -> None:
        """Give a venue another name; check-ins show the present one, old check-ins too."""
        self._show(venue_id, self.venue(venue_id) | {"name": name})

    def close_venue(self, venue_id: str) -> None:
        """Close a venue for good."""
        self._show(venue_id, self.venue(venue_id) | {"closed": True})

    def merge_venue(self, venue_id: str, into: str) -> None:
        """Merge a venue into another one: all its check-ins show the other."""
        self._show(venue_id, self.venue(into))

    def venue(self, venue_id: str) -> Json:
        """The venue of this id, as check-ins show it; KeyError if there is none."""
        found = next((place for place in self._places if place["id"] == venue_id), None)
        return found or next(self._odd_venues(venue_id))

    def drift(self) -> None:
        """Let all counters of all venues move on; that is no edit of any check-in."""
        self.drifted += 1

    def revoke(self, token: str, error_type: Rejection = "invalid_auth") -> None:
        """Let the API reject this token from now on, by one of its two ways to say so."""
        self.revoked[token] = error_type

    def grant(self, account: Account) -> str:
        """The token of an account that has just logged in: a new one, if the old was revoked."""
        if account.token in self.revoked:
            del self.accounts[account.token]
            account.token = f"{account.token}-again"
            self.accounts[account.token] = account
        return account.token

    def _history(
        self, rng: random.Random, token: str, *, count: int, newest: int, gap: float, late: float
    ) -> Iterator[Entry]:
        at = newest
        for number in range(count):
            entered = at
            if late and rng.random() < late:
                entered = min(newest, at + rng.randint(3600, 365 * 86_400))
            item_id = items.checkin_id(rng, entered)
            yield self._lazy(f"{self.seed}/{token}/{number}", item_id, at, entered)
            at = max(BIRTH, at - 1 - int(min(rng.expovariate(1 / gap), 8 * gap)))

    def _lazy(self, seed: str, item_id: str, created_at: int, entered_at: int) -> Entry:
        def make() -> Json:
            rng = random.Random(seed)
            return items.checkin(rng, self._place(rng), item_id=item_id, created_at=created_at)

        return Entry(item_id, created_at, entered_at, make)

    def _place(self, rng: random.Random | None = None) -> Json:
        """A place that users go to: to a few often, to many rarely."""
        chance = (rng or self._rng).random() ** 2
        return self._places[int(chance * len(self._places))]

    def _item(self, token: str, item_id: str) -> Any:
        entry = self.accounts[token].entry(item_id)
        if entry is None:
            raise KeyError(item_id)
        return entry.item

    def _show(self, venue_id: str, venue: Json) -> None:
        self._places = [venue if place["id"] == venue_id else place for place in self._places]
        for account in self.accounts.values():
            account.show_venue(venue_id, venue)

    def _odd_venues(self, venue_id: str) -> Iterator[Json]:
        """A venue that stands in given items only."""
        for account in self.accounts.values():
            for item in account.items:
                shown = item.get("venue") if isinstance(item, dict) else None
                if shown and shown["id"] == venue_id:
                    yield shown
        raise KeyError(venue_id)


def _entry(item: object, created_at: int | None, entered_at: int | None) -> Entry:
    """The entry of an item, its place in the list read from it where it can be."""
    of_item = item if isinstance(item, dict) else {}
    item_id = of_item.get("id")
    if created_at is None:
        created_at = _whole(of_item.get("createdAt")) or id_instant(item_id) or NEWEST
    if entered_at is None:
        entered_at = id_instant(item_id) or created_at
    entry = Entry(str(item_id), created_at, entered_at)
    entry.item = item
    return entry


def _time_of_none(item: object, at: int) -> int | None:
    """The time at which an item stands that is not an object, and so has none of its own."""
    return None if isinstance(item, dict) else at


def _whole(value: object) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdigit() else None


def id_instant(item_id: object) -> int | None:
    """The creation instant that an id of 24 hex digits begins with (Unix seconds)."""
    if not isinstance(item_id, str) or len(item_id) != 24:
        return None
    try:
        return int(item_id[:8], 16)
    except ValueError:
        return None
