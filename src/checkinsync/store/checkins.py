"""Rows of `checkins`: reads the rows that a page is compared with, writes the decisions.

Values travel as binary arrays, a page in one statement. Times are converted in the statements:
the application's columns have no zone and hold UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from checkinsync.errors import DatabaseExhausted
from checkinsync.model.changes import Changes, Former, Rewrite, Stored, Twin
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Window
from checkinsync.store.driver_errors import SEQUENCE_BEHIND
from checkinsync.store.pool import Connection


def stored(conn: Connection, user_id: int, ids: Collection[str]) -> list[Stored]:
    """Return the rows of these Foursquare ids."""
    rows = conn.execute(
        """
        WITH span AS MATERIALIZED (
            SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
                   missing_since, withheld_since, deleted_at
              FROM checkins
             WHERE user_id = %(user)s AND foursquare_id BETWEEN %(first)s AND %(last)s)
        SELECT * FROM span WHERE foursquare_id = ANY (%(ids)b::text[])
        """,
        {"user": user_id, **_span("ids", ids)},
    )
    return [stored_row(row) for row in rows]


def without_id(conn: Connection, user_id: int, seconds: Collection[datetime]) -> list[Stored]:
    """Return the application's rows without an id in these seconds, the oldest row first."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND foursquare_id IS NULL
           AND checkin_date >= %(first)s::timestamptz AT TIME ZONE 'UTC'
           AND checkin_date < %(last)s::timestamptz AT TIME ZONE 'UTC' + interval '1 second'
           AND date_trunc('second', checkin_date) AT TIME ZONE 'UTC'
             = ANY (%(seconds)b::timestamptz[])
         ORDER BY id
        """,
        {"user": user_id, **_span("seconds", seconds)},
    )
    return [stored_row(row) for row in rows]


def neighbours(conn: Connection, user_id: int, seconds: Collection[datetime]) -> list[Stored]:
    """Return all rows in these seconds: their places under the unique constraint are taken."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s
           AND checkin_date >= %(first)s::timestamptz AT TIME ZONE 'UTC'
           AND checkin_date < %(last)s::timestamptz AT TIME ZONE 'UTC' + interval '1 second'
           AND date_trunc('second', checkin_date) AT TIME ZONE 'UTC'
             = ANY (%(seconds)b::timestamptz[])
        """,
        {"user": user_id, **_span("seconds", seconds)},
    )
    return [stored_row(row) for row in rows]


def count(conn: Connection, user_id: int) -> int:
    """Count the user's check-ins that are stored with their id and not deleted.

    All less the deleted ones: each is counted by an index alone, and no row is read.
    """
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM checkins
                 WHERE user_id = %(user)s AND foursquare_id IS NOT NULL)
             - (SELECT count(*) FROM checkins
                 WHERE user_id = %(user)s AND deleted_at IS NOT NULL)
        """,
        {"user": user_id},
    ).fetchone()
    return int(row[0]) if row else 0


def expected_in(conn: Connection, user_id: int, window: Window) -> int | None:
    """Count the stored check-ins in the window, by their time or by their id's instant.

    None where the window is everything. An id begins with its instant in hex, so that ids of the
    window sort after the id of its start.
    """
    if window.start is None:
        return None
    row = conn.execute(
        """
        SELECT count(*) FROM checkins
         WHERE user_id = %(user)s AND foursquare_id IS NOT NULL AND deleted_at IS NULL
           AND (checkin_date >= %(start)s::timestamptz AT TIME ZONE 'UTC'
                OR foursquare_id BETWEEN %(first_id)s AND 'ffffffffffffffffffffffff'
                   AND length(foursquare_id) = 24)
        """,
        {
            "user": user_id,
            "start": window.start,
            "first_id": f"{max(0, int(window.start.timestamp())):08x}",
        },
    ).fetchone()
    return int(row[0]) if row else 0


