"""What a verification found: frozen values, from one check-in's finding up to a user's verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from checkinsync.errors import CheckinsyncError
from checkinsync.model.changes import Stored
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


def extra_finding(row: Stored) -> Finding:
    """Return the finding of a row that Foursquare shows no more."""
    assert row.foursquare_id is not None
    if row.deleted_at is not None:
        detail, closed = "counts as gone from now on", True
    elif row.withheld_since is not None:
        detail, closed = "not shown, with too many others to be believed", False
    elif row.missing_since is not None:
        detail, closed = f"missing since {row.missing_since:%Y-%m-%d}; is looked for again", True
    else:
        detail, closed = "shown no more", False
    return Finding(Kind.EXTRA, row.foursquare_id, row.second, detail, closed)


@dataclass(frozen=True, slots=True)
class Nameless:
    """A row that only the application has: it has no id, and Foursquare shows none that fits."""

    row: int
    created_at: datetime
    venue_name: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """A whole history compared, id by id."""

    user: User
    started_at: datetime
    finished_at: datetime
    shown: int
    """Different items that Foursquare showed."""
    told: int | None
    """Foursquare's own total; it may count what can't be fetched."""
    stored: int
    """Check-ins that are stored with their id and not gone, once all is done."""
    unreadable: int
    """Of those shown; they are in quarantine, or belong there."""
    findings: tuple[Finding, ...]
    nameless: tuple[Nameless, ...]
    requests: int

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
