"""Whether a service is away, so that a run pauses its starts instead of failing user after user."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseExhausted,
    FoursquareAway,
)
from checkinsync.sync.outcome import Failed, Outcome, Skipped

FOURSQUARE_NAME = "Foursquare"
DATABASE_NAME = "the database"

IN_A_ROW = 3
"""So many users, one after the other, without a single answer: it is not they."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a run waits for a service that is away."""

    first_pause: timedelta
    longest_pause: timedelta
    """Pauses double up to here."""
    gives_up_after: timedelta


FOURSQUARE = Patience(timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30))
DATABASE = Patience(timedelta(seconds=1), timedelta(seconds=15), timedelta(seconds=120))


@dataclass(slots=True)
class CircuitBreaker:
    """One service: there, or away since when, and when to look again."""

    patience: Patience
    in_a_row: dict[int, int] = field(default_factory=dict)
    """Users who had no answer, one after the other, and the attempt each of them began with."""
    away_since: datetime | None = None
    next_probe: datetime | None = None
    _pause: timedelta = timedelta()

    def answered(self) -> None:
        """The service is there."""
        self.in_a_row.clear()
        self.away_since = self.next_probe = None

    def unanswered(self, user_id: int, attempt: int, *, now: datetime) -> None:
        """A user's every request failed; after three users in a row the service counts as away."""
        self.in_a_row.setdefault(user_id, attempt)
        if self.away_since is not None or len(self.in_a_row) >= IN_A_ROW:
            self.away(now)

    def away(self, now: datetime) -> None:
        """It is away, or still away: look again after a pause, longer each time."""
        if self.away_since is None:
            self.away_since, self._pause = now, self.patience.first_pause
        else:
            self._pause = min(self._pause * 2, self.patience.longest_pause)
        self.next_probe = min(now + self._pause, self.gives_up_at)

    def looks(self, now: datetime) -> bool:
        """Whether it is time to look for it again."""
        return self.next_probe is not None and now >= self.next_probe

    @property
    def gives_up_at(self) -> datetime:
        """When waiting ends; only while the service is away."""
        assert self.away_since is not None
        return self.away_since + self.patience.gives_up_after


@dataclass(slots=True)
class Outages:
    """What a run rests on; while one is away, no user's import is started but to look for it."""

    foursquare: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(FOURSQUARE))
    database: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(DATABASE))
    anything_answered: bool = False
    """Whether Foursquare answered any import of this run."""
    anything_unanswered: bool = False
    """Whether any import had no answer at all."""

    @property
    def nothing_heard(self) -> bool:
        """Whether Foursquare was asked and never answered."""
        return self.anything_unanswered and not self.anything_answered

    @property
    def away(self) -> list[tuple[str, CircuitBreaker]]:
        """Those that are away just now, by name."""
        both = ((FOURSQUARE_NAME, self.foursquare), (DATABASE_NAME, self.database))
        return [(name, service) for name, service in both if service.away_since is not None]

    @property
    def silent(self) -> list[str]:
        """Names of those that are away, or were never heard of."""
        away = [name for name, _ in self.away]
        unheard = self.nothing_heard and FOURSQUARE_NAME not in away
        return [FOURSQUARE_NAME, *away] if unheard else away

    @property
    def next_look(self) -> datetime | None:
        """When to look for what is away."""
        return min((s.next_probe for _, s in self.away if s.next_probe), default=None)

    def hear(self, user_id: int, outcome: Outcome, *, attempt: int, now: datetime) -> None:
        """Take in what an attempt of a user says of both."""
        match outcome:
            case Failed(DatabaseExhausted()):
                pass
            case Failed(DatabaseAway()):
                if self.database.away_since is None:
                    self.database.away(now)
            case Failed(FoursquareAway(answered=False)):
                self.anything_unanswered = True
                self.foursquare.unanswered(user_id, attempt, now=now)
            case Skipped():
                pass
            case _:
                self.anything_answered = True
                self.foursquare.answered()

    def given_up(self, now: datetime) -> CheckinsyncError | None:
        """The error that ends a run whose service stayed away for too long."""
        for name, service in self.away:
            if now >= service.gives_up_at:
                minutes = service.patience.gives_up_after.total_seconds() / 60
                error = FoursquareAway if name == FOURSQUARE_NAME else DatabaseAway
                return error(f"{name} stayed away for {minutes:g} minutes")
        return None
