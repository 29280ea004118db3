"""Rows of `checkins`: reads the rows that a page is compared with, writes the decisions.

A page's values travel in one statement, new ones by COPY, others as binary arrays. Times are
converted to UTC: the application's columns have no zone.

A page's rows are looked for between the page's ends, or one by one: then an index finds them,
whatever the planner knows of the table. In the middle of a first import it knows nothing: without
the ends it would read the user's whole history again for each page, or, joined with the values, for
each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Json

from checkinsync.model.changes import Former, Rewrite, Stored, Twin
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Window
from checkinsync.model.span import Borders
from checkinsync.store.driver_errors import left_out
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Shown:
    """A page's check-ins of one user, each once, and the stretch that they fill."""

    user_id: int
    checkins: Sequence[Checkin]
    borders: Borders

    @property
    def inside(self) -> int:
        """The number of check-ins within the borders."""
        return sum(self.borders.hold(c) for c in self.checkins)


def as_stored(conn: Connection, pages: Sequence[Shown]) -> set[int]:
    """Return the users whose page, at least one check-in, is stored exactly as shown.

    Each check-in has its row, unchanged and not marked; no row within the borders is not shown; and
    nothing is left to be adopted or tried again: no row without an id, nothing in quarantine.
    """
    checkins = [(page.user_id, checkin) for page in pages for checkin in page.checkins]
    rows = conn.execute(
        """
        WITH page AS MATERIALIZED (
            SELECT *
              FROM unnest(%(user)s::int[], %(first)b::timestamptz[], %(last)b::timestamptz[],
                          %(created_after)b::timestamptz[], %(created_before)b::timestamptz[],
                          %(first_id)s::text[], %(last_id)s::text[], %(inside)s::int[])
                AS p (user_id, first, last, created_after, created_before, first_id, last_id,
                      inside)),
        differing AS MATERIALIZED (
            SELECT DISTINCT s.user_id
              FROM unnest(%(of_user)s::int[], %(id)b::text[], %(fingerprint)b::bytea[])
                AS s (user_id, id, fingerprint)
             WHERE s.fingerprint IS DISTINCT FROM (
                   SELECT c.fingerprint FROM checkins AS c
                    WHERE c.user_id = s.user_id AND c.foursquare_id = s.id
                      AND c.missing_since IS NULL AND c.withheld_since IS NULL
                      AND c.deleted_at IS NULL))
        SELECT p.user_id FROM page AS p
         WHERE NOT EXISTS (SELECT FROM differing AS d WHERE d.user_id = p.user_id)
           AND NOT EXISTS (SELECT FROM quarantined_checkins AS q WHERE q.user_id = p.user_id)
           AND (SELECT count(*) FROM checkins AS c
                 WHERE c.user_id = p.user_id AND c.foursquare_id IS NULL
                   AND c.checkin_date >= p.first AT TIME ZONE 'UTC'
                   AND c.checkin_date < p.last AT TIME ZONE 'UTC' + interval '1 second') = 0
           AND (SELECT count(*) FROM checkins AS c
                 WHERE c.user_id = p.user_id AND c.deleted_at IS NULL
                   AND c.checkin_date >= coalesce(p.created_after AT TIME ZONE 'UTC', '-infinity')
                   AND c.checkin_date < coalesce(
                       p.created_before AT TIME ZONE 'UTC' + interval '1 second', 'infinity')
                   AND c.foursquare_id >= p.first_id AND c.foursquare_id < p.last_id) = p.inside
        """,
        {
            "user": [page.user_id for page in pages],
            "first": [min(c.created_at for c in page.checkins) for page in pages],
            "last": [max(c.created_at for c in page.checkins) for page in pages],
            "created_after": [page.borders.created_after for page in pages],
            "created_before": [page.borders.created_before for page in pages],
            "first_id": [page.borders.first_id for page in pages],
            "last_id": [page.borders.last_id for page in pages],
            "inside": [page.inside for page in pages],
            "of_user": [user_id for user_id, _ in checkins],
            "id": [checkin.id for _, checkin in checkins],
            "fingerprint": [checkin.fingerprint for _, checkin in checkins],
        },
    )
    return {row[0] for row in rows}


@dataclass(frozen=True, slots=True)
class Facing:
    """What is stored where a page goes."""

    rows: list[Stored]
    """The rows of its check-ins' ids, and all rows in their seconds, those without an id included;
    the oldest row first."""
    others: bool
    """A row within its borders, as in `deletions.in_span`, is of an id that it does not show."""
    quarantined: bool
    """Something of the user is in quarantine."""


