"""Rows of `sync_runs`: one per nightly run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from checkinsync.model.user import Candidate, User
from checkinsync.nightly.alerts import Streak
from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.summary import RunRecord, RunSummary
from checkinsync.store import lease_owner, leases
from checkinsync.store.pool import Connection

THIRTY_DAYS, SOON_THIRTY_DAYS = 30, 25
"""Days within which all of a history is compared again: promised, and when a warning is due."""

CHUNK = 1000
"""Rows that are received at once."""


def start(conn: Connection, *, at: datetime, host: str, due: int) -> int:
    """Insert the row of a run and return its id; close rows that a kill left open."""
    conn.execute(
        """
        UPDATE sync_runs SET outcome = 'killed', finished_at = coalesce(finished_at, %(at)s)
         WHERE outcome = 'running'
        """,
        {"at": at},
    )
    row = conn.execute(
        """
        INSERT INTO sync_runs (started_at, host, due) VALUES (%(at)s, %(host)s, %(due)s)
        RETURNING id
        """,
        {"at": at, "host": host, "due": due},
    ).fetchone()
    assert row is not None
    return int(row[0])


def circumstances(conn: Connection, *, at: datetime) -> Circumstances:
    """Return what a run has to know of the database before it begins."""
    row = conn.execute(
        """
        SELECT clock_timestamp(),
               (SELECT count(*) FROM users WHERE access_token_encrypted IS NOT NULL),
               (SELECT max(started_at) FROM sync_runs WHERE reminded AND started_at <= %(at)s)
        """,
        {"at": at},
    ).fetchone()
    assert row is not None
    clock, connected, reminded_at = row
    return Circumstances(
        clock,
        connected,
        reminded_at,
        _before(conn),
        _streaks(conn),
        _longest_without_slice(conn, at=at),
        frozenset(_without_slices(conn, at=at, days=THIRTY_DAYS)),
    )


def _before(conn: Connection) -> RunRecord | None:
    """Return the run before, asked by a run that has not stored itself yet: none is at work."""
    for run in latest(conn, most=1):
        return replace(run, outcome="killed") if run.outcome == "running" else run
    return None


def _streaks(conn: Connection) -> dict[int, Streak]:
    """Return the failures in a row of users who have had more than one."""
    rows = conn.execute(
        """
        SELECT s.user_id, s.consecutive_failures,
               coalesce(s.last_checked_at, u.created_at AT TIME ZONE 'UTC')
          FROM sync_state AS s
          JOIN users AS u ON u.id = s.user_id
         WHERE s.consecutive_failures > 1
        """
    )
    return {user_id: Streak(failures, since) for user_id, failures, since in rows}


def _longest_without_slice(conn: Connection, *, at: datetime) -> frozenset[int]:
    """Return a tenth of the users who have older history: those to whom a slice of it was last read
    longest ago."""
    rows = conn.execute(
        """
        WITH older AS (
            SELECT s.user_id, s.sliced_at FROM sync_state AS s
             WHERE EXISTS (SELECT FROM verified_spans AS v
                            WHERE v.user_id = s.user_id
                              AND v.verified_at < %(at)s::timestamptz - interval '20 hours'))
        SELECT user_id FROM older
         ORDER BY sliced_at NULLS FIRST, user_id
         LIMIT (SELECT ceil(count(*) / 10.0) FROM older)
        """,
        {"at": at},
    )
    return frozenset(row[0] for row in rows)


def without_slices(conn: Connection, *, at: datetime) -> int:
    """Count the users who are imported, and of whose older history no slice has been read for five
    days, though a part of it was last compared more than 25 days ago."""
    return len(_without_slices(conn, at=at, days=SOON_THIRTY_DAYS))


def _without_slices(conn: Connection, *, at: datetime, days: int) -> list[int]:
    rows = conn.execute(
        """
        SELECT s.user_id FROM sync_state AS s
         WHERE s.last_checked_at BETWEEN %(at)s::timestamptz - interval '3 days'
                                     AND %(at)s::timestamptz
           AND (s.sliced_at IS NULL OR s.sliced_at < %(at)s::timestamptz - interval '5 days')
           AND EXISTS (SELECT FROM verified_spans AS v
                        WHERE v.user_id = s.user_id
                          AND v.verified_at < %(at)s::timestamptz - make_interval(days => %(days)s))
        """,
        {"at": at, "days": days},
    )
    return [row[0] for row in rows]


def finish(conn: Connection, run_id: int, summary: RunSummary, *, reminded: bool) -> None:
    """Store how a run ended. `reminded`: it named the users who must log in again."""
    conn.execute(
        """
        UPDATE sync_runs
           SET finished_at = %(finished_at)s, due = %(due)s, synced = %(synced)s,
               failed = %(failed)s, skipped = %(skipped)s, requests = %(requests)s, new = %(new)s,
               changed = %(changed)s, gone = %(gone)s, outcome = %(outcome)s,
               reminded = %(reminded)s, progress = NULL
         WHERE id = %(id)s
        """,
        {
            "id": run_id,
            "finished_at": summary.finished_at,
            "due": summary.due,
            "synced": summary.synced,
            "failed": summary.failed,
            "skipped": summary.skipped,
            "requests": summary.requests,
            "new": summary.saved.new,
            "changed": summary.saved.changed,
            "gone": summary.saved.gone,
            "outcome": summary.outcome,
            "reminded": reminded,
        },
    )


def latest(conn: Connection, *, most: int) -> list[RunRecord]:
    """Return the last runs, newest first."""
    rows = conn.execute(
        """
        SELECT id, started_at, finished_at, host, due, synced, failed, skipped, requests, new,
               changed, gone, outcome
          FROM sync_runs ORDER BY id DESC LIMIT %(most)s
        """,
        {"most": most},
    )
    return [RunRecord(*row) for row in rows]


def prune(conn: Connection, *, before: datetime, most: int) -> int:
    """Delete runs that began before then, the oldest first, and return how many; the last stays."""
    return conn.execute(
        """
        DELETE FROM sync_runs WHERE id IN (
               SELECT id FROM sync_runs
                WHERE started_at < %(before)s AND outcome <> 'running'
                  AND id < (SELECT max(id) FROM sync_runs)
                ORDER BY id LIMIT %(most)s)
        """,
        {"before": before, "most": most},
    ).rowcount


def since(conn: Connection, at: datetime) -> list[RunRecord]:
    """Return the runs that began then or later, oldest first."""
    rows = conn.execute(
        """
        SELECT id, started_at, finished_at, host, due, synced, failed, skipped, requests, new,
               changed, gone, outcome
          FROM sync_runs WHERE started_at >= %(at)s ORDER BY id
        """,
        {"at": at},
    )
    return [RunRecord(*row) for row in rows]


def at_work(conn: Connection) -> bool:
    """Return True if a run is at work: it holds its lease, and its process is alive."""
    row = conn.execute(
        "SELECT owner FROM import_leases WHERE user_id = %(run)s AND expires_at > now()",
        {"run": leases.RUN},
    ).fetchone()
    return row is not None and not lease_owner.is_dead(row[0])


def set_progress(conn: Connection, run_id: int, progress: dict[str, Any]) -> None:
    """Store what a run at work is waiting for; see `nightly.progress`."""
    conn.execute(
        "UPDATE sync_runs SET progress = %(progress)s WHERE id = %(id)s AND outcome = 'running'",
        {"id": run_id, "progress": Jsonb(progress)},
    )


def progress(conn: Connection) -> dict[str, Any] | None:
    """Return what the newest run is waiting for; None where it has not said."""
    row = conn.execute("SELECT progress FROM sync_runs ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else row[0]


def set_trouble(conn: Connection, run: RunSummary, trouble: dict[str, int]) -> None:
    """Store what kept users from being imported: the reasons, with the number of users."""
    conn.execute(
        "UPDATE sync_runs SET trouble = %(trouble)s WHERE id = %(id)s",
        {"id": run.run_id, "trouble": Jsonb(trouble)},
    )


def trouble_before(
    conn: Connection, run: RunSummary, *, within: timedelta
) -> tuple[RunRecord, dict[str, int]] | None:
    """Return the run before this one and its trouble; None where it had none or is longer ago."""
    row = conn.execute(
        """
        SELECT id, started_at, finished_at, host, due, synced, failed, skipped, requests, new,
               changed, gone, outcome, trouble, started_at > %(since)s
          FROM sync_runs WHERE id < %(id)s ORDER BY id DESC LIMIT 1
        """,
        {"id": run.run_id, "since": run.started_at - within},
    ).fetchone()
    if row is None or not row[-1] or row[-2] is None:
        return None
    return RunRecord(*row[:-2]), row[-2]


@dataclass(frozen=True, slots=True)
class History:
    """What decides how many requests a user's next import takes."""

    cursor: datetime | None
    """None: no walk has finished."""
    walks_everything: bool
    """An unfinished walk of the whole history is resumed."""
    stored: int
    expected: int
    """Of the stored check-ins, those in the window."""


