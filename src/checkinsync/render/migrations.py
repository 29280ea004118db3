"""How the migrations stand, and what is pending, as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from checkinsync.render.table import table
from checkinsync.schema import Applied, SqlFile, Standing


def status(standings: Sequence[Standing]) -> str:
    """A line per file: its name, how it stands, when it was applied (UTC)."""
    rows = (
        (s.name, s.state.value, None if s.applied_at is None else s.applied_at.astimezone(UTC))
        for s in standings
    )
    return table(("migration", "state", "applied at (UTC)"), rows)


def plan(files: Sequence[SqlFile]) -> str:
    """The pending SQL, to be read or kept; each file under its name."""
    if not files:
        return "-- nothing is pending"
    return "\n\n".join(f"-- {file.name}\n\n{file.text.rstrip()}" for file in files)


def applied(rows: Sequence[Applied]) -> str:
    """A line per file that was applied just now."""
    if not rows:
        return "the schema is up to date"
    return "\n".join(f"{'noted' if row.baseline else 'applied'} {row.name}" for row in rows)
