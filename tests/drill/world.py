"""One world from its first night to its last: each day it changes, is played and is checked."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from checkinsync.keys.keyring import Keyring
from checkinsync.simulator.history import Entry
from checkinsync.workers import schema
from drill import script
from drill.checks import Checks, Violation
from drill.clock import Clock
from drill.crew import CrewPlayer
from drill.database import Database, open_database
from drill.foursquare import DAY, SMALL, Foursquare, Person, as_application, begins
from drill.observe import Look, look
from drill.play import KEY, Played, Player

MOST_PEOPLE = 6
MORNINGS = 2
"""Nights at the end that run the real command line."""


@dataclass
class Report:
    """The result of a world; is passed between processes."""

    seed: int
    about: str
    nights: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    """Number of deeds and faults, by name."""
    hits: Counter[str] = field(default_factory=Counter)
    """Number of strikes, by seam."""
    violations: list[Violation] = field(default_factory=list)
    kept: str = ""
    """Folder of all output, logs and databases, after a violation."""
    notes: set[str] = field(default_factory=set)


class World:
    """A world being played."""

    def __init__(
        self,
        seed: int,
        database: Database,
        folder: Path,
        *,
        storm: int,
        calm: int,
        plays: type[Player] = Player,
    ):
        self.seed = seed
        self.database = database
        self.storm = storm
        self.calm = calm
        self.begins = begins(seed)
        clock_path = folder / "clock"
        self.clock = Clock(clock_path)
        self.clock.set(self.begins - timedelta(hours=3))
        self.foursquare = Foursquare(seed, clock=self.clock.seconds)
        self.player = plays(self.foursquare, database, self.clock, folder, clock_path)
        self.checks = Checks(self.foursquare, database, whole=calm >= SETTLES)
        self.keyring = Keyring([KEY])
        self.report = Report(seed, self._about())
        self.large_on = script.large_events(seed, storm)

    def _about(self) -> str:
        s = self.foursquare.server.switches
        parts = [f"{len(self.foursquare.counts)} users", f"order by {s.order}"]
        parts += [f"pages of {s.page_cap}"] if s.page_cap else []
        parts += ["some hidden"] if s.hide_every else []
        parts += [] if s.checkin_by_id else ["no checkins/{id}"]
        parts += ["rows of the application"] if self.foursquare.application_rows else []
        parts += [] if self.foursquare.constraint else ["no unique constraint"]
        return ", ".join(parts)

    def play(self) -> Report:
        """Play all nights: stormy ones, calm ones, and those of the command line."""
        started = time.monotonic()
        if not self.database.small_disk:
            self.report.notes.add("no disk was filled: none may be mounted here")
        with self.foursquare.server:
            self.populate()
            last = self._nights()
            self._mornings(last)
        self._count_hits()
        self.report.seconds = time.monotonic() - started
        return self.report

    # --- nights -----------------------------------------------------------------------------------

    def _nights(self) -> Look:
        before = look(self.foursquare, self.database)
        number, until = 0, self.storm
        while number < until + self.calm:
            number += 1
            calm = number > until
            if number == until + 1:
                self.calm += self._outstanding(before)
            before = self.night(script.night(self.seed, number, calm=calm, large_on=self.large_on))
        if self.calm >= SETTLES:
            self._settled(number, before)
        return look(self.foursquare, self.database)

    def _settled(self, number: int, before: Look) -> None:
        """Check that everything was compared, before and after an operator accepts deletions."""
        at = self.begins + timedelta(days=number)
        self._report(number, list(self.checks.settled(number, at, before)))
        self.player.in_peace("verify", "all", "--repair", "--accept-deletions")
        now = look(self.foursquare, self.database)
        self.checks.ordered.update(now.gone - before.gone)
        ended = self.player.in_peace("verify", "all")
        after = look(self.foursquare, self.database)
        self._report(number, list(self.checks.verified(number, after, ended)))

    def _outstanding(self, before: Look) -> int:
        """Return the additional nights needed: those that look for deletions read no slice."""
        if self.calm < SETTLES:
            return 0
        open_ones = []
        for person in self.foursquare.people:
            rows = before.stored[person.id].rows
            looked_for = person.deleted.keys() & rows.keys()
            open_ones.append(sum(not rows[item_id].deleted_at for item_id in looked_for))
        return min(max(open_ones), MOST_OUTSTANDING)

    def night(self, night: script.Night) -> Look:
        """Play a day and a night, and check both."""
        at = self.begins + timedelta(days=night.number)
        self._day_before(night, at)
        self.clock.set(at)
        before = look(self.foursquare, self.database)
        played = self.player.play(night)
        return self.look_at(played, at, before)

    def look_at(self, played: Played, at: datetime, before: Look) -> Look:
        """Check a night, and return what there is after it."""
        after = look(self.foursquare, self.database)
        found = list(self.checks.after(played, at, before, after))
        self._note(f"\n{played.night}", f"at {at}; {dict(played.deeds)}")
        self._note(*(f"{' '.join(ended.words)}: {ended.code}" for ended in played.ended))
        self._report(played.night.number, found)
        self.report.nights += 1
        self.report.kinds.update(played.deeds)
        self.report.kinds.update(fault.kind for fault in played.night.faults)
        return after

    def _report(self, number: int, found: list[Violation]) -> None:
        """Note violations; keep the database as it is then, and all output of the night."""
        for violation in found:
            if len(self.report.violations) < MOST_TOLD:
                self.report.violations.append(violation)
                print(f"world {self.seed}: {violation}", flush=True)
            self._note(f"{violation.kind}: {violation.text}")
        if found:
            self.database.dump(self.player.folder / f"night-{number}.dump")
        for path in self.player.folder.glob("[0-9]*.*"):
            path.rename(path.with_name(f"night-{number}-{path.name}"))

    def _note(self, *lines: str) -> None:
        with (self.player.folder / NIGHTS).open("a") as file:
            print(*lines, sep="\n", file=file)

    def _day_before(self, night: script.Night, at: datetime) -> None:
        self.clock.set(at - timedelta(minutes=10))
        chance = random.Random(f"drill/{self.seed}/day/{night.number}")
        people = self.foursquare.people
        if night.calm:
            for person in people:
                self.foursquare.calm_day(person, chance, night=night.number)
        else:
            self.foursquare.change(chance, night=night.number)
            self._prepare(night, chance)
        if night.newcomer and len(people) < MOST_PEOPLE:
            self._connect(chance.choice(SMALL[3:]))
        whose = people[night.whose % len(people)]
        if night.large == "damage":
            self.foursquare.damage(whose, chance, night=night.number)
        elif night.large == "delete_many":
            self.foursquare.delete_many(whose, chance)
        if night.large:
            self.report.kinds[f"half a list: {night.large}"] += 1
        self._application(chance, at)

    def _prepare(self, night: script.Night, chance: random.Random) -> None:
        """Make the changes without which tonight's or tomorrow's seam is not reached."""
        tomorrow = script.night(
            self.seed, night.number + 1, calm=night.number >= self.storm, large_on=self.large_on
        )
        with self.foursquare.server.lock:
            for person in self.foursquare.people:
                if night.need == "edited":
                    self.foursquare.edit_shout(person, chance)
                if "gone" in (night.need, tomorrow.need):
                    self.foursquare.delete_some(person, chance)

    # --- the application --------------------------------------------------------------------------

    def populate(self) -> None:
        """Connect all users."""
        if not self.foursquare.constraint:
            self.database.do("ALTER TABLE checkins DROP CONSTRAINT checkins_user_venue_date_unique")
        for count in self.foursquare.counts:
            self._connect(count)

    def _connect(self, count: int) -> None:
        """Connect a user; the application may have imported a part already."""
        chance = self.foursquare.chance
        account = self.foursquare.account(count, newest=self.clock.seconds() - 3600)
        [(user,)] = self.database.rows(
            """
            INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted,
                               secret_token)
            VALUES (%s, %s, %s, %s) RETURNING id
            """,
            account.user_id,
            account.first_name,
            self.keyring.encrypt(account.token),
            f"magic-link-of-{account.user_id}",
        )
        self.foursquare.people.append(Person(user, account))
        if self.foursquare.application_rows:
            entries = account.newest_first()
            self._insert(user, entries[int(chance.random() * len(entries)) :])

    def _application(self, chance: random.Random, at: datetime) -> None:
        """Let all users be active, some log in again, and the application store a few check-ins."""
        self.database.do("UPDATE users SET last_login_at = %s", at.replace(tzinfo=None))
        refused = self.database.rows("SELECT user_id FROM sync_state WHERE state = 'needs_reauth'")
        for person in self.foursquare.people:
            if (person.id,) in refused and chance.random() < 0.7:
                self._reconnect(person)
            if self.foursquare.application_rows and chance.random() < 0.2:
                self._insert(person.id, self._lately(person))

    def _reconnect(self, person: Person) -> None:
        with self.foursquare.server.lock:
            token = self.foursquare.world.grant(person.account)
        self.database.do(
            "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
            self.keyring.encrypt(token),
            person.id,
        )

    def _lately(self, person: Person) -> list[Entry]:
        since = self.clock.seconds() - 5 * DAY
        sound = (e for e in person.account.newest_first()[:8] if e.id not in person.odd)
        return [entry for entry in sound if entry.created_at > since][:3]

    def _insert(self, user: int, entries: list[Entry]) -> None:
        """Store check-ins as the application does: without an id, skipping those that exist."""
        values = [as_application(entry) for entry in entries]
        with self.database.connected() as conn, conn.cursor() as cursor:
            cursor.executemany(
                """
                INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
                VALUES (%s, %s, %s, to_timestamp(%s) AT TIME ZONE 'UTC') ON CONFLICT DO NOTHING
                """,
                [(user, *value) for value in values],
            )

    # --- the end ----------------------------------------------------------------------------------

    def _mornings(self, before: Look) -> None:
        """Run the real command line on the real clock: kill it once, then let it finish."""
        chance = random.Random(f"drill/{self.seed}/mornings")
        for morning in range(1, MORNINGS + 1):
            at = datetime.now(UTC)
            self.clock.set(at)
            for person in self.foursquare.people:
                self.foursquare.add(person, chance)
            self.clock.set(at)
            self._application(chance, at)
            deed = script.Strike("kill" if morning < MORNINGS else "none")
            night = script.Night(self.storm + self.calm + morning, strike=deed)
            before = look(self.foursquare, self.database)
            played = Played(night)
            words = ("orchestrate", "--stagger", "0s")
            if morning < MORNINGS:
                killed = self.player.by_command_line(*words, kill_at=chance.randint(1, 4))
                played.ended.append(killed)
                played.deeds["kill"] += killed.code < 0
            played.ended.append(self.player.by_command_line(*words))
            self.look_at(played, at, before)

    def _count_hits(self) -> None:
        if self.player.hits.exists():
            self.report.hits.update(self.player.hits.read_text().splitlines())


NIGHTS = "nights.txt"
"""The nights, their commands with exit codes, and the violations, in the folder that is kept."""

MOST_OUTSTANDING = 30

SETTLES = 30
"""Nights within which every check-in is compared once."""

MOST_TOLD = 20
"""Violations of one world that are reported; the rest are most often the same."""


ENGINES: dict[str, type[Player]] = {"embedded": Player, "procrastinate": CrewPlayer}


def play(seed: int, storm: int, calm: int, engine: str) -> Report:
    """Play a world in a folder and a database of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"checkinsync-drill-{seed}-"))
    try:
        with open_database() as database:
            if engine != "embedded":
                schema.up(database.url, sleep=time.sleep)
            plays = ENGINES[engine]
            report = World(seed, database, folder, storm=storm, calm=calm, plays=plays).play()
    except BaseException as error:
        error.add_note(f"what was said lies in {folder}")
        raise
    if report.violations:
        report.kept = str(folder)
    else:
        shutil.rmtree(folder)
    return report
