"""Detects outages, so that a run pauses its starts instead of failing user after user."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checkinsync.errors import (
    ApiGone,
    CertificateRejected,
    CheckinsyncError,
    DatabaseAway,
    DatabaseExhausted,
    FoursquareAway,
    Postponed,
)
from checkinsync.sync.outcome import Failed, Outcome, Skipped

FOURSQUARE_NAME = "Foursquare"
DATABASE_NAME = "the database"

IN_A_ROW = 3
"""After this many users in a row without an answer the service counts as down."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The waits of a run for a service that is down."""

    first_pause: timedelta
    longest_pause: timedelta
    """Pauses double up to this one."""
    gives_up_after: timedelta


FOURSQUARE = Patience(timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30))
DATABASE = Patience(timedelta(seconds=1), timedelta(seconds=15), timedelta(seconds=120))


@dataclass(slots=True)
class CircuitBreaker:
    """The state of one service: up, or down since when, and when to probe it again."""

    patience: Patience
    in_a_row: dict[int, int] = field(default_factory=dict)
    """Users in a row without an answer, with the number of the attempt each of them began with."""
    away_since: datetime | None = None
    next_probe: datetime | None = None
    pause: timedelta = timedelta()

    def answered(self) -> None:
        """Record an answer: the service is up."""
        self.in_a_row.clear()
        self.away_since = self.next_probe = None

    def unanswered(self, user_id: int, attempt: int, *, now: datetime) -> None:
        """Record that a user had no answer at all; three users in a row make an outage."""
        self.in_a_row.setdefault(user_id, attempt)
        if self.away_since is not None or len(self.in_a_row) >= IN_A_ROW:
            self.away(now)

    def away(self, now: datetime) -> None:
        """Record that the service is down: the next probe comes after a pause, longer each time."""
        if self.away_since is None:
            self.away_since, self.pause = now, self.patience.first_pause
        else:
            self.pause = min(self.pause * 2, self.patience.longest_pause)
        self.next_probe = min(now + self.pause, self.gives_up_at)

    def looks(self, now: datetime) -> bool:
        """Return True if it is time to probe the service again."""
        return self.next_probe is not None and now >= self.next_probe

    @property
    def gives_up_at(self) -> datetime:
        """The time when waiting ends; only while the service is down."""
        assert self.away_since is not None
        return self.away_since + self.patience.gives_up_after


@dataclass(slots=True)
class Outages:
    """The services that a run needs; while one is down, imports start only to probe it."""

    foursquare: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(FOURSQUARE))
    database: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(DATABASE))
    gone: set[int] = field(default_factory=set)
    """Users in a row whose requests were answered that there is no such API."""
    anything_answered: bool = False
    """Foursquare has answered an import of this run."""
    anything_unanswered: bool = False
    """An import of this run had no answer at all."""

    @property
    def nothing_heard(self) -> bool:
        """Return True if Foursquare was asked and never answered."""
        return self.anything_unanswered and not self.anything_answered

    @property
    def away(self) -> list[tuple[str, CircuitBreaker]]:
        """The services that are down, by name."""
        both = ((FOURSQUARE_NAME, self.foursquare), (DATABASE_NAME, self.database))
        return [(name, service) for name, service in both if service.away_since is not None]

    @property
    def silent(self) -> list[str]:
        """Names of the services that are down or have never answered."""
        away = [name for name, _ in self.away]
        unheard = self.nothing_heard and FOURSQUARE_NAME not in away
        return [FOURSQUARE_NAME, *away] if unheard else away

    @property
    def next_look(self) -> datetime | None:
        """The time of the next probe."""
        return min((s.next_probe for _, s in self.away if s.next_probe), default=None)

    def hear(self, user_id: int, outcome: Outcome, *, attempt: int, now: datetime) -> None:
        """Update both services by the outcome of a user's attempt."""
        match outcome:
            case Failed(DatabaseExhausted()):
                pass
            case Failed(DatabaseAway()):
                if self.database.away_since is None:
                    self.database.away(now)
            case Failed(FoursquareAway(answered=False)):
                self.anything_unanswered = True
                self.foursquare.unanswered(user_id, attempt, now=now)
            case Failed(ApiGone()):
                self.gone.add(user_id)
            case Skipped() | Failed(CertificateRejected() | Postponed()):
                pass
            case _:
                self.anything_answered = True
                self.gone.clear()
                self.foursquare.answered()

    @property
    def api_is_gone(self) -> bool:
        """Return True if three users in a row had the answer that there is no such API."""
        return len(self.gone) >= IN_A_ROW

    def given_up(self, now: datetime) -> CheckinsyncError | None:
        """Return the error that ends the run if a service was down for too long."""
        for name, service in self.away:
            if now >= service.gives_up_at:
                minutes = service.patience.gives_up_after.total_seconds() / 60
                error = FoursquareAway if name == FOURSQUARE_NAME else DatabaseAway
                return error(f"{name} was unreachable for {minutes:g} minutes")
        return None
