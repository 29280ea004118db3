"""Rows of `import_jobs`, which the application's progress page reads: every import is one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from checkinsync.model.changes import Saved
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come."""

    page: int
    seen: int
    """Check-ins shown so far."""
    expected: int | None
    requests: int
    saved: Saved


def application_at_work(conn: Connection, user_id: int) -> bool:
    """Whether the application itself imports this user, as far as its row of the last hour says."""
    row = conn.execute(
        """
        SELECT FROM import_jobs
         WHERE user_id = %(user)s AND status IN ('pending', 'running') AND lease_token IS NULL
           AND coalesce(data_source, 'foursquare') = 'foursquare'
           AND coalesce(started_at, created_at) > now() AT TIME ZONE 'UTC' - interval '1 hour'
         LIMIT 1
        """,
        {"user": user_id},
    ).fetchone()
    return row is not None


def users_of_the_application(conn: Connection) -> set[int]:
    """All users whom the application itself imports now."""
    rows = conn.execute(
        """
        SELECT user_id FROM import_jobs
         WHERE status IN ('pending', 'running') AND lease_token IS NULL
           AND coalesce(data_source, 'foursquare') = 'foursquare'
           AND coalesce(started_at, created_at) > now() AT TIME ZONE 'UTC' - interval '1 hour'
        """
    )
    return {row[0] for row in rows}


def close_leftovers(conn: Connection, user_id: int) -> None:
    """End the rows that a crash left open: ours, whose lease we have now, and the application's
    after their hour. Nobody is blocked by them any more. One that the application begins at this
    very moment is left to it: both imports then go on, and store the same once."""
    conn.execute(
        """
        UPDATE import_jobs
           SET status = 'failed', completed_at = now() AT TIME ZONE 'UTC',
               error_message = CASE WHEN lease_token IS NULL
                   THEN 'taken over by checkinsync: no end within an hour'
                   ELSE 'the import was cut off; the next one went on from there' END
         WHERE user_id = %(user)s AND status IN ('pending', 'running')
           AND coalesce(data_source, 'foursquare') = 'foursquare'
           AND (lease_token IS NOT NULL
                OR coalesce(started_at, created_at)
                   <= now() AT TIME ZONE 'UTC' - interval '1 hour')
        """,
        {"user": user_id},
    )


def start(conn: Connection, lease: Lease, *, expected: int | None) -> int:
    """A row that is running from its first moment; returns its id."""
    row = conn.execute(
        """
        INSERT INTO import_jobs
               (user_id, status, data_source, total_expected, total_imported, current_batch,
                started_at, created_at, lease_token)
        VALUES (%(user)s, 'running', 'foursquare', %(expected)s, 0, 0,
                now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', %(token)s)
        RETURNING id
        """,
        {"user": lease.user_id, "expected": expected, "token": lease.token},
    ).fetchone()
    assert row is not None
    return int(row[0])


def set_progress(conn: Connection, job: int, progress: Progress) -> None:
    """Keep the row current, page by page."""
    conn.execute(
        """
        UPDATE import_jobs
           SET total_expected = greatest(%(expected)s::int, %(seen)s), total_imported = %(seen)s,
               current_batch = %(page)s, requests = %(requests)s, new_checkins = %(new)s,
               changed_checkins = %(changed)s
         WHERE id = %(job)s
        """,
        {
            "job": job,
            "expected": progress.expected,
            "seen": progress.seen,
            "page": progress.page,
            "requests": progress.requests,
            "new": progress.saved.new,
            "changed": progress.saved.changed,
        },
    )


def finish(conn: Connection, job: int) -> None:
    """It is done: what was expected is what there was."""
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
    """What was done after the window was stored counts, too."""
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
    """It ended early, as `failed` or `rate_limited`; `message` is for the user to read."""
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
    completed_at: datetime | None
    imported: int
    expected: int | None
    page: int
    message: str | None


def running(conn: Connection) -> list[Job]:
    """The imports at work now: ours by their living leases, the application's of the last hour."""
    rows = conn.execute(
        """
        SELECT j.id, j.user_id, j.status, j.started_at AT TIME ZONE 'UTC',
               j.completed_at AT TIME ZONE 'UTC', coalesce(j.total_imported, 0), j.total_expected,
               coalesce(j.current_batch, 0), j.error_message
          FROM import_jobs AS j
          LEFT JOIN import_leases AS l ON l.user_id = j.user_id AND l.token = j.lease_token
         WHERE j.status IN ('pending', 'running')
           AND coalesce(j.data_source, 'foursquare') = 'foursquare'
           AND CASE WHEN j.lease_token IS NOT NULL
                    THEN l.expires_at BETWEEN now() AND now() + interval '10 minutes'
                    ELSE coalesce(j.started_at, j.created_at)
                         > now() AT TIME ZONE 'UTC' - interval '1 hour' END
         ORDER BY j.id
        """
    )
    return [Job(*row) for row in rows]


def latest(conn: Connection, user_id: int) -> Job | None:
    """The user's last Foursquare import."""
    row = conn.execute(
        """
        SELECT id, user_id, status, started_at AT TIME ZONE 'UTC',
               completed_at AT TIME ZONE 'UTC', coalesce(total_imported, 0), total_expected,
               coalesce(current_batch, 0), error_message
          FROM import_jobs
         WHERE user_id = %(user)s AND coalesce(data_source, 'foursquare') = 'foursquare'
         ORDER BY id DESC LIMIT 1
        """,
        {"user": user_id},
    ).fetchone()
    return None if row is None else Job(*row)
