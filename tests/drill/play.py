"""Plays a night: runs its commands as processes of their own, and strikes them as drawn."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from checkinsync.simulator.faults import Fault
from checkinsync.simulator.seen import Seen
from drill.clock import Clock
from drill.database import Database
from drill.foursquare import Foursquare, Person
from drill.script import DISK, Errand, Night, Strike
from support import forked
from support.forked import Forked

TESTS = Path(__file__).parent.parent
KEY = "5ea1" * 16
PATIENCE = 240.0
"""Seconds; a command takes one or two, and each look for a database that stays away takes ten."""

SIGNS = {"kill": signal.SIGKILL}
"""Deeds that a process does to itself; for all others it stops at the seam until they are done."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a process."""

    words: tuple[str, ...]
    code: int
    struck: bool
    """It reached the place where it was to be struck."""
    said: str
    """Its output on stdout and stderr."""
    log: str
    clean: bool
    """It was started after all trouble was over."""
    asked: int
    """Number of requests made before it ended."""


@dataclass(frozen=True, slots=True)
class Told:
    """Rows that a stopped process may not change any more, before and after it woke up."""

    before: list[tuple]
    after: list[tuple]


@dataclass
class Played:
    """A night that was played."""

    night: Night
    ended: list[Ended] = field(default_factory=list)
    deeds: Counter[str] = field(default_factory=Counter)
    """The deeds actually done, by name."""
    slept: list[Told] = field(default_factory=list)

    @property
    def undisturbed(self) -> bool:
        """Return True if the last process met no trouble."""
        return self.ended[-1].clean or (self.night.peaceful and not self.deeds)


