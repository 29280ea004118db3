"""Slices of the older history, of one user or of several: where they are in the list, and what is
stored of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkinsync.model.changes import Saved
from checkinsync.model.span import Order, VerifiedSpan, id_from
from checkinsync.store import verified_spans
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection
from checkinsync.store.sync_state import Slices


@dataclass(frozen=True, slots=True)
class Place:
    """A second in a user's list."""

    user_id: int
    at: datetime
    below: int = 0
    """Check-ins below it need not be counted further than this."""
    whole: bool = False
    """All of the user's check-ins are to be counted, too."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The user's check-ins around a place, without deleted ones."""

    created: int
    entered: int
    """Above it, under either order of the list; those of the second itself may be many, and are not
    counted."""
    below: int
    """Older than that instant by both their instants."""
    stored: int
    """All, wherever they are."""

    def above(self, order: Order | None) -> int:
        """Return the number above; None: under the order in which the place is higher up."""
        both = {Order.CREATED: self.created, Order.ENTERED: self.entered}
        return min(both.values()) if order is None else both[order]


def counted(conn: Connection, places: Sequence[Place]) -> list[Counted]:
    """Count the check-ins around each of these places."""
    if not places:
        return []
    after = [place.at.replace(microsecond=0) + timedelta(seconds=1) for place in places]
    rows = conn.execute(
        """
        SELECT (SELECT count(*) FROM checkins AS c
                 WHERE c.user_id = p.user_id AND c.foursquare_id IS NOT NULL
                   AND c.deleted_at IS NULL AND c.checkin_date >= p.after AT TIME ZONE 'UTC'),
               (SELECT count(*) FROM checkins AS c
                 WHERE c.user_id = p.user_id AND c.deleted_at IS NULL
                   AND c.foursquare_id >= p.first_id),
               (SELECT count(*)
                  FROM (SELECT FROM checkins AS c
                         WHERE c.user_id = p.user_id AND c.deleted_at IS NULL
                           AND c.checkin_date < p.at AT TIME ZONE 'UTC'
                           AND c.foursquare_id < p.last_id
                         ORDER BY c.checkin_date LIMIT p.below) AS b),
               CASE WHEN p.whole
                    THEN (SELECT count(*) FROM checkins AS c
                           WHERE c.user_id = p.user_id AND c.foursquare_id IS NOT NULL)
                       - (SELECT count(*) FROM checkins AS c
                           WHERE c.user_id = p.user_id AND c.deleted_at IS NOT NULL)
                    ELSE 0 END
          FROM unnest(%(user)s::int[], %(at)b::timestamptz[], %(last_id)b::text[],
                      %(after)b::timestamptz[], %(first_id)b::text[], %(below)s::int[],
                      %(whole)s::bool[])
               WITH ORDINALITY
            AS p (user_id, at, last_id, after, first_id, below, whole, number)
         ORDER BY p.number
        """,
        {
            "user": [place.user_id for place in places],
            "at": [place.at for place in places],
            "last_id": [id_from(place.at) for place in places],
            "after": after,
            "first_id": [id_from(at) for at in after],
            "below": [place.below for place in places],
            "whole": [place.whole for place in places],
        },
    )
    return [Counted(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Read:
    """What is stored of a user with a page beyond the window."""

    lease: Lease
    job: int
    slices: Slices
    before: tuple[VerifiedSpan, ...]
    after: tuple[VerifiedSpan, ...]
    """What had been compared, and what has been now."""
    saved: Saved
    requests: int
    """Totals of the job, once it ends."""
    ends: bool
    """The job ends with this, and the lease is given back."""


def store(conn: Connection, read: Sequence[Read]) -> None:
    """Store how far the slices of users have come, in their sessions' transaction."""
    conn.execute(
        """
        WITH read AS (
            SELECT *
              FROM unnest(%(user)s::int[], %(token)s::bigint[], %(job)s::bigint[],
                          %(start)b::timestamptz[], %(sliced_at)b::timestamptz[], %(owed)s::bool[],
                          %(list_order)s::text[], %(shift)s::int[], %(requests)s::int[],
                          %(new)s::int[], %(changed)s::int[], %(ends)s::bool[])
                AS r (user_id, token, job, start, sliced_at, owed, list_order, shift, requests, new,
                      changed, ends)),
        states AS (
            UPDATE sync_state AS s
               SET slice_from = r.start, sliced_at = r.sliced_at, slice_owed = r.owed,
                   list_order = r.list_order, list_shift = r.shift
              FROM read AS r WHERE s.user_id = r.user_id),
        jobs AS (
            UPDATE import_jobs AS j
               SET requests = r.requests, new_checkins = r.new, changed_checkins = r.changed
              FROM read AS r WHERE r.ends AND j.id = r.job),
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
          FROM read AS r
         WHERE r.ends AND l.user_id = r.user_id AND l.token = r.token
        """,
        {
            "user": [each.lease.user_id for each in read],
            "token": [each.lease.token for each in read],
            "job": [each.job for each in read],
            "start": [each.slices.start for each in read],
            "sliced_at": [each.slices.sliced_at for each in read],
            "owed": [each.slices.owed for each in read],
            "list_order": [each.slices.order and each.slices.order.value for each in read],
            "shift": [each.slices.shift for each in read],
            "requests": [each.requests for each in read],
            "new": [each.saved.new for each in read],
            "changed": [each.saved.changed for each in read],
            "ends": [each.ends for each in read],
            **verified_spans.changes(read),
        },
    )
