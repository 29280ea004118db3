"""The application's columns that we read and write, and the values they must hold; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from checkinsync.migrations.catalog import Column

DECIMALS = 8
"""Of degrees; `verify` compares so many with what Foursquare shows."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A column of the application, and how we use it."""

    writes: str
    """The type of what we write, in SQL."""
    types: tuple[str, ...]
    """The types that take it, by their names in the catalog."""
    filled: bool = True
    """Our INSERT names the column."""
    null: bool = False
    """We write NULL into it at times."""
    added: bool = False
    """May be absent: a migration adds it, or nothing needs it."""
    width: int = 0
    """Characters that we write each time; 0: longer texts are cut, or quarantined."""
    digits: int = 0
    """Of degrees, before the decimal point."""
    exact: bool = False
    """With microseconds."""

    def holds(self, column: Column) -> bool:
        """Return True if the column takes everything that we write."""
        if column.base not in self.types:
            return False
        if self.exact and column.type != self.writes:
            return False
        if self.digits and column.type.startswith("numeric("):
            precision, scale = map(int, column.type[len("numeric(") : -1].split(","))
            return scale >= DECIMALS and precision - scale >= self.digits
        return column.width is None or column.width >= self.width


_ID = Expected("integer", ("int4",), filled=False)
_NUMBER = Expected("integer", ("int4", "int8"))
_TEXT = Expected("text", ("text", "varchar", "citext"))
_TIME = Expected("timestamp without time zone", ("timestamp",))
_DEGREES = Expected("numeric with 8 decimals", ("numeric", "float8"), null=True)
_TOKEN = replace(_TEXT, types=(*_TEXT.types, "bpchar"), width=64)

COLUMNS: Mapping[str, Mapping[str, Expected]] = {
    "users": {
        "id": _ID,
        "foursquare_user_id": _TEXT,
        "display_name": replace(_TEXT, null=True),
        "avatar_url": replace(_TEXT, null=True, added=True),
        "access_token_encrypted": replace(_TEXT, null=True),
        "secret_token": _TOKEN,
        "last_sync_at": replace(_TIME, filled=False, added=True),
        "last_login_at": replace(_TIME, added=True),
        "created_at": _TIME,
        "updated_at": replace(_TIME, added=True),
    },
    "import_jobs": {
        "id": _ID,
        "user_id": _NUMBER,
        "status": replace(_TEXT, width=len("rate_limited")),
        "total_expected": replace(_NUMBER, null=True),
        "total_imported": _NUMBER,
        "current_batch": _NUMBER,
        "error_message": replace(_TEXT, filled=False, null=True),
        "started_at": _TIME,
        "completed_at": replace(_TIME, filled=False, null=True),
        "created_at": _TIME,
        "data_source": replace(_TEXT, added=True, width=len("foursquare")),
        "retry_after": replace(_TIME, filled=False, null=True, added=True),
    },
    "checkins": {
        "id": _ID,
        "user_id": _NUMBER,
        "venue_id": replace(_TEXT, null=True),
        "venue_name": _TEXT,
        "venue_category": _TEXT,
        "latitude": replace(_DEGREES, digits=2),
        "longitude": replace(_DEGREES, digits=3),
        "checkin_date": replace(_TIME, exact=True),
        "city": _TEXT,
        "country": _TEXT,
        "created_at": _TIME,
        "timezone": replace(_TEXT, null=True, added=True),
    },
    "checkin_photos": {
        "id": _ID,
        "checkin_id": _NUMBER,
        "photo_url": _TEXT,
        "width": replace(_NUMBER, null=True),
        "height": replace(_NUMBER, null=True),
        "created_at": _TIME,
    },
}
"""By table and column."""

UNIQUE = {"users": ("id", "foursquare_user_id"), "checkins": ("id",)}
"""Columns that our foreign keys, or an ON CONFLICT, need to be unique."""

REFERENCES = {("import_jobs", "user_id"): "users", ("checkins", "user_id"): "users",
              ("checkin_photos", "checkin_id"): "checkins"}  # fmt: skip
"""The foreign keys of columns that we write."""

STATUSES = ("running", "completed", "failed", "rate_limited")
"""The words that we write into `import_jobs.status`."""
