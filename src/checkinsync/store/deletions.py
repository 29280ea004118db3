"""Marks on rows of `checkins`: missing, missing again, held back, deleted; and taking them off.

A row is never deleted. What is written here is decided in `sync.deletions`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from checkinsync.model.changes import DeletionMarks, RecentDeletions, Stored
from checkinsync.model.span import Borders
from checkinsync.store.checkins import stored_row
from checkinsync.store.driver_errors import left_out
from checkinsync.store.pool import Connection


def in_span(conn: Connection, user_id: int, borders: Borders) -> list[Stored]:
    """Return the rows inside a span under each order that the list may be in; those on its borders
    come along. To see in `checkins.facing` that there are none but those shown costs less."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND deleted_at IS NULL
           AND checkin_date >= coalesce(%(created_after)s::timestamptz AT TIME ZONE 'UTC',
                                        '-infinity')
           AND checkin_date <= coalesce(%(created_before)s::timestamptz AT TIME ZONE 'UTC',
                                        'infinity')
           AND foursquare_id >= %(first_id)s AND foursquare_id < %(last_id)s
        """,
        {
            "user": user_id,
            "created_after": borders.created_after,
            "created_before": borders.created_before,
            "first_id": borders.first_id,
            "last_id": borders.last_id,
        },
    )
    return [stored_row(row) for row in rows]


def recent(conn: Connection, user_id: int, *, since: datetime, now: datetime) -> RecentDeletions:
    """Count what is missing now, and what has gone since then; a time in the future, which a wrong
    clock wrote, does not count as lately. Each by an index alone, and no row is read."""
    row = conn.execute(
        """
        SELECT stored - gone + lately, missing + lately
          FROM (SELECT (SELECT count(*) FROM checkins
                         WHERE user_id = %(user)s AND foursquare_id IS NOT NULL),
                       (SELECT count(*) FROM checkins
                         WHERE user_id = %(user)s AND deleted_at IS NOT NULL),
                       (SELECT count(*) FROM checkins
                         WHERE user_id = %(user)s AND deleted_at > %(since)s
                           AND deleted_at <= %(now)s),
                       (SELECT count(*) FROM checkins
                         WHERE user_id = %(user)s AND missing_since IS NOT NULL
                           AND deleted_at IS NULL)) AS c (stored, gone, lately, missing)
        """,
        {"user": user_id, "since": since, "now": now},
    ).fetchone()
    assert row is not None
    return RecentDeletions(*row)


def note(conn: Connection, marks: DeletionMarks, *, now: datetime) -> None:
    """Write down what was decided; a mark that is there keeps its date, unless it is in the
    future."""
    conn.execute(
        """
        UPDATE checkins SET missing_since = %(now)s
         WHERE id = ANY (%(missing)b::int4[])
           AND (missing_since IS NULL OR missing_since > %(now)s)
        """,
        {"now": now, "missing": list(marks.missing)},
    )
    conn.execute(
        """
        UPDATE checkins SET missing_again_at = %(now)s
         WHERE id = ANY (%(again)b::int4[])
           AND (missing_again_at IS NULL OR missing_again_at > %(now)s)
        """,
        {"now": now, "again": list(marks.again)},
    )
    conn.execute(
        """
        UPDATE checkins SET withheld_since = %(now)s
         WHERE id = ANY (%(held_back)b::int4[]) AND withheld_since IS NULL
        """,
        {"now": now, "held_back": list(marks.held_back)},
    )
    conn.execute(
        "UPDATE checkins SET withheld_since = NULL WHERE id = ANY (%(released)b::int4[])",
        {"released": list(marks.released)},
    )


def hold_back(conn: Connection, user_id: int, *, at: datetime) -> None:
    """Hold back all that is missing: in all it is more than can be believed."""
    conn.execute(
        """
        UPDATE checkins SET withheld_since = %(at)s
         WHERE user_id = %(user)s AND missing_since IS NOT NULL AND withheld_since IS NULL
           AND deleted_at IS NULL
        """,
        {"user": user_id, "at": at},
    )


def clear(conn: Connection, rows: Collection[int]) -> None:
    """Take all marks off: these check-ins were shown. Raises ValueRefused."""
    done = conn.execute(
        """
        UPDATE checkins
           SET missing_since = NULL, missing_again_at = NULL, withheld_since = NULL,
               deleted_at = NULL
         WHERE id = ANY (%(rows)b::int4[])
        """,
        {"rows": list(rows)},
    )
    if done.rowcount != len(rows):
        raise left_out("checkins")


def mark_deleted(conn: Connection, rows: Collection[int], *, at: datetime) -> int:
    """Mark rows as deleted at Foursquare; returns how many were not marked so before."""
    deleted = conn.execute(
        """
        UPDATE checkins
           SET deleted_at = %(at)s, missing_since = coalesce(missing_since, %(at)s),
               withheld_since = NULL
         WHERE id = ANY (%(rows)b::int4[]) AND deleted_at IS NULL
        """,
        {"rows": list(rows), "at": at},
    )
    return deleted.rowcount


def missing_once(
    conn: Connection, user_id: int, *, before: datetime, now: datetime
) -> list[Stored]:
    """Return the rows first missed by then and not missed again since, newest first; those with a
    mark in the future among them, which a wrong clock wrote."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND (missing_since <= %(before)s OR missing_since > %(now)s)
           AND (missing_again_at IS NULL OR missing_again_at > %(now)s) AND deleted_at IS NULL
         ORDER BY checkin_date DESC, id
        """,
        {"user": user_id, "before": before, "now": now},
    )
    return [stored_row(row) for row in rows]


def missing_twice(conn: Connection, user_id: int, *, now: datetime) -> list[Stored]:
    """Return the rows that two looks did not show: Foursquare is to be asked about each."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND missing_since <= %(now)s AND missing_again_at <= %(now)s
           AND deleted_at IS NULL
         ORDER BY missing_again_at, id
        """,
        {"user": user_id, "now": now},
    )
    return [stored_row(row) for row in rows]


def one_that_is_there(conn: Connection, user_id: int) -> str | None:
    """Return the id of the newest check-in that is neither missing nor gone; None: there is none.

    Ids of Foursquare's own form only: of others the stored text need not be what was received.
    """
    row = conn.execute(
        """
        SELECT foursquare_id FROM checkins
         WHERE user_id = %(user)s AND foursquare_id ~ '^[0-9a-f]{24}$'
           AND missing_since IS NULL AND deleted_at IS NULL
         ORDER BY foursquare_id DESC LIMIT 1
        """,
        {"user": user_id},
    ).fetchone()
    return None if row is None else str(row[0])
