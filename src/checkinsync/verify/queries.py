"""Rows of `verifications` and of their items: what a whole walk has shown so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from checkinsync.model.changes import Stored
from checkinsync.model.listing import Checkpoint
from checkinsync.store.checkins import stored_row
from checkinsync.store.pool import Connection
from checkinsync.verify.result import Finding, Kind, Nameless

COLUMNS = (
    "kind", "venue_id", "venue_name", "venue_category", "latitude", "longitude", "city", "country",
    "time_zone_offset", "shout", "is_private", "created_at",
)  # fmt: skip
"""The values of a check-in that are compared with its row, not with its fingerprint alone."""

BY_ID = "not in the list, but Foursquare knows it by its id"
"""`detail` of an item that no page has shown."""

KEPT = timedelta(days=7)
"""How long a verification that was cut off is gone on with; an older one begins anew."""


@dataclass(frozen=True, slots=True)
class Verification:
    """One that is at work, or is to be gone on with."""

    started_at: datetime
    repairs: bool
    checkpoint: Checkpoint | None
    requests: int
    reported_total: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """An item of a page, compared with what was stored then."""

    foursquare_id: str
    finding: str
    """`same`, `missing`, `different`, `unreadable`."""
    created_at: datetime | None
    detail: str
    adopts: int | None = None
    """The application's row without an id that is this check-in."""


def load(conn: Connection, user_id: int) -> Verification | None:
    """The user's verification, if one was begun."""
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
    """Begin from nothing; what an earlier one has left is forgotten."""
    conn.execute("DELETE FROM verifications WHERE user_id = %(user)s", {"user": user_id})
    conn.execute(
        """
        INSERT INTO verifications (user_id, started_at, repairs)
        VALUES (%(user)s, %(at)s, %(repairs)s)
        """,
        {"user": user_id, "at": at, "repairs": repairs},
    )


def note(
    conn: Connection,
    user_id: int,
    checkpoint: Checkpoint,
    *,
    requests: int,
    reported_total: int | None,
) -> None:
    """How far its walk has come; `requests`: sent in all."""
    conn.execute(
        """
        UPDATE verifications
           SET walk_started_at = %(started_at)s, walk_offset = %(offset)s, walk_tail = %(tail)s,
               walked_down_to = %(down_to)s, requests = %(requests)s,
               told = coalesce(%(told)s, told)
         WHERE user_id = %(user)s
        """,
        {
            "user": user_id,
            "started_at": checkpoint.started_at,
            "offset": checkpoint.offset,
            "tail": list(checkpoint.tail),
            "down_to": checkpoint.down_to,
            "requests": requests,
            "told": reported_total,
        },
    )


def add(
    conn: Connection, user_id: int, items: Sequence[Compared], *, repaired: bool, at: datetime
) -> None:
    """What a page has shown. Shown again, an item keeps a difference that was found before."""
    conn.execute(
        """
        INSERT INTO verification_items AS v
               (user_id, foursquare_id, finding, created_at, detail, adopts, repaired, seen_at)
        SELECT DISTINCT ON (s.id)
               %(user)s, s.id, s.finding, s.created_at, s.detail, s.adopts, %(repaired)s, %(at)s
          FROM unnest(%(id)b::text[], %(finding)b::text[], %(created_at)b::timestamptz[],
                      %(detail)b::text[], %(adopts)b::int4[])
            AS s (id, finding, created_at, detail, adopts)
        ON CONFLICT (user_id, foursquare_id) DO UPDATE
           SET finding = excluded.finding, created_at = excluded.created_at,
               detail = excluded.detail, adopts = excluded.adopts, repaired = excluded.repaired,
               seen_at = excluded.seen_at
         WHERE excluded.finding <> 'same'
        """,
        {
            "user": user_id,
            "repaired": repaired,
            "at": at,
            "id": [item.foursquare_id for item in items],
            "finding": [item.finding for item in items],
            "created_at": [item.created_at for item in items],
            "detail": [item.detail for item in items],
            "adopts": [item.adopts for item in items],
        },
    )


def columns(conn: Connection, user_id: int, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the rows of these ids hold, by id and by the names of a check-in's values."""
    rows = conn.execute(
        """
        SELECT foursquare_id, kind, venue_id, venue_name, venue_category, latitude::float8,
               longitude::float8, city, country, time_zone_offset, shout, is_private,
               date_trunc('second', checkin_date) AT TIME ZONE 'UTC'
          FROM checkins
         WHERE user_id = %(user)s AND foursquare_id = ANY (%(ids)b::text[])
        """,
        {"user": user_id, "ids": list(ids)},
    )
    return {key: dict(zip(COLUMNS, values, strict=True)) for key, *values in rows}


def clear_fingerprints(conn: Connection, user_id: int, ids: Sequence[str]) -> None:
    """What these rows hold is not what was stored: their check-ins write them anew."""
    conn.execute(
        """
        UPDATE checkins SET fingerprint = NULL
         WHERE user_id = %(user)s AND foursquare_id = ANY (%(ids)b::text[])
        """,
        {"user": user_id, "ids": list(ids)},
    )


def add_known_by_id(conn: Connection, user_id: int, row: Stored, *, at: datetime) -> None:
    """Count a check-in as shown that the list left out, and that Foursquare knows by its id."""
    assert row.foursquare_id is not None
    known = Compared(row.foursquare_id, "same", row.second, BY_ID)
    add(conn, user_id, [known], repaired=False, at=at)


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
    """Count the different items that the list has shown so far."""
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
    """How many of the items shown could not be read."""
    row = conn.execute(
        """
        SELECT count(*) FROM verification_items
         WHERE user_id = %(user)s AND finding = 'unreadable'
        """,
        {"user": user_id},
    ).fetchone()
    assert row is not None
    return int(row[0])


def differing(conn: Connection, user_id: int) -> list[Finding]:
    """What was missing or different, newest first; what an import has stored since is left out.

    What is in quarantine is told of there, and is no gap.
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
    """Rows stored before then that were not shown, newest first."""
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
    """Rows of the application without an id that no check-in shown would take over, newest
    first."""
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
    """It has come to its verdict."""
    conn.execute("DELETE FROM verifications WHERE user_id = %(user)s", {"user": user_id})


def forget(conn: Connection, *, before: datetime) -> None:
    """Drop the verifications that were begun before then: nothing resumes them any more."""
    conn.execute("DELETE FROM verifications WHERE started_at < %(before)s", {"before": before})