def add(
    conn: Connection,
    user_id: int,
    checkins: Sequence[Checkin],
    *,
    moments: Mapping[str, datetime],
    now: datetime,
) -> dict[str, int]:
    """Insert them; returns the new rows by Foursquare id.

    A check-in that is not among them met another row under a unique constraint: look again, and
    decide anew.
    """
    if not checkins:
        return {}
    rows = conn.execute(
        """
        INSERT INTO checkins (
            user_id, foursquare_id, kind, venue_id, venue_name, venue_category, latitude, longitude,
            checkin_date, city, country, timezone, time_zone_offset, shout, is_private,
            visibility, raw, fingerprint, first_seen_at, created_at)
        SELECT %(user)s, c.id, c.kind, c.venue_id, c.venue_name, c.venue_category, c.latitude,
               c.longitude, c.moment AT TIME ZONE 'UTC', c.city, c.country, c.time_zone,
               c.time_zone_offset, c.shout, c.is_private, c.visibility, c.raw::json,
               c.fingerprint, %(now)s, %(now)s::timestamptz AT TIME ZONE 'UTC'
          FROM unnest(
               %(id)b::text[], %(kind)b::text[], %(venue_id)b::text[], %(venue_name)b::text[],
               %(venue_category)b::text[], %(latitude)b::numeric[], %(longitude)b::numeric[],
               %(moment)b::timestamptz[], %(city)b::text[], %(country)b::text[],
               %(time_zone)b::text[], %(time_zone_offset)b::int4[], %(shout)b::text[],
               %(is_private)b::bool[], %(visibility)b::text[], %(raw)b::text[],
               %(fingerprint)b::bytea[])
            AS c (id, kind, venue_id, venue_name, venue_category, latitude, longitude, moment, city,
                  country, time_zone, time_zone_offset, shout, is_private, visibility, raw,
                  fingerprint)
        ON CONFLICT DO NOTHING
        RETURNING foursquare_id, id
        """,
        {"user": user_id, "now": now, **_columns(checkins, moments)},
    )
    return dict(rows.fetchall())


def check_sequence(conn: Connection) -> None:
    """Raise DatabaseExhausted where the rows' sequence is behind the rows: `add` can't tell that
    from another row in the way, and skips both."""
    row = conn.execute(
        """
        SELECT pg_sequence_last_value(pg_get_serial_sequence('checkins', 'id')::regclass)
               < (SELECT max(id) FROM checkins)
        """
    ).fetchone()
    if row is not None and row[0]:
        raise DatabaseExhausted(SEQUENCE_BEHIND.format(table="checkins"))


def rewrite(
    conn: Connection,
    rewrites: Sequence[Rewrite],
    *,
    moments: Mapping[str, datetime],
    now: datetime,
) -> None:
    """Give rows the values of their check-ins."""
    if not rewrites:
        return
    checkins = [rewrite.checkin for rewrite in rewrites]
    conn.execute(
        """
        UPDATE checkins
           SET foursquare_id = c.id, kind = c.kind, venue_id = c.venue_id,
               venue_name = c.venue_name, venue_category = c.venue_category,
               latitude = c.latitude, longitude = c.longitude,
               checkin_date = c.moment AT TIME ZONE 'UTC', city = c.city, country = c.country,
               timezone = coalesce(c.time_zone, timezone), time_zone_offset = c.time_zone_offset,
               shout = c.shout, is_private = c.is_private, visibility = c.visibility,
               raw = c.raw::json, fingerprint = c.fingerprint, changed_at = %(now)s,
               first_seen_at = coalesce(first_seen_at, %(now)s), deleted_at = NULL,
               missing_since = NULL, missing_again_at = NULL, withheld_since = NULL,
               first_venue_id = CASE WHEN first_venue_name IS NOT NULL THEN first_venue_id
                   WHEN (checkins.venue_id, checkins.venue_name)
                        IS DISTINCT FROM (c.venue_id, c.venue_name)
                   THEN checkins.venue_id END,
               first_venue_name = CASE WHEN first_venue_name IS NOT NULL THEN first_venue_name
                   WHEN (checkins.venue_id, checkins.venue_name)
                        IS DISTINCT FROM (c.venue_id, c.venue_name)
                   THEN checkins.venue_name END
          FROM unnest(%(row)b::int4[],
               %(id)b::text[], %(kind)b::text[], %(venue_id)b::text[], %(venue_name)b::text[],
               %(venue_category)b::text[], %(latitude)b::numeric[], %(longitude)b::numeric[],
               %(moment)b::timestamptz[], %(city)b::text[], %(country)b::text[],
               %(time_zone)b::text[], %(time_zone_offset)b::int4[], %(shout)b::text[],
               %(is_private)b::bool[], %(visibility)b::text[], %(raw)b::text[],
               %(fingerprint)b::bytea[])
            AS c (row, id, kind, venue_id, venue_name, venue_category, latitude, longitude,
                  moment, city, country, time_zone, time_zone_offset, shout, is_private,
                  visibility, raw, fingerprint)
         WHERE checkins.id = c.row
        """,
        {"now": now, "row": [r.row for r in rewrites], **_columns(checkins, moments)},
    )


