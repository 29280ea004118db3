"""Results of verifications: frozen values, from one check-in's finding to a user's verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from checkinsync.errors import CheckinsyncError
from checkinsync.model.changes import Stored
from checkinsync.model.user import User


class Kind(Enum):
    """The kind of a difference."""

    MISSING = "missing"
    """Foursquare shows it, and it is not stored, or marked as deleted here."""
    DIFFERENT = "different"
    """It is stored with other values, or by the application without its id."""
    EXTRA = "extra"
    """It is stored, and Foursquare no longer shows it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check-in that differs."""

    kind: Kind
    foursquare_id: str
    created_at: datetime | None
    detail: str
    """Half a sentence: the difference, or what is done about it."""
    closed: bool = False
    """Repaired, or it will be by the nights to come: nothing is left for an operator."""


def extra_finding(row: Stored, *, left: str | None = None) -> Finding:
    """Return the finding of a row that Foursquare no longer shows.

    `left`: the reason why it was left as it is, though an operator says that it was deleted.
    """
    assert row.foursquare_id is not None
    if row.deleted_at is not None:
        detail, closed = "marked as deleted", True
    elif left is not None:
        detail, closed = f"not marked as deleted: {left}", False
    elif row.held_back_since is not None:
        detail, closed = "no longer shown; held back: too many at once to be believed", False
    elif row.missing_since is not None:
        detail, closed = f"missing since {row.missing_since:%Y-%m-%d}; is looked for again", True
    else:
        detail, closed = "no longer shown", False
    return Finding(Kind.EXTRA, row.foursquare_id, row.second, detail, closed)


@dataclass(frozen=True, slots=True)
class Nameless:
    """A row that only the application has: without an id, and no check-in shown matches it."""

    row: int
    created_at: datetime
    venue_name: str


@dataclass(frozen=True, slots=True)
class Deletions:
    """The result so far of an operator's acceptance of deletions, in check-ins."""

    deleted: int
    there: int
    """Not in the list, but known to Foursquare by their ids."""
    waiting: int
    """Not decided yet."""
    refusal: str | None = None
    """Half a sentence: the reason why those were left as they are."""


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """A whole history compared, id by id."""

    user: User
    started_at: datetime
    finished_at: datetime
    shown: int
    """Number of different items that Foursquare showed."""
    reported_total: int | None
    """Foursquare's own total (`count`); it may include items that can't be fetched."""
    stored: int
    """Number of check-ins stored with their id and not deleted, at the end."""
    unreadable: int
    """Number of items shown that can't be read; an import quarantines them."""
    findings: tuple[Finding, ...]
    nameless: tuple[Nameless, ...]
    requests: int
    deletions: Deletions | None = None
    """None: the operator accepted no deletions."""

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that are left to be repaired."""
        return tuple(finding for finding in self.findings if not finding.closed)

    @property
    def complete(self) -> bool:
        """Return True if no gap is left."""
        return not self.open

    @property
    def by_month(self) -> list[tuple[str, Counter[Kind]]]:
        """The number of findings per month of `createdAt` (UTC), oldest first."""
        months: dict[str, Counter[Kind]] = {}
        for finding in self.findings:
            month = f"{finding.created_at:%Y-%m}" if finding.created_at else "unknown"
            months.setdefault(month, Counter())[finding.kind] += 1
        return sorted(months.items())


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A verification that ended without a verdict."""

    user: User
    seen: int
    """Number of items compared so far."""
    down_to: datetime | None
    """`createdAt` of the last item compared."""
    error: CheckinsyncError
    """The error that ended it."""
    deletions: Deletions | None = None
    """None: the operator accepted no deletions, or none was looked at yet."""
    options: str = ""
    """The options with which it resumes: ` --repair`, ` --repair --accept-deletions`."""
