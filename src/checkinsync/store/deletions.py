"""Marks on rows of `checkins`: missing, missing again, withheld, gone; and rows shown once more.

A row is never deleted. What is written here is decided in `gone`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from checkinsync.model.changes import DeletionMarks, RecentDeletions, Stored
from checkinsync.model.span import Order, Span
from checkinsync.store.checkins import stored_row
from checkinsync.store.pool import Connection

AFTER_ALL_IDS = "\U0010ffff"
"""Sorts after all there are, those that are no hex digits too."""


def in_span(
    conn: Connection, user_id: int, span: Span, *, shown: Collection[str], now: datetime
) -> list[Stored]:
    """The rows inside a span under each order that the list may be in; those on its borders come
    along. None where all of them are among the ids `shown`, as nearly always: to see that costs a
    fraction of reading them."""
    where = {"user": user_id, "shown": list(shown), **_borders(span, now=now)}
    others = conn.execute(
        """
        SELECT EXISTS (
               SELECT FROM checkins
                WHERE user_id = %(user)s AND deleted_at IS NULL
                  AND checkin_date >= coalesce(%(created_after)s::timestamptz AT TIME ZONE 'UTC',
                                               '-infinity')
                  AND checkin_date <= coalesce(%(created_before)s::timestamptz AT TIME ZONE 'UTC',
                                               'infinity')
                  AND foursquare_id >= %(first_id)s AND foursquare_id < %(last_id)s
                  AND foursquare_id <> ALL (%(shown)b::text[]))
        """,
        where,
    ).fetchone()
    if others is None or not others[0]:
        return []
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
        where,
    )
    return [stored_row(row) for row in rows]


def _borders(span: Span, *, now: datetime) -> dict[str, datetime | str | None]:
    """Of the instants by which the list may be ordered; the others exclude nothing."""
    by_time, by_id = Order.CREATED in span.orders, Order.ENTERED in span.orders
    entered_before = min(span.entered_before or now, now) + timedelta(seconds=1)
    return {
        "created_after": span.created_after if by_time else None,
        "created_before": span.created_before if by_time else None,
        "first_id": id_from(span.entered_after) if by_id else "",
        "last_id": id_from(entered_before) if by_id else AFTER_ALL_IDS,
    }


def recent(conn: Connection, user_id: int, *, since: datetime) -> RecentDeletions:
    """How much of a user's history has gone, or was marked as missing, since then."""
    row = conn.execute(
        """
        SELECT count(*) FILTER (WHERE deleted_at IS NULL OR deleted_at > %(since)s),
               count(*) FILTER (WHERE deleted_at > %(since)s
                                   OR deleted_at IS NULL AND missing_since > %(since)s)
          FROM checkins WHERE user_id = %(user)s AND foursquare_id IS NOT NULL
        """,
        {"user": user_id, "since": since},
    ).fetchone()
    assert row is not None
    return RecentDeletions(*row)


def note(conn: Connection, marks: DeletionMarks, *, now: datetime) -> None:
    """Write down what was decided; what is marked so already stays as it is."""
    conn.execute(
        """
        UPDATE checkins SET missing_since = %(now)s, withheld_since = NULL
         WHERE id = ANY (%(missing)b::int4[]) AND missing_since IS NULL
        """,
        {"now": now, "missing": list(marks.missing)},
    )
    conn.execute(
        """
        UPDATE checkins SET missing_again_at = %(now)s
         WHERE id = ANY (%(again)b::int4[]) AND missing_again_at IS NULL
        """,
        {"now": now, "again": list(marks.again)},
    )
    conn.execute(
        """
        UPDATE checkins
           SET withheld_since = coalesce(withheld_since, %(now)s), missing_since = NULL,
               missing_again_at = NULL
         WHERE id = ANY (%(withheld)b::int4[])
           AND (withheld_since IS NULL OR missing_since IS NOT NULL)
        """,
        {"now": now, "withheld": list(marks.withheld)},
    )


def clear(conn: Connection, rows: Collection[int]) -> None:
    """They are there: nothing is missing, withheld or gone."""
    conn.execute(
        """
        UPDATE checkins
           SET missing_since = NULL, missing_again_at = NULL, withheld_since = NULL,
               deleted_at = NULL
         WHERE id = ANY (%(rows)b::int4[])
        """,
        {"rows": list(rows)},
    )


def mark_deleted(conn: Connection, rows: Collection[int], *, at: datetime) -> int:
    """They are gone at Foursquare; returns how many were not known to be."""
    buried = conn.execute(
        """
        UPDATE checkins
           SET deleted_at = %(at)s, missing_since = coalesce(missing_since, %(at)s),
               withheld_since = NULL
         WHERE id = ANY (%(rows)b::int4[]) AND deleted_at IS NULL
        """,
        {"rows": list(rows), "at": at},
    )
    return buried.rowcount


def missing_before(conn: Connection, user_id: int, at: datetime) -> list[Stored]:
    """Rows marked as missing by then and not looked for again since, newest first."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND missing_since <= %(at)s AND missing_again_at IS NULL
           AND deleted_at IS NULL
         ORDER BY checkin_date DESC, id
        """,
        {"user": user_id, "at": at},
    )
    return [stored_row(row) for row in rows]


def missing_twice(conn: Connection, user_id: int, *, most: int) -> list[Stored]:
    """Rows that were looked for twice in vain: Foursquare is to be asked for each."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND missing_since IS NOT NULL AND missing_again_at IS NOT NULL
           AND deleted_at IS NULL
         ORDER BY missing_again_at, id LIMIT %(most)s
        """,
        {"user": user_id, "most": most},
    )
    return [stored_row(row) for row in rows]


def count_above(conn: Connection, user_id: int, at: datetime, *, order: Order) -> int:
    """How many check-ins stand above that second in a list of this order; those of the second
    itself may be many, and are not counted."""
    after = at.replace(microsecond=0) + timedelta(seconds=1)
    if order is Order.CREATED:
        row = conn.execute(
            """
            SELECT count(*) FROM checkins
             WHERE user_id = %(user)s AND foursquare_id IS NOT NULL AND deleted_at IS NULL
               AND checkin_date >= %(after)s::timestamptz AT TIME ZONE 'UTC'
            """,
            {"user": user_id, "after": after},
        ).fetchone()
    else:
        row = conn.execute(
            """
            SELECT count(*) FROM checkins
             WHERE user_id = %(user)s AND foursquare_id >= %(first_id)s AND deleted_at IS NULL
            """,
            {"user": user_id, "first_id": id_from(after)},
        ).fetchone()
    assert row is not None
    return int(row[0])


def below(conn: Connection, user_id: int, at: datetime, *, most: int) -> list[Stored]:
    """Up to `most` rows that are older than that instant by both their instants."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND deleted_at IS NULL
           AND checkin_date < %(at)s::timestamptz AT TIME ZONE 'UTC'
           AND foursquare_id < %(last_id)s
         ORDER BY checkin_date LIMIT %(most)s
        """,
        {"user": user_id, "at": at, "last_id": id_from(at), "most": most},
    )
    return [stored_row(row) for row in rows]


def id_from(at: datetime | None) -> str:
    """The first id of that second: an id begins with its instant in hex, eight digits."""
    return "" if at is None else f"{max(0, int(at.timestamp())):08x}"
