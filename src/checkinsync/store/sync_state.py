"""Rows of `sync_state`: the state of each user's imports, and the checkpoint of their walk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checkinsync.model.listing import Checkpoint
from checkinsync.model.span import Order, VerifiedSpan
from checkinsync.model.user import User
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Slices:
    """The progress of re-reading the older history, and what is known of Foursquare's list."""

    start: datetime | None = None
    """Start of the next slice; None: the top of the older history."""
    sliced_at: datetime | None = None
    """Time of the last scrub: it read a slice, or looked for a missing check-in instead."""
    owed: bool = False
    """The last scrub looked for a missing check-in: the next one reads a slice."""
    order: Order | None = None
    """By what the list is ordered, where a page has shown it."""
    shift: int = 0
    """Number of items that the list has more than are stored, above the place read last."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """A user as stored, and the state that their next import begins with."""

    user: User
    application_at_work: bool
    """The application is importing them, by its rows of the last hour."""
    in_quarantine: bool = False
    """Some of their items are in quarantine."""
    missing: bool = False
    """Some of their check-ins were not shown where they had to be."""
    cursor: datetime | None = None
    """Start of the first attempt of the last finished walk; None: none has finished."""
    expected: int | None = None
    """Check-ins that the last walk saw in the window that begins at the cursor; None: unknown."""
    slices: Slices = Slices()
    checkpoint: Checkpoint | None = None
    """Checkpoint of the unfinished walk; None: there is none."""
    spans: tuple[VerifiedSpan, ...] = ()
    """What was compared with Foursquare when, newest first."""


def load(conn: Connection, user_ids: Collection[int]) -> dict[int, SyncState]:
    """Return the state of each of these users who exist; they stay until the transaction ends."""
    rows = conn.execute(
        """
        SELECT u.id, u.foursquare_user_id, u.display_name, u.access_token_encrypted,
               EXISTS (SELECT FROM import_jobs AS j
                        WHERE j.user_id = u.id AND j.status IN ('pending', 'running')
                          AND j.lease_token IS NULL
                          AND coalesce(j.data_source, 'foursquare') = 'foursquare'
                          AND coalesce(j.started_at, j.created_at) BETWEEN
                              (now() AT TIME ZONE 'UTC') - interval '1 hour'
                              AND (now() AT TIME ZONE 'UTC') + interval '1 hour'),
               EXISTS (SELECT FROM quarantined_checkins AS q WHERE q.user_id = u.id),
               EXISTS (SELECT FROM checkins AS c
                        WHERE c.user_id = u.id AND c.missing_since IS NOT NULL
                          AND c.deleted_at IS NULL),
               s.cursor, s.window_size,
               s.slice_from, s.sliced_at, s.slice_owed, s.list_order, s.list_shift,
               s.walk_started_at, s.walk_since, s.walk_offset, s.walk_tail, s.walked_down_to,
               ARRAY(SELECT v.newest FROM verified_spans AS v
                      WHERE v.user_id = u.id ORDER BY v.newest DESC),
               ARRAY(SELECT v.oldest FROM verified_spans AS v
                      WHERE v.user_id = u.id ORDER BY v.newest DESC),
               ARRAY(SELECT v.verified_at FROM verified_spans AS v
                      WHERE v.user_id = u.id ORDER BY v.newest DESC)
          FROM users AS u
          LEFT JOIN sync_state AS s ON s.user_id = u.id
         WHERE u.id = ANY (%(users)s::int[])
         ORDER BY u.id
           FOR KEY SHARE OF u
        """,
        {"users": list(user_ids)},
    )
    return {row[0]: _state(row) for row in rows}


def _state(row: tuple[Any, ...]) -> SyncState:
    at_work, in_quarantine, missing, cursor, expected = row[4:9]
    start, sliced_at, owed, order, shift = row[9:14]
    started_at, since, offset, tail, down_to = row[14:19]
    return SyncState(
        User(*row[:4]),
        at_work,
        in_quarantine,
        missing,
        cursor,
        expected,
        Slices(start, sliced_at, bool(owed), Order(order) if order else None, shift or 0),
        Checkpoint(started_at, since, offset, tuple(tail), down_to) if started_at else None,
        tuple(map(VerifiedSpan, *row[19:22])),
    )


def record_answered(conn: Connection, user_id: int) -> None:
    """Store that the token works, after a walk with `--since`; the cursor stays as it is."""
    conn.execute(
        """
        UPDATE sync_state
           SET state = 'ok', reason = NULL, retry_at = NULL, consecutive_failures = 0,
               rejected_token_sha256 = NULL, token_unreadable = false
         WHERE user_id = %(user)s AND state <> 'ok'
        """,
        {"user": user_id},
    )


def record_rate_limit(conn: Connection, user_id: int, *, until: datetime, reason: str) -> None:
    """Store that the user waits for the reset of a rate limit; it does not count as a failure."""
    conn.execute(
        """
        INSERT INTO sync_state (user_id, state, reason, retry_at)
        VALUES (%(user)s, 'rate_limited', %(reason)s, %(until)s)
        ON CONFLICT (user_id) DO UPDATE
           SET state = excluded.state, reason = excluded.reason, retry_at = excluded.retry_at
        """,
        {"user": user_id, "until": until, "reason": reason},
    )


def record_failure(conn: Connection, user_id: int, *, reason: str, since: datetime) -> None:
    """Store that all attempts of a run failed, the first at `since`, unless an import has
    succeeded since."""
    conn.execute(
        """
        INSERT INTO sync_state AS s (user_id, state, reason, consecutive_failures)
        VALUES (%(user)s, 'failing', %(reason)s, 1)
        ON CONFLICT (user_id) DO UPDATE
           SET state = excluded.state, reason = excluded.reason, retry_at = NULL,
               consecutive_failures = s.consecutive_failures + 1
         WHERE s.last_checked_at IS NULL
            OR s.last_checked_at NOT BETWEEN %(since)s
                                         AND %(since)s::timestamptz + interval '1 day'
        """,
        {"user": user_id, "reason": reason, "since": since},
    )


def record_needs_reauth(conn: Connection, user: User, *, reason: str, unreadable: bool) -> None:
    """Store that the user must log in again, as long as this token is the one stored: a user who
    reconnects through the application is due again. `unreadable`: no key decrypts the token, which
    is tried again each night."""
    conn.execute(
        """
        INSERT INTO sync_state AS s (user_id, state, reason, consecutive_failures,
                                     rejected_token_sha256, token_unreadable)
        VALUES (%(user)s, 'needs_reauth', %(reason)s, 1, %(hash)s, %(unreadable)s)
        ON CONFLICT (user_id) DO UPDATE
           SET state = excluded.state, reason = excluded.reason, retry_at = NULL,
               rejected_token_sha256 = excluded.rejected_token_sha256,
               token_unreadable = excluded.token_unreadable,
               consecutive_failures = s.consecutive_failures + 1
        """,
        {"user": user.id, "reason": reason, "hash": user.token_hash, "unreadable": unreadable},
    )


def pause(conn: Connection, user_id: int, *, at: datetime | None) -> None:
    """Pause a user for an operator: `orchestrate` skips them until resumed (`at` = None)."""
    conn.execute(
        """
        INSERT INTO sync_state (user_id, paused_at) VALUES (%(user)s, %(at)s)
        ON CONFLICT (user_id) DO UPDATE SET paused_at = excluded.paused_at
        """,
        {"user": user_id, "at": at},
    )


def forget_token_way(conn: Connection) -> None:
    """Forget how tokens are sent, so that the next import finds out again."""
    conn.execute("UPDATE sync_state SET token_in = NULL WHERE token_in IS NOT NULL")


def known_token_way(conn: Connection) -> str | None:
    """Return how the last finished import sent the token: `header`, `query`, or None."""
    row = conn.execute(
        """
        SELECT token_in FROM sync_state
         WHERE token_in IS NOT NULL ORDER BY last_checked_at DESC NULLS LAST LIMIT 1
        """
    ).fetchone()
    return None if row is None else str(row[0])