class Player:
    """Plays nights in one world."""

    def __init__(
        self, foursquare: Foursquare, database: Database, clock: Clock, folder: Path, path: Path
    ) -> None:
        """`folder`: for the output of processes; `path`: the clock's file."""
        self.foursquare = foursquare
        self.database = database
        self.clock = clock
        self.clock_path = path
        self.folder = folder
        self.hits = folder / "hits"
        self.number = 0
        self.healing: list[threading.Thread] = []

    def play(self, night: Night) -> Played:
        """Run all commands of a night to their ends."""
        played = Played(night)
        with self._weather(night, played):
            first = self._start(night, night.first, night.strike)
            beside = self._start(night, night.beside, Strike()) if night.beside else None
            self._see_to_its_end(first, night, played)
            if beside is not None:
                self._see_to_its_end(beside, night, played)
        if night.again:
            self.clock.skip(timedelta(hours=1))
            self._clean_run(played, Errand("catch up"))
        return played

    def in_peace(self, *words: str) -> Ended:
        """Run a command without any trouble."""
        process = self._begin(words, Errand(), Strike())
        return self._over(process, clean=True)

    # --- trouble ----------------------------------------------------------------------------------

    @contextmanager
    def _weather(self, night: Night, played: Played) -> Iterator[None]:
        """Make the night's trouble at Foursquare; end all trouble afterwards."""
        server = self.foursquare.server
        whose = self._person(night)
        token = whose.token if night.one_user_only else None
        with server.lock:
            server.requests.clear()
            server.switches.hourly_limit = night.hourly_limit
            server.switches.daily_quota = night.daily_quota
            server.fail(*(replace(fault, token=token) for fault in night.faults))
            server.fail(*self._for_what_is_looked_for(night))
            if night.slow:
                server.fail(Fault("slow", times=None, seconds=night.slow))
            if night.revoked:
                server.world.revoke(whose.token)
            server.on_request = self._on_request(night, played)
        try:
            yield
        finally:
            with server.lock:
                server.on_request = None
                server.faults.clear()
                server.switches.hourly_limit, server.switches.daily_quota = 500, None
            self._all_is_well()

    def _for_what_is_looked_for(self, night: Night) -> Iterator[Fault]:
        """Yield the night's fault for requests of single check-ins, too."""
        if night.faults:
            for (item_id,) in self.database.rows(
                "SELECT foursquare_id FROM checkins WHERE missing_since IS NOT NULL LIMIT 5"
            ):
                yield replace(night.faults[0], path=f"checkins/{item_id}", nth=1)

    def _on_request(self, night: Night, played: Played) -> Callable[[Seen], None]:
        def on_request(seen: Seen) -> None:
            count = len(self.foursquare.server.requests)
            for nth, change in night.amidst:
                if nth == count and seen.token in self.foursquare.world.accounts:
                    self._change(change, seen, night, nth)
            strike = night.strike
            if strike.seam is None and strike.nth == count and strike.deed != "none":
                self._do(strike, played)

        return on_request

    def _change(self, change: str, seen: Seen, night: Night, nth: int) -> None:
        chance = self.foursquare.chance_for(night.number, nth)
        whose = next((p for p in self.foursquare.people if p.token == seen.token), None)
        if whose is not None:
            getattr(self.foursquare, change)(whose, chance)

    def _person(self, night: Night) -> Person:
        people = self.foursquare.people
        return people[night.whose % len(people)]

    # --- processes --------------------------------------------------------------------------------

    def _words(self, errand: Errand, night: Night) -> tuple[str, ...]:
        whose = str(self._person(night).id)
        match errand.command:
            case "run":
                how = ("--stagger", errand.stagger, "--workers", str(errand.workers))
                return ("orchestrate", *how)
            case "catch up":
                return ("orchestrate", "--stagger", "0s", "--max-age", "20h")
            case "one user":
                return ("import-user", whose)
            case "one user's whole history":
                return ("import-user", whose, "--full")

    def _start(self, night: Night, errand: Errand, strike: Strike, whose: str = "") -> _Process:
        words = ("import-user", whose) if whose else self._words(errand, night)
        return self._begin(words, errand, strike)

    def _begin(self, words: tuple[str, ...], errand: Errand, strike: Strike) -> _Process:
        log = self._next_log(words)
        command = ["--clock", str(self.clock_path)]
        command += ["--skew", str(errand.skew), "--renewed-every", str(errand.renewed_every)]
        command += ["--log", str(log)]
        if strike.seam:
            sign = SIGNS.get(strike.deed, signal.SIGSTOP).name
            command += ["--seam", strike.seam, "--moment", strike.moment, "--nth", str(strike.nth)]
            command += ["--signal", sign, "--hits", str(self.hits)]
        return self._popen("drill.night", [*command, "--", *words], words, log)

    def _next_log(self, words: tuple[str, ...]) -> Path:
        self.number += 1
        return self.folder / f"{self.number}-{words[0]}.log"

    def _popen(
        self, module: str, command: list[str], words: tuple[str, ...], log: Path
    ) -> _Process:
        out = log.with_suffix(".out")
        with out.open("wb") as file:
            popen = forked.start(command, module=module, stdout=file, stderr=file, env=self.environ)
        self.process = _Process(popen, words, out, log)
        return self.process

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            **forked.USUAL,
            "PYTHONPATH": f"{forked.SOURCES}:{TESTS}",
            "HOME": str(self.folder),
            "CHECKINSYNC_HOME": str(self.folder / "home"),
            "CHECKINSYNC_DATABASE_URL": self.database.url,
            "CHECKINSYNC_ENCRYPTION_KEY": KEY,
            "CHECKINSYNC_API_URL": self.foursquare.server.url,
        }

    def by_command_line(self, *words: str, kill_at: int = 0) -> Ended:
        """Run the real command line on the real clock; kill it at a request, if one is given."""
        log = self._next_log(words)
        options = ["--log-format", "json", "--log-file", str(log)]
        server = self.foursquare.server
        with server.lock:
            server.requests.clear()
            process = self._popen("checkinsync", [*options, *words], words, log)
            if kill_at:
                server.on_request = lambda _: (
                    process.popen.kill() if len(server.requests) == kill_at else None
                )
        process.popen.wait(PATIENCE)
        server.on_request = None
        return self._over(process, clean=not kill_at)

    def _over(self, process: _Process, *, clean: bool = False, struck: bool = False) -> Ended:
        code = process.popen.wait(PATIENCE)
        log = process.log.read_text(errors="replace") if process.log.exists() else ""
        said = process.out.read_text(errors="replace")
        asked = len(self.foursquare.server.requests)
        return Ended(process.words, code, struck, said, log, clean, asked)

    def _see_to_its_end(self, process: _Process, night: Night, played: Played) -> None:
        """Wait for a process; when it stops at its seam, do the deed and wake it up."""
        struck = False
        deadline = time.monotonic() + PATIENCE
        while process.popen.poll() is None:
            if time.monotonic() > deadline:
                process.popen.kill()
                played.deeds["hung"] += 1
            if process.stands_still:
                struck = True
                self._at_the_seam(process, night, played)
            time.sleep(0.004)
        if night.strike.deed == "kill" and process.popen.returncode == -signal.SIGKILL:
            played.deeds["kill"] += 1
        played.ended.append(self._over(process, struck=struck))

    # --- deeds ------------------------------------------------------------------------------------

    def _at_the_seam(self, process: _Process, night: Night, played: Played) -> None:
        slept = None
        if night.strike.deed == "sleep beyond the lease":
            slept = self._taken_over(process, night, played)
        else:
            self._do(night.strike, played)
        process.popen.send_signal(signal.SIGCONT)
        if slept is not None:
            process.popen.wait(PATIENCE)
            played.slept.append(Told(slept[0], self._rows_of(*slept[1])))

    def _do(self, strike: Strike, played: Played) -> None:
        database = self.database
        deed = strike.deed
        if deed in DISK and not database.small_disk:
            deed = "cut off sessions"
        played.deeds[deed] += 1
        match deed:
            case "cut off sessions":
                database.cut_off()
            case "stop the database":
                database.stop()
                self._heal_soon(0.05 * strike.nth)
            case "kill the database":
                database.kill()
                self._heal_soon(0.05 * strike.nth)
            case "keep the database away":
                database.stop()
            case "fill the disk" | "fill the disk and the log":
                database.fill(log_too=deed.endswith("log"))
                self._heal_soon(0.1 * strike.nth)
            case "ask to stop":
                self.process.popen.send_signal(signal.SIGTERM)

    def _heal_soon(self, seconds: float) -> None:
        def heal() -> None:
            time.sleep(seconds)
            self.database.heal()

        self.healing.append(threading.Thread(target=heal))
        self.healing[-1].start()

    def _all_is_well(self) -> None:
        for thread in self.healing:
            thread.join()
        self.healing.clear()
        self.database.heal()

    def _taken_over(
        self, sleeper: _Process, night: Night, played: Played
    ) -> tuple[list[tuple], tuple[list[int], list[int]]]:
        """Let the leases of a stopped process expire, and another process do its work."""
        played.deeds["sleep beyond the lease"] += 1
        with self.foursquare.server.lock:
            self.foursquare.server.faults.clear()
            self.foursquare.server.on_request = None
            self.foursquare.server.switches.hourly_limit = 500
        self.database.let_go_of_the_stopped()
        held = self.database.rows(
            "SELECT user_id, token FROM import_leases WHERE expires_at > now() AND user_id <> 0"
        )
        self.database.age_leases()
        self.clock.skip(timedelta(minutes=2))
        if night.whose % 2 and held:
            held = held[:1]
            other = self._start(night, Errand(skew=30), Strike(), whose=str(held[0][0]))
        else:
            other = self._begin(("orchestrate", "--stagger", "0s"), Errand(skew=30), Strike())
        other.popen.wait(PATIENCE)
        played.ended.append(self._over(other, clean=True))
        users, tokens = [user for user, _ in held], [token for _, token in held]
        if sleeper.words[0] == "orchestrate":
            users = []  # it may import them again, with a new lease
        return self._rows_of(users, tokens), (users, tokens)

    def _rows_of(self, users: list[int], tokens: list[int]) -> list[tuple]:
        """Return the rows that a process that was stopped may not touch: check-ins that another
        process has updated, and the jobs of the leases that it lost."""
        return self.database.rows(
            """
            SELECT 'check-in', c.user_id, c.id, md5(c::text) FROM checkins AS c
             WHERE user_id = ANY (%s)
            UNION ALL
            SELECT 'job', j.user_id, j.id, md5(j::text) FROM import_jobs AS j
             WHERE lease_token = ANY (%s)
             ORDER BY 1, 2, 3
            """,
            users,
            tokens,
        )

    def _clean_run(self, played: Played, errand: Errand) -> None:
        process = self._start(played.night, errand, Strike())
        process.popen.wait(PATIENCE)
        played.ended.append(self._over(process, clean=True))


@dataclass(eq=False)
class _Process:
    popen: Forked | subprocess.Popen[bytes]
    words: tuple[str, ...]
    out: Path
    log: Path
    crew: list[_Process] = field(default_factory=list)
    """Of a run: the workers that import its users."""

    @property
    def stands_still(self) -> bool:
        """Return True if the process was stopped at its seam."""
        try:
            stat = Path(f"/proc/{self.popen.pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"
