"""Runs that several processes share, in the queue's schema: begun, led and closed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from checkinsync.store import leases
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection

LEASE_OWNER = "workers"
"""The owner of a shared run's lease: no process of its own, so that none can be seen to be dead."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A row of `runs`."""

    run_id: int
    started_at: datetime
    options: Any
    outages: Any
    stop: Any
    requests: int
    rid: str
    """Of its pings."""
    queued_at: datetime | None
    queued_place: int | None
    """The last first start that is in the queue, or was; None: none yet."""
    closed_at: datetime | None


def add_run(
    conn: Connection,
    run_id: int,
    *,
    lease: Lease | None,
    at: datetime,
    rid: str,
    **stored: Any,
) -> bool:
    """Insert a run, and let it take over the lease of runs from the process that holds it; forget
    those before it. Return False if the lease was lost.

    `rid`: of its pings; `stored`: `options`, `circumstances` and `outages`, as JSON.
    """
    conn.execute("DELETE FROM checkinsync_queue.runs")
    added = conn.execute(
        """
        WITH lease AS (
            UPDATE import_leases
               SET owner = %(owner)s, token = nextval('import_lease_tokens'),
                   expires_at = now() + '90 s'
             WHERE user_id = %(lease)s AND token = %(token)s
            RETURNING token)
        INSERT INTO checkinsync_queue.runs
               (run_id, started_at, lease_token, rid, options, circumstances, outages)
        SELECT %(run)s, %(at)s, token, %(rid)s, %(options)s, %(circumstances)s, %(outages)s
          FROM lease
        """,
        {
            "run": run_id,
            "at": at,
            "owner": LEASE_OWNER,
            "lease": leases.RUN,
            "token": None if lease is None else lease.token,
            "rid": rid,
            **{name: Jsonb(value) for name, value in stored.items()},
        },
    )
    return added.rowcount == 1


def open_runs(conn: Connection) -> list[int]:
    """Return the runs that are not closed: one, if any."""
    rows = conn.execute("SELECT run_id FROM checkinsync_queue.runs WHERE closed_at IS NULL")
    return [row[0] for row in rows]


def run(conn: Connection, run_id: int) -> StoredRun | None:
    """Return a run; None where the next one has taken its place."""
    row = conn.execute(
        """
        SELECT run_id, started_at, options, outages, stop, requests, rid,
               queued_at, queued_place, closed_at
          FROM checkinsync_queue.runs WHERE run_id = %(run)s
        """,
        {"run": run_id},
    ).fetchone()
    return None if row is None else StoredRun(*row)


def circumstances(conn: Connection, run_id: int) -> Any:
    """Return what a run knew of the database at its start."""
    row = conn.execute(
        "SELECT circumstances FROM checkinsync_queue.runs WHERE run_id = %(run)s", {"run": run_id}
    ).fetchone()
    return None if row is None else row[0]


def lock(conn: Connection, run_id: int) -> StoredRun | None:
    """Return a run that is not closed, and keep others from changing it in this transaction."""
    row = conn.execute(
        """
        SELECT run_id, started_at, options, outages, stop, requests, rid,
               queued_at, queued_place, NULL
          FROM checkinsync_queue.runs
         WHERE run_id = %(run)s AND closed_at IS NULL FOR UPDATE
        """,
        {"run": run_id},
    ).fetchone()
    return None if row is None else StoredRun(*row)


def set_state(conn: Connection, run_id: int, *, outages: Any, stop: Any, requests: int) -> None:
    """Store what a run knows of the services, and why it ended early; add the requests sent."""
    conn.execute(
        """
        UPDATE checkinsync_queue.runs
           SET outages = %(outages)s, stop = %(stop)s, requests = requests + %(requests)s
         WHERE run_id = %(run)s
        """,
        {
            "run": run_id,
            "outages": Jsonb(outages),
            "stop": None if stop is None else Jsonb(stop),
            "requests": requests,
        },
    )


def set_queued(conn: Connection, run_id: int, *, at: datetime, place: int) -> None:
    """Store which first start is the last one in the queue."""
    conn.execute(
        """
        UPDATE checkinsync_queue.runs SET queued_at = %(at)s, queued_place = %(place)s
         WHERE run_id = %(run)s
        """,
        {"run": run_id, "at": at, "place": place},
    )


def renew(conn: Connection, run_id: int) -> bool:
    """Renew the lease of a run, which has no process of its own, for 90 s from this moment on;
    return False if it is lost, or the run has been closed meanwhile."""
    row = conn.execute(
        """
        UPDATE import_leases AS l SET expires_at = clock_timestamp() + '90 s'
          FROM (SELECT lease_token FROM checkinsync_queue.runs
                 WHERE run_id = %(run)s AND closed_at IS NULL FOR SHARE) AS r
         WHERE l.user_id = %(lease)s AND l.token = r.lease_token
        RETURNING l.token
        """,
        {"run": run_id, "lease": leases.RUN},
    ).fetchone()
    return row is not None


def claim_close(conn: Connection, run_id: int) -> bool:
    """Return True if it is for us to close a run: all its users are done, and no other worker is
    at it. One that dies over it is followed by another after three minutes."""
    row = conn.execute(
        """
        UPDATE checkinsync_queue.runs AS r SET closing_until = now() + '3 minutes'
         WHERE run_id = %(run)s AND closed_at IS NULL
           AND (closing_until IS NULL OR closing_until < now())
           AND NOT EXISTS (SELECT FROM checkinsync_queue.users AS u
                            WHERE u.run_id = r.run_id AND u.outcome IS NULL)
        RETURNING run_id
        """,
        {"run": run_id},
    ).fetchone()
    return row is not None


def close(conn: Connection, run_id: int) -> None:
    """Record that a run is closed, and give its lease back."""
    conn.execute(
        """
        WITH closed AS (
            UPDATE checkinsync_queue.runs SET closed_at = now()
             WHERE run_id = %(run)s AND closed_at IS NULL
            RETURNING lease_token)
        UPDATE import_leases AS l SET expires_at = '-infinity'
          FROM closed WHERE l.user_id = %(lease)s AND l.token = closed.lease_token
        """,
        {"run": run_id, "lease": leases.RUN},
    )
