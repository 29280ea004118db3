"""Rows of `verifications` and `verification_items`: what a verification has seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec

from checkinsync.model.changes import Stored
from checkinsync.model.checkin import Checkin
from checkinsync.model.listing import Checkpoint
from checkinsync.store.checkins import stored_row
from checkinsync.store.pool import Connection
from checkinsync.verify.result import Finding, Kind, Nameless

COLUMNS = (
    "kind", "venue_id", "venue_name", "venue_category", "latitude", "longitude", "city", "country",
    "time_zone_offset", "shout", "is_private", "visibility", "created_at",
)  # fmt: skip
"""The values of a check-in that are compared with its row, besides the fingerprint."""

values = attrgetter(*COLUMNS)
"""Returns them, of one check-in."""

_Row = msgspec.defstruct("_Row", ("id", *COLUMNS), gc=False)

BY_ID = "not in the list, but Foursquare knows it by its id"
"""`detail` of an item that no page has shown."""

KEPT = timedelta(days=7)
"""Age up to which an interrupted verification is resumed; an older one starts again."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification that is running or can be resumed."""

    started_at: datetime
    repairs: bool
    checkpoint: Checkpoint | None
    requests: int
    reported_total: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """An item of a page, compared with what was stored at that time."""

    foursquare_id: str
    finding: str
    """`same`, `missing`, `different`, `unreadable`."""
    created_at: datetime | None
    detail: str
    adopts: int | None = None
    """The application's row without an id that is this check-in."""
    repaired: bool = False
    """It is stored as shown, by a second comparison after it was stored."""


def load(conn: Connection, user_id: int) -> Verification | None:
    """Return the user's unfinished verification, if any."""
    row = conn.execute(
        """
        SELECT started_at, repairs, walk_started_at, walk_offset, walk_tail, walked_down_to,
               requests, told
          FROM verifications WHERE user_id = %(user)s
        """,
        {"user": user_id},
    ).fetchone()
    if row is None:
        return None
    started_at, repairs, walk_started_at, offset, tail, down_to, requests, reported_total = row
    checkpoint = (
        Checkpoint(walk_started_at, None, offset, tuple(tail), down_to) if walk_started_at else None
    )
    return Verification(started_at, repairs, checkpoint, requests, reported_total)


def start(conn: Connection, user_id: int, *, at: datetime, repairs: bool) -> None:
    """Start a verification; delete what an earlier one has left."""
    conn.execute("DELETE FROM verifications WHERE user_id = %(user)s", {"user": user_id})
    conn.execute(
        """
        INSERT INTO verifications (user_id, started_at, repairs)
        VALUES (%(user)s, %(at)s, %(repairs)s)
        """,
        {"user": user_id, "at": at, "repairs": repairs},
    )


def go_on(
    conn: Connection,
    user_id: int,
    items: Sequence[Compared],
    checkpoint: Checkpoint,
    *,
    at: datetime,
    requests: int,
    reported_total: int | None,
) -> None:
    """Store the compared items of a page, and the checkpoint of the walk; `requests`: sent in all.

    An item shown again keeps what was found before.
    """
    others = [item for item in items if item.finding != "same"]
    if others:
        _add(conn, user_id, others, at=at)
    conn.execute(
        """
        WITH same AS (
            INSERT INTO verification_items (user_id, foursquare_id, finding, detail, seen_at)
            SELECT %(user)s, s.id, 'same', '', %(at)s FROM unnest(%(same)b::text[]) AS s (id)
            ON CONFLICT DO NOTHING)
        UPDATE verifications
           SET walk_started_at = %(started_at)s, walk_offset = %(offset)s, walk_tail = %(tail)s,
               walked_down_to = %(down_to)s, requests = %(requests)s,
               told = coalesce(%(told)s, told)
         WHERE user_id = %(user)s
        """,
        {
            "user": user_id,
            "at": at,
            "same": [item.foursquare_id for item in items if item.finding == "same"],
            "started_at": checkpoint.started_at,
            "offset": checkpoint.offset,
            "tail": list(checkpoint.tail),
            "down_to": checkpoint.down_to,
            "requests": requests,
            "told": reported_total,
        },
    )


def seen(conn: Connection, user_id: int, ids: Sequence[str]) -> set[str]:
    """Return the ids that an earlier page of the verification has shown readably."""
    rows = conn.execute(
        """
        SELECT foursquare_id FROM verification_items
         WHERE user_id = %(user)s AND foursquare_id BETWEEN %(first)s AND %(last)s
           AND foursquare_id = ANY (%(ids)b::text[]) AND finding <> 'unreadable'
        """,
        {"user": user_id, **_span(ids)},
    )
    return {row[0] for row in rows}