def facing(
    conn: Connection,
    user_id: int,
    checkins: Collection[Checkin],
    *,
    borders: Borders | None = None,
    shown: Collection[str] = (),
) -> Facing:
    """Return what is stored where these check-ins go, in one statement.

    `borders`: of the stretch that shows just these and the ids `shown`; None: no others are looked
    for.
    """
    seconds = sorted({int(checkin.created_at.timestamp()) for checkin in checkins})
    ids = sorted({checkin.id for checkin in checkins})
    rows = conn.execute(
        """
        WITH span AS MATERIALIZED (
            SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
                   missing_since, withheld_since, deleted_at
              FROM checkins
             WHERE user_id = %(user)s AND foursquare_id BETWEEN %(first_id)s AND %(last_id)s),
        met AS (
            SELECT * FROM span WHERE foursquare_id = ANY (%(ids)b::text[])
            UNION
            SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
                   missing_since, withheld_since, deleted_at
              FROM checkins
             WHERE user_id = %(user)s
               AND checkin_date >= to_timestamp(%(first)s) AT TIME ZONE 'UTC'
               AND checkin_date < to_timestamp(%(last)s + 1) AT TIME ZONE 'UTC'
               AND floor(extract(epoch FROM checkin_date))::int8 = ANY (%(seconds)b::int8[]))
        SELECT page.*, met.*
          FROM (SELECT %(bounded)s AND EXISTS (
                       SELECT FROM checkins
                        WHERE user_id = %(user)s AND deleted_at IS NULL
                          AND checkin_date >= coalesce(
                              %(created_after)s::timestamptz AT TIME ZONE 'UTC', '-infinity')
                          AND checkin_date <= coalesce(
                              %(created_before)s::timestamptz AT TIME ZONE 'UTC', 'infinity')
                          AND foursquare_id >= %(from_id)s AND foursquare_id < %(to_id)s
                          AND foursquare_id <> ALL (%(ids)b::text[])
                          AND foursquare_id <> ALL (%(also_shown)b::text[])),
                       EXISTS (SELECT FROM quarantined_checkins WHERE user_id = %(user)s))
            AS page (others, quarantined)
          LEFT JOIN met ON true
         ORDER BY met.id
        """,
        {
            "user": user_id,
            "ids": ids,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "seconds": seconds,
            "first": seconds[0] if ids else None,
            "last": seconds[-1] if ids else None,
            "bounded": borders is not None,
            "created_after": borders and borders.created_after,
            "created_before": borders and borders.created_before,
            "from_id": borders and borders.first_id,
            "to_id": borders and borders.last_id,
            "also_shown": [*set(shown).difference(ids)],
        },
    ).fetchall()
    others, quarantined, *_ = rows[0]
    return Facing([stored_row(row[2:]) for row in rows if row[2]], others, quarantined)


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
) -> None:
    """Insert them, in a savepoint. Raises Duplicate where another row has come in the way since
    `facing`, ValueRefused.

    As text, since a column of the application may be of a related type, which COPY in binary form
    does not convert.
    """
    if not checkins:
        return
    seen = str(now)  # as all times here in UTC, which a column without zone is taken to be in
    cursor = conn.cursor()
    with cursor.copy(
        """
        COPY checkins (
            user_id, foursquare_id, kind, venue_id, venue_name, venue_category, latitude, longitude,
            checkin_date, city, country, timezone, time_zone_offset, shout, is_private, visibility,
            raw, fingerprint, first_seen_at, created_at)
        FROM STDIN
        """
    ) as copy:
        for c in checkins:
            copy.write_row((
                user_id, c.id, c.kind, c.venue_id, c.venue_name, c.venue_category, c.latitude,
                c.longitude, str(moments[c.id]), c.city, c.country, c.time_zone,
                c.time_zone_offset, c.shout, c.is_private, c.visibility, Json(c.raw, bytes),
                rf"\x{c.fingerprint.hex()}", seen, seen,
            ))  # fmt: skip
    if cursor.rowcount != len(checkins):
        raise left_out("checkins")


def rewrite(
    conn: Connection,
    rewrites: Sequence[Rewrite],
    *,
    moments: Mapping[str, datetime],
    now: datetime,
) -> None:
    """Give rows the values of their check-ins. Raises ValueRefused, also where a row has gone."""
    if not rewrites:
        return
    checkins = [rewrite.checkin for rewrite in rewrites]
    done = conn.execute(
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
    if done.rowcount != len(rewrites):
        raise left_out("checkins")


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


def _columns(checkins: Sequence[Checkin], moments: Mapping[str, datetime]) -> dict[str, list[Any]]:
    """One array per column."""
    names = (
        "id", "kind", "venue_id", "venue_name", "venue_category", "latitude", "longitude", "city",
        "country", "time_zone", "time_zone_offset", "shout", "is_private", "visibility",
        "fingerprint",
    )  # fmt: skip
    columns: dict[str, list[Any]] = {name: [getattr(c, name) for c in checkins] for name in names}
    raw, moment = [c.raw.decode() for c in checkins], [moments[c.id] for c in checkins]
    return {**columns, "raw": raw, "moment": moment}


def stored_row(row: tuple[Any, ...]) -> Stored:
    """Return a row as it is selected here and in `deletions`."""
    number, foursquare_id, fingerprint, venue_id, moment, *doubts = row
    return Stored(number, foursquare_id, fingerprint, venue_id, moment.astimezone(UTC), *doubts)
