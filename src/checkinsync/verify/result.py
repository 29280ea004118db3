"""What a verification found: frozen values, from one check-in's finding up to a user's verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from checkinsync.errors import CheckinsyncError
from checkinsync.model.user import User


class Kind(Enum):
    """How a check-in differs."""

    MISSING = "missing"
    """Foursquare shows it, and it is not stored, or counts as gone here."""
    DIFFERENT = "different"
    """It is stored with other values, or by the application without its id."""
    EXTRA = "extra"
    """It is stored, and Foursquare shows it no more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check-in that differs."""

    kind: Kind
    foursquare_id: str
    created_at: datetime | None
    detail: str
    """Half a sentence: in what it differs, or what becomes of it."""
    closed: bool = False
    """Repaired, or on its way: nothing is left to be done about it."""


@dataclass(frozen=True, slots=True)
class Nameless:
    """A row that only the application has: it has no id, and Foursquare shows none that fits."""

    row: int
    created_at: datetime
    venue_name: str


@dataclass(frozen=True, slots=True)
class Deletions:
    """The result of an operator's word on deletions so far, in check-ins."""

    deleted: int
    there: int
    """Not in the list, and yet known to Foursquare by their ids."""
    waiting: int
    """About which nothing is known yet."""
    refusal: str | None = None
    """Half a sentence: why those that wait were left as they are."""


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """A whole history compared, id by id."""

    user: User
    started_at: datetime
    finished_at: datetime
    shown: int
    """Different items that Foursquare showed."""
    reported_total: int | None
    """Foursquare's own total; it may count what can't be fetched."""
    stored: int
    """Check-ins that are stored with their id and not gone, once all is done."""
    unreadable: int
    """Of those shown; they are in quarantine, or belong there."""
    findings: tuple[Finding, ...]
    nameless: tuple[Nameless, ...]
    requests: int
    deletions: Deletions | None = None
    """None: no operator's word was given."""

    @property
    def open(self) -> tuple[Finding, ...]:
        """What is left to be done."""
        return tuple(finding for finding in self.findings if not finding.closed)

    @property
    def complete(self) -> bool:
        """Whether no gap is left."""
        return not self.open

    @property
    def by_month(self) -> list[tuple[str, Counter[Kind]]]:
        """Findings per month of `createdAt` (UTC), oldest first."""
        months: dict[str, Counter[Kind]] = {}
        for finding in self.findings:
            month = f"{finding.created_at:%Y-%m}" if finding.created_at else "unknown"
            months.setdefault(month, Counter())[finding.kind] += 1
        return sorted(months.items())


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A verification that came to no verdict."""

    user: User
    seen: int
    """Items compared so far."""
    down_to: datetime | None
    """`createdAt` of the last of them."""
    error: CheckinsyncError
    """What ended it."""
    deletions: Deletions | None = None
    """None: no operator's word was given, or it did not come to that."""
    options: str = ""
    """With which it goes on: ` --repair`, ` --repair --accept-deletions`."""