def _add(conn: Connection, user_id: int, items: Sequence[Compared], *, at: datetime) -> None:
    conn.execute(
        """
        INSERT INTO verification_items AS v
               (user_id, foursquare_id, finding, created_at, detail, adopts, repaired, seen_at)
        SELECT DISTINCT ON (s.id)
               %(user)s, s.id, s.finding, s.created_at, s.detail, s.adopts, s.repaired, %(at)s
          FROM unnest(%(id)b::text[], %(finding)b::text[], %(created_at)b::timestamptz[],
                      %(detail)b::text[], %(adopts)b::int4[], %(repaired)b::bool[])
            AS s (id, finding, created_at, detail, adopts, repaired)
        ON CONFLICT (user_id, foursquare_id) DO UPDATE
           SET finding = excluded.finding, created_at = excluded.created_at,
               detail = excluded.detail, adopts = excluded.adopts, repaired = excluded.repaired,
               seen_at = excluded.seen_at
         WHERE excluded.finding <> 'same'
        """,
        {
            "user": user_id,
            "at": at,
            "id": [item.foursquare_id for item in items],
            "finding": [item.finding for item in items],
            "created_at": [item.created_at for item in items],
            "detail": [item.detail for item in items],
            "adopts": [item.adopts for item in items],
            "repaired": [item.repaired for item in items],
        },
    )


def overwritten(
    conn: Connection, user_id: int, checkins: Sequence[Checkin]
) -> dict[str, tuple[Any, ...]]:
    """Return the rows of these check-ins whose values are not theirs, by id and in the order of
    `COLUMNS`. They travel as JSON, which is written and read faster than an array per column."""
    shown = [_Row(c.id, *values(c)) for c in checkins]
    rows = conn.execute(
        """
        WITH span AS MATERIALIZED (  -- or the whole history would be read, without statistics
            SELECT foursquare_id, kind, venue_id, venue_name, venue_category,
                   latitude::numeric AS latitude, longitude::numeric AS longitude, city, country,
                   time_zone_offset, shout, is_private, visibility,
                   date_trunc('second', checkin_date) AT TIME ZONE 'UTC' AS created_at
              FROM checkins
             WHERE user_id = %(user)s AND foursquare_id BETWEEN %(first)s AND %(last)s)
        SELECT span.*
          FROM span
          JOIN json_to_recordset(%(shown)s::json) AS s (
               id text, kind text, venue_id text, venue_name text, venue_category text,
               latitude numeric, longitude numeric, city text, country text, time_zone_offset int,
               shout text, is_private bool, visibility text, created_at timestamptz)
            ON s.id = span.foursquare_id
         WHERE (span.kind, span.venue_id, span.venue_name, span.venue_category, span.latitude,
                span.longitude, span.city, span.country, span.time_zone_offset, span.shout,
                span.is_private, span.visibility, span.created_at)
            IS DISTINCT FROM
               (s.kind, s.venue_id, s.venue_name, s.venue_category, s.latitude, s.longitude,
                s.city, s.country, s.time_zone_offset, s.shout, s.is_private, s.visibility,
                s.created_at)
        """,
        {
            "user": user_id,
            "shown": msgspec.json.encode(shown).decode(),
            "first": min((c.id for c in checkins), default=""),
            "last": max((c.id for c in checkins), default=""),
        },
    )
    return {row[0]: row[1:] for row in rows}


def clear_fingerprints(conn: Connection, user_id: int, ids: Sequence[str]) -> None:
    """Clear the fingerprints of overwritten rows, so that their check-ins are written again."""
    conn.execute(
        """
        UPDATE checkins SET fingerprint = NULL
         WHERE user_id = %(user)s AND foursquare_id BETWEEN %(first)s AND %(last)s
           AND foursquare_id = ANY (%(ids)b::text[])
        """,
        {"user": user_id, **_span(ids)},
    )


def _span(ids: Sequence[str]) -> dict[str, Any]:
    """Return the ids and their ends: between them a page's rows are found without statistics, which
    a table has only some time after its first rows."""
    return {"ids": list(ids), "first": min(ids, default=""), "last": max(ids, default="")}


def add_known_by_id(conn: Connection, user_id: int, row: Stored, *, at: datetime) -> None:
    """Count a check-in as shown that the list left out, and that Foursquare knows by its id."""
    assert row.foursquare_id is not None
    known = Compared(row.foursquare_id, "same", row.second, BY_ID)
    _add(conn, user_id, [known], at=at)


def known_by_id(conn: Connection, user_id: int) -> list[Finding]:
    """Return what the list left out and Foursquare knows by its id, newest first."""
    rows = conn.execute(
        """
        SELECT foursquare_id, created_at, detail FROM verification_items
         WHERE user_id = %(user)s AND detail = %(by_id)s
         ORDER BY created_at DESC NULLS LAST, foursquare_id
        """,
        {"user": user_id, "by_id": BY_ID},
    )
    return [Finding(Kind.EXTRA, key, at, detail, closed=True) for key, at, detail in rows]


