"""Draws a night by seed: its commands, what strikes them, and what else goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

from checkinsync.simulator.faults import Fault, Kind
from drill.foursquare import AMIDST
from drill.seams import ALL, SEAMS, Moment, Need

Deed = Literal[
    "kill",
    "sleep beyond the lease",
    "cut off sessions",
    "stop the database",
    "kill the database",
    "keep the database away",
    "fill the disk",
    "fill the disk and the log",
    "ask to stop",
    "none",
]
TO_THE_DATABASE: tuple[Deed, ...] = (
    "cut off sessions",
    "cut off sessions",
    "stop the database",
    "kill the database",
    "fill the disk",
    "fill the disk and the log",
)
DISK: tuple[Deed, ...] = ("fill the disk", "fill the disk and the log")
Command = Literal["run", "catch up", "one user", "one user's whole history"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Errand:
    """A command to start."""

    command: Command = "run"
    skew: float = 0.0
    """Seconds by which its host's clock is ahead."""
    stagger: str = "0s"
    workers: int = 4
    renewed_every: float = 20.0


@dataclass(frozen=True, slots=True)
class Strike:
    """A deed and its moment: at a seam, or at the nth request."""

    deed: Deed = "none"
    seam: str | None = None
    moment: Moment = "call"
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Night:
    """Everything that is drawn for a night, except the day before it."""

    number: int
    calm: bool = False
    first: Errand = Errand()
    beside: Errand | None = None
    """Started at the same time."""
    strike: Strike = Strike()
    faults: tuple[Fault, ...] = ()
    one_user_only: bool = True
    """The faults strike one user's requests; False: everyone's."""
    whose: int = 0
    """Index of that user, who is also the one for `import-user`; modulo the number of users."""
    hourly_limit: int = 500
    daily_quota: int | None = None
    revoked: bool = False
    newcomer: bool = False
    """A new user connects, and is imported for the first time."""
    amidst: tuple[tuple[int, str], ...] = ()
    """Changes of the list just requested: the number of the request, and the change."""
    again: bool = False
    """The morning's line of the crontab follows, without any trouble."""
    large: Literal["", "delete_many", "damage"] = ""
    slow: float = 0.0
    """Seconds for each answer."""

    @property
    def need(self) -> Need | None:
        """The condition under which the seam is reached."""
        return ALL[self.strike.seam].need if self.strike.seam else None

    @property
    def peaceful(self) -> bool:
        """Return True if nothing goes wrong: then the night has to end well."""
        trouble = (self.faults, self.beside, self.revoked, self.daily_quota)
        return not any(trouble) and self.strike.deed == "none" and self.hourly_limit >= PLENTY


PLENTY = 500


def night(seed: int, number: int, *, calm: bool, large_on: dict[int, str]) -> Night:
    """Draw a night of the world of this seed."""
    if calm:
        return Night(number, calm=True, first=Errand(stagger="2m"))
    chance = random.Random(f"drill/{seed}/night/{number}")
    kinds = list(KINDS_OF_NIGHT)
    kind = chance.choices(kinds, [KINDS_OF_NIGHT[k] for k in kinds])[0]
    drawn = _Drawn(chance, number, large_on.get(number, ""))
    return getattr(drawn, kind)()


def large_events(seed: int, storm: int) -> dict[int, str]:
    """Draw the nights of a world on which too much is deleted at once to be believed."""
    chance = random.Random(f"drill/{seed}/large")
    found = {}
    if chance.random() < 0.5 and storm > 4:
        found[chance.randint(3, storm - 1)] = "damage"
    if chance.random() < 0.3 and storm > 4:
        found[chance.randint(3, storm - 1)] = "delete_many"
    return found


KINDS_OF_NIGHT = {
    "peace": 8,
    "killed": 38,
    "asleep": 12,
    "database": 16,
    "two_at_once": 9,
    "asked_to_stop": 7,
    "limits": 6,
    "refused": 4,
}
"""Kinds of stormy nights, with their weights."""


