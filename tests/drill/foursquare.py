"""The simulated Foursquare of a world: its users, its behaviour and its changes, by seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checkinsync.simulator.history import Account, Entry
from checkinsync.simulator.server import Server, Switches
from checkinsync.simulator.world import BIRTH, World

DAY = 86_400
NAMES = ("Ada", "Ben", "Chloé", "Dmitri", "Emi", "Farid", "Grete", "Hiro")
SMALL = (0, 1, 3, 20, 60, 150, 249, 250, 251, 400, 700, 1000, 1500)
LARGE = 5000
UNNAMED = frozenset({"None", ""})
"""The simulator's names for the odd items without a usable id."""

BRAKES = {True: (0.20, 12), False: (0.05, 5)}
"""Share of a user's check-ins, or number if that is more, that may be marked as deleted within 30
days; by whether Foursquare can be asked about each."""

ALLOWED_SHARE, ALLOWED_FLOOR = 0.03, 3
"""Share of a history, or number of a short one (at most half), that is deleted little by little:
so little must not be held back."""

FAR_APART = 60
"""Nights for which a deletion counts towards this share."""


@dataclass
class Deletion:
    """A check-in that its user deleted."""

    at: float
    """Unix seconds."""
    held: bool
    """One of too many at once for the program to believe it."""
    dated: bool
    """Its id holds the same time as `createdAt`: its place in the list is certain."""


@dataclass(eq=False)
class Person:
    """A user, and what the drill knows of their list."""

    id: int
    """`users.id`."""
    account: Account
    placed: dict[str, float] = field(default_factory=dict)
    """Time (Unix seconds) at which a check-in came to its place in the list, if after the start."""
    deleted: dict[str, Deletion] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Ids of the check-ins whose time was edited."""
    odd: set[str] = field(default_factory=set)
    """Ids of the odd items, which are not changed any further."""
    whole_again: int = 0
    """Number of the night from which a damaged list is whole again; 0: it is whole."""
    doubted: bool = False
    """So much was deleted or left out that later deletions may be held back, too."""

    @property
    def token(self) -> str:
        return self.account.token


@dataclass(frozen=True)
class Place:
    """A check-in's place in the list."""

    created_at: int
    entered_at: int