def shown_ids(conn: Connection, user_id: int) -> set[str]:
    """Return the keys of all items that the list has shown so far."""
    rows = conn.execute(
        """
        SELECT foursquare_id FROM verification_items
         WHERE user_id = %(user)s AND detail <> %(by_id)s
        """,
        {"user": user_id, "by_id": BY_ID},
    )
    return {key for (key,) in rows}


def count(conn: Connection, user_id: int) -> int:
    """Return the number of different items shown so far."""
    row = conn.execute(
        """
        SELECT count(*) FROM verification_items
         WHERE user_id = %(user)s AND detail <> %(by_id)s
        """,
        {"user": user_id, "by_id": BY_ID},
    ).fetchone()
    assert row is not None
    return int(row[0])


def unreadable(conn: Connection, user_id: int) -> int:
    """Return how many of the items shown can't be read, or are in quarantine."""
    row = conn.execute(
        """
        SELECT count(*) FROM verification_items AS v
         WHERE v.user_id = %(user)s
           AND (v.finding = 'unreadable'
                OR EXISTS (SELECT FROM quarantined_checkins AS q
                            WHERE q.user_id = v.user_id AND q.foursquare_id = v.foursquare_id))
        """,
        {"user": user_id},
    ).fetchone()
    assert row is not None
    return int(row[0])


def differing(conn: Connection, user_id: int) -> list[Finding]:
    """Return what was missing or different, newest first, without what an import stored since.

    Items in quarantine are reported there and are not a gap.
    """
    rows = conn.execute(
        """
        SELECT v.finding, v.foursquare_id, v.created_at, v.detail, v.repaired AND c.id IS NOT NULL
          FROM verification_items AS v
          LEFT JOIN checkins AS c
            ON c.user_id = v.user_id AND c.foursquare_id = v.foursquare_id
           AND c.deleted_at IS NULL
         WHERE v.user_id = %(user)s AND v.finding IN ('missing', 'different')
           AND (v.repaired OR c.id IS NULL
                OR v.finding = 'different'
                   AND coalesce(c.changed_at, '-infinity') <= v.seen_at)
           AND NOT EXISTS (SELECT FROM quarantined_checkins AS q
                            WHERE q.user_id = v.user_id AND q.foursquare_id = v.foursquare_id)
         ORDER BY v.created_at DESC NULLS LAST, v.foursquare_id
        """,
        {"user": user_id},
    )
    return [Finding(Kind(kind), *rest) for kind, *rest in rows]


def not_shown(conn: Connection, user_id: int, *, before: datetime) -> list[Stored]:
    """Return the rows stored before then that were not shown, newest first."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins AS c
         WHERE user_id = %(user)s AND foursquare_id IS NOT NULL AND deleted_at IS NULL
           AND coalesce(first_seen_at, '-infinity') < %(before)s
           AND NOT EXISTS (SELECT FROM verification_items AS v
                            WHERE v.user_id = c.user_id AND v.foursquare_id = c.foursquare_id)
         ORDER BY checkin_date DESC, id
        """,
        {"user": user_id, "before": before},
    )
    return [stored_row(row) for row in rows]


def deleted_since(conn: Connection, user_id: int, at: datetime) -> list[Stored]:
    """Return the rows that were marked as deleted since then, newest first."""
    rows = conn.execute(
        """
        SELECT id, foursquare_id, fingerprint, venue_id, checkin_date AT TIME ZONE 'UTC',
               missing_since, withheld_since, deleted_at
          FROM checkins
         WHERE user_id = %(user)s AND deleted_at >= %(at)s
         ORDER BY checkin_date DESC, id
        """,
        {"user": user_id, "at": at},
    )
    return [stored_row(row) for row in rows]


def nameless(conn: Connection, user_id: int) -> list[Nameless]:
    """Return the application's rows without an id that match no check-in shown, newest first."""
    rows = conn.execute(
        """
        SELECT id, checkin_date AT TIME ZONE 'UTC', venue_name FROM checkins
         WHERE user_id = %(user)s AND foursquare_id IS NULL
           AND id NOT IN (SELECT adopts FROM verification_items
                           WHERE user_id = %(user)s AND adopts IS NOT NULL)
         ORDER BY checkin_date DESC, id
        """,
        {"user": user_id},
    )
    return [Nameless(*row) for row in rows]


def end(conn: Connection, user_id: int) -> None:
    """Delete a finished verification."""
    conn.execute("DELETE FROM verifications WHERE user_id = %(user)s", {"user": user_id})


def forget(conn: Connection, *, before: datetime) -> int:
    """Delete verifications started before then, too old to be resumed; return how many."""
    return conn.execute(
        "DELETE FROM verifications WHERE started_at < %(before)s", {"before": before}
    ).rowcount