class _Drawn:
    """Draws one night."""

    def __init__(self, chance: random.Random, number: int, large: str) -> None:
        self.chance = chance
        self.number = number
        self.large = large
        self.whose = chance.randrange(8)

    def peace(self) -> Night:
        return self._night()

    def killed(self) -> Night:
        return self._at_a_seam("kill")

    def asleep(self) -> Night:
        return self._at_a_seam("sleep beyond the lease", amidst=(), faults=())

    def database(self) -> Night:
        """Strike the database at a seam, or while the program waits for an answer."""
        if self.chance.random() < 0.04:
            away = Strike("keep the database away", nth=self.chance.randint(1, 6))
            return self._night(strike=away)
        deed = self.chance.choice(TO_THE_DATABASE)
        if self.chance.random() < 0.6:
            return self._at_a_seam(deed)
        strike = Strike(deed, nth=self.chance.randint(1, 8))
        return self._night(strike=strike, newcomer=self.chance.random() < 0.4)

    def two_at_once(self) -> Night:
        """Start two runs, or a run and `import-user`, on hosts whose clocks are minutes apart."""
        beside: Command = self.chance.choice(("run", "one user", "one user's whole history"))
        skew = self.chance.uniform(-600, 600)
        return self._night(beside=Errand(beside, skew=skew), slow=0.02)

    def asked_to_stop(self) -> Night:
        strike = Strike("ask to stop", nth=self.chance.randint(1, 8))
        return self._night(strike=strike, newcomer=True)

    def limits(self) -> Night:
        if self.chance.random() < 0.3:
            return self._night(daily_quota=self.chance.randint(0, 9))
        return self._night(hourly_limit=self.chance.randint(0, 5), newcomer=True)

    def refused(self) -> Night:
        return self._night(revoked=True)

    def _at_a_seam(self, deed: Deed, **more: object) -> Night:
        name = self.chance.choice(list(SEAMS))
        seam = SEAMS[name]
        moment: Moment = self.chance.choice(("call", "return"))
        nth = min(self.chance.randint(1, seam.most), self.chance.randint(1, seam.most))
        strike = Strike(deed, name, moment, nth)
        more.setdefault("newcomer", self.chance.random() < 0.25)
        return self._night(strike=strike, **(more | self._needed(seam.need, more)))

    def _needed(self, need: Need | None, more: dict[str, object]) -> dict[str, object]:
        """Return what else is needed for a seam to be reached."""
        times = self.chance.choice((3, None))
        match need:
            case "failing":
                faults = (Fault("server_error", times=None),)
                return {"faults": faults, "one_user_only": True, "first": Errand()}
            case "limited":
                fault = Fault("rate_limit_exceeded", nth=1, times=times, seconds=900)
                return {"faults": (fault,), "one_user_only": True, "first": Errand()}
            case "revoked":
                return {"revoked": True, "first": Errand()}
            case "slow":
                return {"slow": 0.1, "newcomer": True, "first": Errand(renewed_every=0.05)}
            case "gone" | "edited":
                return {"first": Errand(), "large": ""}
            case "long":
                by_hand: Command = "one user's whole history"
                return {"first": Errand(by_hand)} if self.number > 1 else {"newcomer": True}
        return {}

    def _night(self, **more: object) -> Night:
        chance = self.chance
        drawn: dict[str, object] = {
            "first": self._errand(),
            "faults": self._faults() if chance.random() < 0.5 else (),
            "amidst": self._amidst() if chance.random() < 0.5 else (),
            "newcomer": chance.random() < 0.06,
            "again": chance.random() < 0.5,
            "whose": self.whose,
            "one_user_only": chance.random() < 0.6,
            "large": self.large,
        }
        return Night(self.number, **(drawn | more))  # type: ignore[arg-type]

    def _errand(self) -> Errand:
        chance = self.chance
        by_hand: Command = chance.choice(("one user", "one user's whole history"))
        return Errand(
            by_hand if chance.random() < 0.2 else "run",
            skew=chance.choice((0.0, 0.0, 0.0, -300.0, 420.0)),
            stagger=chance.choice(("0s", "0s", "2m")),
            workers=chance.choice((1, 2, 4)),
        )

    def _faults(self) -> tuple[Fault, ...]:
        return tuple(self._fault() for _ in range(self.chance.choice((1, 1, 2, 4))))

    def _fault(self) -> Fault:
        chance = self.chance
        kind = chance.choice(KINDS)
        short = {"slow": 0.05, "trickle": 0.1}
        return Fault(
            kind,
            nth=chance.randint(1, 8),
            times=chance.choice((1, 1, 2, 3, 8, None)) if kind not in short else 1,
            seconds=short.get(kind, chance.choice((60, 900, 3000))),
        )

    def _amidst(self) -> tuple[tuple[int, str], ...]:
        chance = self.chance
        many = chance.choice((1, 2, 3))
        return tuple((chance.randint(1, 10), chance.choice(AMIDST)) for _ in range(many))
