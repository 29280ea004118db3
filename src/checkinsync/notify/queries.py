"""What monitoring wants to know of the database, besides what a run says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from checkinsync.model import standing
from checkinsync.model.standing import GROUPS, NIGHTLY
from checkinsync.nightly import queries as nightly
from checkinsync.nightly.alerts import troubled
from checkinsync.store import users
from checkinsync.store.pool import Connection

LOOKED_BACK = 400
"""Runs among which the last good one is looked for."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of the database at one moment."""

    users: dict[str, int]
    """Users in each of the groups that `status` counts."""
    last_success: datetime | None
    """The end of the last run that was not in trouble; None: not lately."""
    oldest_comparison: datetime | None
    """The stretch of an active user's history compared longest ago; None: there is none."""
    quarantined: int
    sessions: int
    """Sessions of this database, ours among them."""
    most_sessions: int
    """Those that the server allows, for all its databases."""


def state(conn: Connection, *, at: datetime, days: int) -> State:
    """Return the state; `days`: a login within so many makes a user active."""
    everyone = users.standings(conn, at=at, days=days)
    counts = standing.counted(everyone, at=at, max_age=NIGHTLY)
    good = (
        run.finished_at
        for run in nightly.latest(conn, most=LOOKED_BACK)
        if run.finished_at is not None and not troubled(run)
    )
    row = conn.execute(
        """
        SELECT (SELECT min(v.verified_at)
                  FROM verified_spans AS v
                  JOIN sync_status(%(at)s, %(days)s) AS s ON s.id = v.user_id
                 WHERE s.active AND s.state NOT IN ('paused', 'needs_reauth')),
               (SELECT count(*) FROM quarantined_checkins),
               (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
               current_setting('max_connections')::int
        """,
        {"at": at, "days": days},
    ).fetchone()
    assert row is not None
    return State({group: counts.get(group, 0) for group in GROUPS}, next(good, None), *row)
