"""Whether a service is away, so that a run pauses its starts instead of failing user after user."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
class Breaker:
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