def candidates(
    conn: Connection, *, at: datetime, days: int, overlap: timedelta
) -> Iterator[tuple[Candidate, History]]:
    """Yield everyone who is active, by id, while the server goes on looking; for any number.

    An id begins with its instant in hex: see `checkins.expected_in`.
    """
    conn.execute("SET LOCAL statement_timeout = 0")  # it takes as long as its reader
    with conn.cursor() as cursor:
        for row in cursor.stream(
            """
            SELECT u.id, u.foursquare_user_id, u.display_name, u.access_token_encrypted,
                   s.paused_at IS NOT NULL, coalesce(s.state, 'ok'), s.retry_at, s.last_checked_at,
                   s.rejected_token_sha256, coalesce(s.token_unreadable, false), s.cursor,
                   s.walk_started_at IS NOT NULL AND s.walk_since IS NULL,
                   coalesce(c.stored, 0), coalesce(c.expected, 0)
              FROM active_users(%(at)s, %(days)s) AS u
              LEFT JOIN sync_state AS s ON s.user_id = u.id
              LEFT JOIN LATERAL (
                   SELECT (SELECT count(*) FROM checkins AS c
                            WHERE c.user_id = u.id AND c.foursquare_id IS NOT NULL)
                        - (SELECT count(*) FROM checkins AS c
                            WHERE c.user_id = u.id AND c.deleted_at IS NOT NULL) AS stored,
                          (SELECT count(*) FROM checkins AS c
                            WHERE c.user_id = u.id AND c.foursquare_id IS NOT NULL
                              AND c.deleted_at IS NULL AND c.checkin_date >= w.start)
                        + (SELECT count(*) FROM checkins AS c
                            WHERE c.user_id = u.id AND c.deleted_at IS NULL
                              AND c.checkin_date < w.start AND length(c.foursquare_id) = 24
                              AND c.foursquare_id BETWEEN w.first_id AND 'ffffffffffffffffffffffff')
                          AS expected
                     FROM (SELECT (s.cursor - %(overlap)s::interval) AT TIME ZONE 'UTC' AS start,
                                  lpad(to_hex(greatest(0, floor(extract(epoch FROM
                                      s.cursor - %(overlap)s::interval)))::bigint), 8, '0')
                                    AS first_id)
                       AS w) AS c ON s.cursor IS NOT NULL
             ORDER BY u.id
            """,
            {"at": at, "days": days, "overlap": overlap},
            size=CHUNK,
        ):
            yield Candidate(User(*row[:4]), *row[4:10]), History(*row[10:])
