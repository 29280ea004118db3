"""Rows of `import_jobs`: one per import, read by the application's progress page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from checkinsync.model.changes import Saved
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an import."""

    page: int
    seen: int
    """Number of check-ins shown so far."""
    expected: int | None
    requests: int
    saved: Saved


def users_of_the_application(conn: Connection) -> set[int]:
    """Return the users whom the application is importing now."""
    rows = conn.execute(
        """
        SELECT user_id FROM import_jobs
         WHERE status IN ('pending', 'running') AND lease_token IS NULL
           AND coalesce(data_source, 'foursquare') = 'foursquare'
           AND coalesce(started_at, created_at) BETWEEN
               (now() AT TIME ZONE 'UTC') - interval '1 hour'
               AND (now() AT TIME ZONE 'UTC') + interval '1 hour'
        """
    )
    return {row[0] for row in rows}


def close_abandoned(conn: Connection, *, dead: Collection[int]) -> None:
    """Close our rows that a crash left open, so that the progress page does not wait for them; each
    user's next import resumes from there. Those whose lease is held stay, but for `dead`, the users
    whose imports have died with their leases."""
    conn.execute(
        """
        UPDATE import_jobs AS j
           SET status = 'failed', completed_at = now() AT TIME ZONE 'UTC',
               error_message = 'interrupted; the next import resumes from there'
         WHERE j.status IN ('pending', 'running') AND j.lease_token IS NOT NULL
           AND NOT EXISTS (SELECT FROM import_leases AS l
                            WHERE l.user_id = j.user_id AND l.token = j.lease_token
                              AND l.expires_at > now()
                              AND l.expires_at <= now() + interval '10 minutes'
                              AND l.user_id <> ALL (%(dead)s::bigint[]))
        """,
        {"dead": list(dead)},
    )


def start(conn: Connection, leases: Collection[Lease]) -> dict[int, int]:
    """Insert rows that are running from the start; return their ids by user.

    Rows that a crash left open are closed, so that they no longer block an import: ours, whose
    lease we hold now, and the application's after an hour. A row that the application inserts at
    this moment stays open: both imports then run, and store each check-in once.
    """
    rows = conn.execute(
        """
        WITH ours AS (
            SELECT * FROM unnest(%(users)s::int[], %(tokens)s::bigint[]) AS o (user_id, token)),
        closed AS (
            UPDATE import_jobs AS j
               SET status = 'failed', completed_at = now() AT TIME ZONE 'UTC',
                   error_message = CASE WHEN lease_token IS NULL
                       THEN 'taken over by checkinsync: not finished within an hour'
                       ELSE 'interrupted; the next import resumed from there' END
              FROM ours
             WHERE j.user_id = ours.user_id AND j.status IN ('pending', 'running')
               AND coalesce(j.data_source, 'foursquare') = 'foursquare'
               AND (j.lease_token IS NOT NULL
                    OR coalesce(j.started_at, j.created_at) NOT BETWEEN
                       (now() AT TIME ZONE 'UTC') - interval '1 hour'
                       AND (now() AT TIME ZONE 'UTC') + interval '1 hour'))
        INSERT INTO import_jobs
               (user_id, status, data_source, total_imported, current_batch,
                started_at, created_at, lease_token)
        SELECT user_id, 'running', 'foursquare', 0, 0,
               now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', token
          FROM ours ORDER BY user_id
        RETURNING user_id, id
        """,
        {"users": [x.user_id for x in leases], "tokens": [x.token for x in leases]},
    )
    return dict(rows.fetchall())


def finish(conn: Connection, job: int) -> None:
    """Mark the job as completed; the total is what was imported."""
    conn.execute(
        """
        UPDATE import_jobs
           SET status = 'completed', completed_at = now() AT TIME ZONE 'UTC',
               total_expected = total_imported, error_message = NULL
         WHERE id = %(job)s
        """,
        {"job": job},
    )