def former(conn: Connection, rows: Collection[int]) -> list[Former]:
    """Return these rows as they are before they are written over."""
    found = conn.execute(
        """
        SELECT id, venue_id, venue_name, raw::text FROM checkins WHERE id = ANY (%(rows)b::int4[])
        """,
        {"rows": list(rows)},
    )
    return [Former(*row) for row in found]


def merge(conn: Connection, twins: Sequence[Twin]) -> None:
    """Merge rows without an id into the rows of the same check-ins, with photos not known there."""
    if not twins:
        return
    pairs = {"twin": [twin.row for twin in twins], "kept": [twin.kept for twin in twins]}
    conn.execute(
        """
        UPDATE checkin_photos AS p SET checkin_id = t.kept
          FROM unnest(%(twin)s::int4[], %(kept)s::int4[]) AS t (twin, kept)
         WHERE p.checkin_id = t.twin
           AND NOT EXISTS (SELECT FROM checkin_photos AS k
                            WHERE k.checkin_id = t.kept AND k.photo_url = p.photo_url)
        """,
        pairs,
    )
    conn.execute("DELETE FROM checkins WHERE id = ANY (%(twin)s) AND foursquare_id IS NULL", pairs)


def _span(name: str, values: Collection[Any]) -> dict[str, Any]:
    """Values, of which there is at least one, and the first and the last of them.

    Between its ends a page is found by a search of an index, whatever the planner knows of the
    table. In the middle of a first import it knows nothing: without the ends it would read the
    user's whole history again for each page, or, joined with the values, for each of them.
    """
    return {name: sorted(set(values)), "first": min(values), "last": max(values)}


def rows_of(changes: Changes, added: Mapping[str, int]) -> dict[str, int]:
    """Return the rows of all check-ins that were written, by Foursquare id."""
    return {**added, **{rewrite.checkin.id: rewrite.row for rewrite in changes.rewrites}}


def _columns(checkins: Sequence[Checkin], moments: Mapping[str, datetime]) -> dict[str, list[Any]]:
    """One array per column."""
    names = (
        "id", "kind", "venue_id", "venue_name", "venue_category", "latitude", "longitude", "city",
        "country", "time_zone", "time_zone_offset", "shout", "is_private", "visibility", "raw",
        "fingerprint",
    )  # fmt: skip
    columns: dict[str, list[Any]] = {name: [getattr(c, name) for c in checkins] for name in names}
    return {**columns, "moment": [moments[c.id] for c in checkins]}


def stored_row(row: tuple[Any, ...]) -> Stored:
    """Return a row as it is selected here and in `deletions`."""
    number, foursquare_id, fingerprint, venue_id, moment, *doubts = row
    return Stored(number, foursquare_id, fingerprint, venue_id, moment.astimezone(UTC), *doubts)
