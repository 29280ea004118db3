"""Writes of a walk: how far it has come after each page, and its end; each in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checkinsync.model.listing import Checkpoint
from checkinsync.model.span import Order, VerifiedSpan
from checkinsync.store import verified_spans
from checkinsync.store.jobs import Progress
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of one user's walk over the window."""

    lease: Lease
    job: int
    progress: Progress
    cursor: datetime
    """Everything up to here is stored."""
    at: datetime
    token_in: str | None
    """How the token was sent."""
    window_size: int | None
    """Check-ins that the next window held already; see `SyncState.expected`."""
    order: Order | None
    """By what the list is ordered, if a page has shown it."""
    before: tuple[VerifiedSpan, ...]
    after: tuple[VerifiedSpan, ...]
    """What had been compared, and what has been now."""
    release: bool
    """Give the lease back."""
    last_new: datetime | None = None
    """The time, if it saw a new check-in."""


def go_on(
    conn: Connection,
    user_id: int,
    job: int,
    progress: Progress,
    *,
    checkpoint: Checkpoint | None,
    last_new: datetime | None,
    order: Order | None,
) -> None:
    """Store how far an unfinished walk has come; call it in the page's transaction.

    `checkpoint`: None leaves the stored one as it is. `last_new`: the time, if the page showed a
    new check-in. `order`: by what the list is ordered, if the page shows it.
    """
    conn.execute(
        """
        WITH jobs AS (
            UPDATE import_jobs
               SET total_expected = greatest(%(expected)s::int, %(seen)s),
                   total_imported = %(seen)s, current_batch = %(page)s, requests = %(requests)s,
                   new_checkins = %(new)s, changed_checkins = %(changed)s
             WHERE id = %(job)s)
        INSERT INTO sync_state AS s (user_id, walk_started_at, walk_since, walk_offset, walk_tail,
                                     walked_down_to, last_new_at, list_order)
        SELECT %(user)s, %(started_at)s, %(since)s, %(offset)s, %(tail)s, %(down_to)s, %(last_new)s,
               %(order)s
         WHERE %(marked)s OR %(last_new)s::timestamptz IS NOT NULL OR %(order)s::text IS NOT NULL
        ON CONFLICT (user_id) DO UPDATE
           SET walk_started_at = CASE WHEN %(marked)s THEN excluded.walk_started_at
                                 ELSE s.walk_started_at END,
               walk_since = CASE WHEN %(marked)s THEN excluded.walk_since ELSE s.walk_since END,
               walk_offset = CASE WHEN %(marked)s THEN excluded.walk_offset ELSE s.walk_offset END,
               walk_tail = CASE WHEN %(marked)s THEN excluded.walk_tail ELSE s.walk_tail END,
               walked_down_to = CASE WHEN %(marked)s THEN excluded.walked_down_to
                                ELSE s.walked_down_to END,
               last_new_at = coalesce(excluded.last_new_at, s.last_new_at),
               list_order = coalesce(excluded.list_order, s.list_order)
        """,
        {
            "user": user_id,
            "job": job,
            "expected": progress.expected,
            "seen": progress.seen,
            "page": progress.page,
            "requests": progress.requests,
            "new": progress.saved.new,
            "changed": progress.saved.changed,
            "marked": checkpoint is not None,
            "started_at": checkpoint and checkpoint.started_at,
            "since": checkpoint and checkpoint.since,
            "offset": checkpoint and checkpoint.offset,
            "tail": checkpoint and list(checkpoint.tail),
            "down_to": checkpoint and checkpoint.down_to,
            "last_new": last_new,
            "order": order.value if order else None,
        },
    )


