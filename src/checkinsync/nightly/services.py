"""Foursquare and the database as a run's attempts show them: there, or away and looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseExhausted,
    FoursquareAway,
)
from checkinsync.nightly.outages import DATABASE, FOURSQUARE, Breaker
from checkinsync.nightly.schedule import Entry
from checkinsync.sync.outcome import Failed, Outcome, Skipped

FOURSQUARE_NAME = "Foursquare"
DATABASE_NAME = "the database"


@dataclass(slots=True)
class Services:
    """What a run rests on; while one is away, no user's import is started but to look for it."""

    foursquare: Breaker = field(default_factory=lambda: Breaker(FOURSQUARE))
    database: Breaker = field(default_factory=lambda: Breaker(DATABASE))
    anything_answered: bool = False
    """Whether Foursquare answered any import of this run."""
    anything_unanswered: bool = False
    """Whether any import had no answer at all."""

    @property
    def nothing_heard(self) -> bool:
        """Whether Foursquare was asked and never answered."""
        return self.anything_unanswered and not self.anything_answered

    @property
    def away(self) -> list[tuple[str, Breaker]]:
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

    def hear(self, entry: Entry, outcome: Outcome, *, now: datetime) -> None:
        """What an attempt says of both."""
        match outcome:
            case Failed(DatabaseExhausted()):
                pass
            case Failed(DatabaseAway()):
                if self.database.away_since is None:
                    self.database.away(now)
            case Failed(FoursquareAway(answered=False)):
                self.anything_unanswered = True
                self.foursquare.unanswered(entry.user.id, entry.attempt, now=now)
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
