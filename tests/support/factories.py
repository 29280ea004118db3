"""Check-ins for tests of pure code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from checkinsync.model.checkin import Checkin

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def hex_id(instant: datetime, number: int = 0) -> str:
    """Return an id of that instant."""
    return f"{int(instant.timestamp()):08x}{number:016x}"


def checkin(
    created: datetime = NOW,
    number: int = 0,
    *,
    entered: datetime | None = None,
    venue: str | None = "venue",
    fingerprint: bytes = b"as made",
) -> Checkin:
    """Return a check-in of `created`, entered then or at `entered`."""
    return Checkin(
        id=hex_id(entered or created, number),
        created_at=created,
        kind="checkin",
        venue_id=venue,
        venue_name="Somewhere",
        venue_category="Unknown",
        latitude=None,
        longitude=None,
        city="Unknown",
        country="Unknown",
        time_zone=None,
        time_zone_offset=None,
        shout=None,
        is_private=False,
        photos=(),
        raw=b"{}",
        fingerprint=fingerprint,
    )


def history(count: int, *, newest: datetime = NOW, step: timedelta = timedelta(hours=7)):
    """Return `count` check-ins, newest first."""
    return [checkin(newest - number * step, number) for number in range(count)]