def finish(conn: Connection, ends: Sequence[Finished]) -> None:
    """Store the ends of several users' imports, in their sessions' transaction.

    `users.last_sync_at` is set to the cursor, too: the application asks Foursquare for what
    follows it.
    """
    conn.execute(
        """
        WITH done AS (
            SELECT *
              FROM unnest(%(user)s::int[], %(token)s::bigint[], %(job)s::bigint[],
                          %(cursor)b::timestamptz[], %(at)b::timestamptz[], %(token_in)s::text[],
                          %(window_size)s::int[], %(last_new)b::timestamptz[],
                          %(list_order)s::text[], %(release)s::bool[], %(page)s::int[],
                          %(seen)s::int[], %(requests)s::int[], %(new)s::int[],
                          %(changed)s::int[])
                AS d (user_id, token, job, cursor, at, token_in, window_size, last_new, list_order,
                      release, page, seen, requests, new, changed)),
        jobs AS (
            UPDATE import_jobs AS j
               SET status = 'completed', completed_at = now() AT TIME ZONE 'UTC',
                   error_message = NULL, total_expected = d.seen, total_imported = d.seen,
                   current_batch = d.page, requests = d.requests, new_checkins = d.new,
                   changed_checkins = d.changed
              FROM done AS d WHERE j.id = d.job),
        states AS (
            INSERT INTO sync_state AS s
                   (user_id, cursor, last_checked_at, token_in, window_size, last_new_at,
                    list_order)
            SELECT d.user_id, d.cursor, d.at, d.token_in, d.window_size, d.last_new, d.list_order
              FROM done AS d
            ON CONFLICT (user_id) DO UPDATE
               SET cursor = excluded.cursor, last_checked_at = excluded.last_checked_at,
                   token_in = excluded.token_in, window_size = excluded.window_size,
                   last_new_at = coalesce(excluded.last_new_at, s.last_new_at),
                   list_order = coalesce(excluded.list_order, s.list_order),
                   state = 'ok', reason = NULL, retry_at = NULL, consecutive_failures = 0,
                   rejected_token_sha256 = NULL, token_unreadable = false,
                   walk_started_at = NULL, walk_since = NULL, walk_offset = NULL, walk_tail = NULL,
                   walked_down_to = NULL),
        synced AS (
            UPDATE users AS u SET last_sync_at = d.cursor AT TIME ZONE 'UTC'
              FROM done AS d WHERE u.id = d.user_id),
        dropped AS (
            DELETE FROM verified_spans AS v
             USING unnest(%(dropped_user)s::int[], %(dropped)b::timestamptz[])
                AS g (user_id, newest)
             WHERE v.user_id = g.user_id AND v.newest = g.newest),
        kept AS (
            INSERT INTO verified_spans AS v (user_id, newest, oldest, verified_at)
            SELECT *
              FROM unnest(%(kept_user)s::int[], %(newest)b::timestamptz[],
                          %(oldest)b::timestamptz[], %(verified_at)b::timestamptz[])
                AS k (user_id, newest, oldest, verified_at)
            ON CONFLICT (user_id, newest) DO UPDATE
               SET oldest = excluded.oldest, verified_at = excluded.verified_at)
        UPDATE import_leases AS l SET expires_at = '-infinity'
          FROM done AS d
         WHERE d.release AND l.user_id = d.user_id AND l.token = d.token
        """,
        {**_ends(ends), **verified_spans.changes(ends)},
    )


def _ends(ends: Sequence[Finished]) -> dict[str, list[Any]]:
    return {
        "user": [end.lease.user_id for end in ends],
        "token": [end.lease.token for end in ends],
        "job": [end.job for end in ends],
        "cursor": [end.cursor for end in ends],
        "at": [end.at for end in ends],
        "token_in": [end.token_in for end in ends],
        "window_size": [end.window_size for end in ends],
        "last_new": [end.last_new for end in ends],
        "list_order": [end.order.value if end.order else None for end in ends],
        "release": [end.release for end in ends],
        "page": [end.progress.page for end in ends],
        "seen": [end.progress.seen for end in ends],
        "requests": [end.progress.requests for end in ends],
        "new": [end.progress.saved.new for end in ends],
        "changed": [end.progress.saved.changed for end in ends],
    }