class Foursquare:
    """A server, its users and their changes; all of it follows from the seed."""

    def __init__(self, seed: int, *, clock: Callable[[], float]) -> None:
        self.chance = random.Random(f"drill/{seed}")
        self.clock = clock
        self.server = Server(World(seed), switches(self.chance), now=clock)
        self.people: list[Person] = []
        self.counts = self._counts()
        self.application_rows = self.chance.random() < 0.4
        self.constraint = self.chance.random() < 0.5
        """The application's unique constraint exists."""

    def _counts(self) -> list[int]:
        counts = [self.chance.choice(SMALL) for _ in range(self.chance.randint(3, 5))]
        if self.chance.random() < 0.2:
            counts[0] = LARGE
        return counts

    @property
    def world(self) -> World:
        return self.server.world

    def chance_for(self, night: int, nth: int) -> random.Random:
        """Return random numbers that do not depend on what was drawn before."""
        return random.Random(f"drill/{self.world.seed}/{night}/{nth}")

    def account(self, count: int, *, newest: float) -> Account:
        """Add an account."""
        number = len(self.world.accounts)
        return self.world.add_account(
            f"A-TOKEN-NOBODY-MAY-SEE-{self.world.seed:04X}-{number:04X}",
            count=count,
            newest=int(newest),
            gap=self.chance.uniform(0.3, 3) * DAY if count < LARGE else None,
            late=0.02,
            first_name=NAMES[number % len(NAMES)],
        )

    # --- the truth --------------------------------------------------------------------------------

    def listed(self, person: Person) -> dict[str, Place]:
        """Return everything that a user's list can show."""
        with self.server.lock:
            shown = set(self.server.shown_ids(person.token))
            return {
                entry.id: Place(entry.created_at, entry.entered_at)
                for entry in person.account.entries
                if entry.id in shown
            }

    def there(self, person: Person) -> set[str]:
        """Return the ids that can be asked for one by one."""
        if not self.server.switches.checkin_by_id:
            return set()
        shown = set(self.server.shown_ids(person.token))
        return shown | person.account.unlisted

    # --- changes ----------------------------------------------------------------------------------

    def change(self, chance: random.Random, *, night: int) -> list[str]:
        """Make the changes of a day; return them for the record."""
        happened = []
        with self.server.lock:
            for person in self.people:
                for name, likely in DAILY.items():
                    if chance.random() < likely:
                        happened.append(f"{person.id}: {name}")
                        getattr(self, name)(person, chance)
                if night >= person.whole_again > 0:
                    self._make_whole(person)
            if chance.random() < 0.3:
                self.rename_a_venue(chance)
                happened.append("a venue is renamed, closed or merged")
            if chance.random() < 0.5:
                self.world.drift()
        return happened

    def calm_day(self, person: Person, chance: random.Random, *, night: int) -> None:
        """Add new check-ins only."""
        with self.server.lock:
            if chance.random() < CALM_ADDS:
                self.add(person, chance)
            if night >= person.whole_again > 0:
                self._make_whole(person)

    def add(self, person: Person, chance: random.Random) -> None:
        """Add one to four check-ins of the last day."""
        for _ in range(chance.randint(1, 4)):
            at = int(self.clock()) - chance.randint(60, DAY - 3600)
            self._placed(person, self.world.add(person.token, created_at=at))

    def add_late(self, person: Person, chance: random.Random) -> None:
        """Add a check-in of years ago, entered today."""
        now = int(self.clock())
        at = max(BIRTH, now - chance.randint(200 * DAY, 9 * 365 * DAY))
        self._placed(person, self.world.add(person.token, created_at=at, entered_at=now - 3600))

    def add_offline(self, person: Person, chance: random.Random) -> None:
        """Add a check-in made offline in the last weeks, sent today."""
        now = int(self.clock())
        at = now - chance.randint(DAY, 20 * DAY)
        self._placed(person, self.world.add(person.token, created_at=at, entered_at=now - 7200))

    def add_group(self, person: Person, chance: random.Random) -> None:
        """Add several check-ins of one second."""
        at = int(self.clock()) - chance.randint(60, DAY)
        for item_id in self.world.add_group(person.token, chance.randint(2, 6), at=at):
            self._placed(person, item_id)

    def add_odd(self, person: Person, chance: random.Random) -> None:
        """Add all odd items, once per user."""
        if not person.odd:
            newest = int(self.clock()) - chance.randint(1, 40) * DAY
            for item_id in self.world.add_variants(person.token, newest=newest).values():
                person.odd.add(item_id)
                self._placed(person, item_id)

    def edit_shout(self, person: Person, chance: random.Random) -> None:
        """Edit a shout."""
        if entry := _some(person, chance):
            words = f"edited {chance.getrandbits(32):08x}"
            self.world.edit(person.token, entry.id, shout=words)

    def edit_privacy(self, person: Person, chance: random.Random) -> None:
        """Make a check-in private, or public again."""
        if entry := _some(person, chance):
            private = not is_private(entry.item)
            visibility = "private" if private else "public"
            self.world.edit(person.token, entry.id, private=private, visibility=visibility)

    def add_photo(self, person: Person, chance: random.Random) -> None:
        """Add a photo."""
        if entry := _some(person, chance):
            self.world.add_photo(person.token, entry.id)

    def edit_time(self, person: Person, chance: random.Random) -> None:
        """Edit a time, from some days ago to years ago or the other way round."""
        now = int(self.clock())
        recent = [e for e in _sound(person) if e.created_at > now - 10 * DAY]
        old = [e for e in _sound(person) if e.created_at < now - 100 * DAY]
        far, near = now - chance.randint(600, 900) * DAY, now - chance.randint(1, 6) * DAY
        group, at = (recent, far) if chance.random() < 0.6 else (old, near)
        if group:
            entry = chance.choice(group)
            self.world.edit(person.token, entry.id, createdAt=at)
            person.moved.add(entry.id)
            self._placed(person, entry.id)

    def delete_some(self, person: Person, chance: random.Random) -> None:
        """Delete one check-in or a few, too few to be held back."""
        since = self.clock() - FAR_APART * DAY
        lately = sum(d.at > since for d in person.deleted.values())
        count = len(person.account.entries)
        room = min(max(ALLOWED_FLOOR, int(ALLOWED_SHARE * count)), count // 2) - lately
        for _ in range(min(room, chance.choice((1, 1, 1, 2, 5)))):
            if entry := _some(person, chance):
                self.delete(person, entry.id)

    def delete(self, person: Person, item_id: str, *, held: bool = False) -> None:
        """Delete a check-in, as its user does."""
        entry = person.account.entry(item_id)
        dated = entry is not None and entry.created_at == entry.entered_at
        self.world.delete(person.token, item_id)
        person.deleted[item_id] = Deletion(self.clock(), held, dated)

    def delete_many(self, person: Person, chance: random.Random) -> None:
        """Delete so many that it looks like an error of Foursquare."""
        entries = _sound(person)
        if len(entries) >= 40:
            person.doubted = True
            for entry in chance.sample(entries, int(len(entries) * 0.45)):
                self.delete(person, entry.id, held=True)

    def damage(self, person: Person, chance: random.Random, *, night: int) -> None:
        """Leave out half of the list, for some nights."""
        if not person.whole_again and len(person.account.entries) >= 20:
            person.doubted = True
            person.whole_again = night + chance.randint(1, 4)
            left_out = [e.id for e in person.account.entries if chance.random() < 0.5]
            self.world.leave_out(person.token, left_out)

    def _make_whole(self, person: Person) -> None:
        for item_id in person.account.unlisted:
            self._placed(person, item_id)
        self.world.leave_out(person.token, [])
        person.whole_again = 0

    def rename_a_venue(self, chance: random.Random) -> None:
        """Rename a venue, close it, or merge it into another one."""
        shown = [e.item["venue"]["id"] for p in self.people if (e := _some(p, chance))]
        if len(shown) > 1:
            match chance.choice(("rename", "close", "merge")):
                case "rename":
                    self.world.rename_venue(shown[0], f"Renamed {chance.getrandbits(24):06x}")
                case "close":
                    self.world.close_venue(shown[0])
                case "merge" if shown[0] != shown[1]:
                    self.world.merge_venue(shown[0], into=shown[1])

    def _placed(self, person: Person, item_id: str) -> None:
        person.placed[item_id] = self.clock()


DAILY = {
    "add": 0.7,
    "add_late": 0.12,
    "add_offline": 0.12,
    "add_group": 0.04,
    "add_odd": 0.02,
    "edit_shout": 0.3,
    "edit_privacy": 0.05,
    "add_photo": 0.2,
    "edit_time": 0.1,
    "delete_some": 0.12,
}
"""Changes of a user's list, with their probability per day."""

CALM_ADDS = 0.5

AMIDST = ("add", "add_late", "delete_some", "edit_time", "edit_shout", "add_group")
"""Changes in the middle of a walk."""


def switches(chance: random.Random) -> Switches:
    """Draw the behaviour where that of the real Foursquare is unknown."""
    return Switches(
        order=chance.choice(("created", "id")),
        sort_ignored=chance.random() < 0.3,
        page_cap=chance.choice((None, None, None, 100, 40)),
        count_excess=chance.choice((0, 0, 7)),
        hide_every=chance.choice((0, 0, 0, 9)),
        checkin_by_id=chance.random() < 0.7,
        token_in=chance.choice(("both", "both", "header", "query")),
        header_case=chance.choice(("title", "lower", "upper")),
        reset_header=chance.choice(("true", "true", "absent", "past", "absurd")),
        deprecated=chance.random() < 0.1,
        bare=chance.random() < 0.2,
        drift=chance.random() < 0.2,
        bot_wall=chance.random() < 0.5,
    )


def _sound(person: Person) -> list[Entry]:
    """Return the user's check-ins that may be edited and deleted, newest first."""
    whole = person.account.newest_first()
    return [entry for entry in whole if entry.id not in person.odd]


def _some(person: Person, chance: random.Random) -> Entry | None:
    """Draw one of them, most often a recent one."""
    entries = _sound(person)
    return entries[int(chance.random() ** 3 * len(entries))] if entries else None


def begins(seed: int) -> datetime:
    """Return the time of a world's first night, far enough in the past for all its nights."""
    chance = random.Random(f"drill/{seed}/begins")
    first = datetime.fromisoformat("2025-02-03T02:00:00+00:00")
    return first + timedelta(days=chance.randint(0, 300))


def content(item: dict) -> tuple[object, ...]:
    """Return the parts of a check-in to compare: time, shout, privacy, number of photos."""
    photos = item.get("photos") or {}
    shown = photos.get("items", []) if isinstance(photos, dict) else []
    return (
        int(item["createdAt"]),
        item.get("shout") or None,
        is_private(item),
        len(shown),
    )


def is_private(item: dict) -> bool:
    """Return True if others may not see a check-in."""
    shown = item.get("visibility") in {None, "friends", "public"}
    return bool(item.get("private")) or not shown


def as_application(entry: Entry) -> tuple[str | None, str, int]:
    """Return a check-in as the application stores it: venue, its name and the time; no id."""
    item = json.loads(entry.encoded)
    venue = item.get("venue") or {}
    return venue.get("id"), venue.get("name") or "Unknown", entry.created_at
