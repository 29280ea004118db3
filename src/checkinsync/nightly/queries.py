"""Rows of `sync_runs`: one per nightly run."""

from __future__ import annotations

from datetime import datetime

from checkinsync.nightly.notices import Circumstances
from checkinsync.nightly.summary import RunRecord, RunSummary
from checkinsync.store.pool import Connection


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
    return Circumstances(*row)


def finish(conn: Connection, run_id: int, summary: RunSummary, *, reminded: bool) -> None:
    """Store how a run ended. `reminded`: it named the users who must log in again."""
    conn.execute(
        """
        UPDATE sync_runs
           SET finished_at = %(finished_at)s, due = %(due)s, synced = %(synced)s,
               failed = %(failed)s, skipped = %(skipped)s, requests = %(requests)s, new = %(new)s,
               changed = %(changed)s, gone = %(gone)s, outcome = %(outcome)s,
               reminded = %(reminded)s
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