def set_totals(conn: Connection, job: int, saved: Saved, *, requests: int) -> None:
    """Store the totals once the scrub after the window has added to them."""
    conn.execute(
        """
        UPDATE import_jobs
           SET requests = %(requests)s, new_checkins = %(new)s, changed_checkins = %(changed)s
         WHERE id = %(job)s
        """,
        {"job": job, "requests": requests, "new": saved.new, "changed": saved.changed},
    )


def end(
    conn: Connection, job: int, *, status: str, message: str, retry_after: datetime | None = None
) -> None:
    """Mark the job as `failed` or `rate_limited`; `message` is shown to the user."""
    conn.execute(
        """
        UPDATE import_jobs
           SET status = %(status)s::text, error_message = %(message)s,
               completed_at = CASE %(status)s::text
                   WHEN 'failed' THEN now() AT TIME ZONE 'UTC' END,
               retry_after = %(retry_after)s::timestamptz AT TIME ZONE 'UTC'
         WHERE id = %(job)s
        """,
        {"job": job, "status": status, "message": message, "retry_after": retry_after},
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `import_jobs`, for `status` and `why`."""

    id: int
    user_id: int
    status: str
    started_at: datetime | None
    imported: int
    expected: int | None
    page: int
    message: str | None


def running(conn: Connection) -> list[Job]:
    """Return the imports running now: ours with a lease, the application's of the last hour."""
    rows = conn.execute(
        """
        SELECT j.id, j.user_id, j.status, j.started_at AT TIME ZONE 'UTC',
               coalesce(j.total_imported, 0), j.total_expected,
               coalesce(j.current_batch, 0), j.error_message
          FROM import_jobs AS j
          LEFT JOIN import_leases AS l ON l.user_id = j.user_id AND l.token = j.lease_token
         WHERE j.status IN ('pending', 'running')
           AND coalesce(j.data_source, 'foursquare') = 'foursquare'
           AND CASE WHEN j.lease_token IS NOT NULL
                    THEN l.expires_at BETWEEN now() AND now() + interval '10 minutes'
                    ELSE coalesce(j.started_at, j.created_at) BETWEEN
               (now() AT TIME ZONE 'UTC') - interval '1 hour'
               AND (now() AT TIME ZONE 'UTC') + interval '1 hour' END
         ORDER BY j.id
        """
    )
    return [Job(*row) for row in rows]


def prune(conn: Connection, *, before: datetime, most: int) -> int:
    """Delete imports of ours that ended before then, the oldest first, and return how many.

    Each user's last import stays, and the last that was completed. So do the application's rows.
    """
    return conn.execute(
        """
        DELETE FROM import_jobs WHERE id IN (
               SELECT j.id FROM import_jobs AS j
                WHERE j.lease_token IS NOT NULL
                  AND j.status IN ('completed', 'failed', 'rate_limited')
                  AND coalesce(j.completed_at, j.started_at) AT TIME ZONE 'UTC' < %(before)s
                  AND EXISTS (
                      SELECT FROM import_jobs AS later
                       WHERE later.user_id = j.user_id AND later.id > j.id
                         AND later.lease_token IS NOT NULL
                         AND (j.status <> 'completed' OR later.status = 'completed'))
                ORDER BY j.id LIMIT %(most)s)
        """,
        {"before": before, "most": most},
    ).rowcount


def latest(conn: Connection, user_id: int) -> Job | None:
    """Return the user's last Foursquare import."""
    row = conn.execute(
        """
        SELECT id, user_id, status, started_at AT TIME ZONE 'UTC',
               coalesce(total_imported, 0), total_expected,
               coalesce(current_batch, 0), error_message
          FROM import_jobs
         WHERE user_id = %(user)s AND coalesce(data_source, 'foursquare') = 'foursquare'
         ORDER BY id DESC LIMIT 1
        """,
        {"user": user_id},
    ).fetchone()
    return None if row is None else Job(*row)
