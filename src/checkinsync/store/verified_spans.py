"""Rows of `verified_spans`: when each stretch of a history was last compared with Foursquare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from checkinsync.model.span import VerifiedSpan
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection


class Compared(Protocol):
    """What an import stores of its user's spans."""

    @property
    def lease(self) -> Lease:
        """Of the user."""

    @property
    def before(self) -> Sequence[VerifiedSpan]:
        """Those that are stored."""

    @property
    def after(self) -> Sequence[VerifiedSpan]:
        """Those that are to be stored."""


def load(conn: Connection, user_id: int) -> list[VerifiedSpan]:
    """Return a user's spans, newest first."""
    rows = conn.execute(
        """
        SELECT newest, oldest, verified_at FROM verified_spans
         WHERE user_id = %(user)s ORDER BY newest DESC
        """,
        {"user": user_id},
    )
    return [VerifiedSpan(*row) for row in rows]


def keep(conn: Connection, user_id: int, spans: Iterable[VerifiedSpan]) -> None:
    """Replace a user's spans by these; rows that stay the same are not written."""
    listed = list(spans)
    columns = {
        "user": user_id,
        "newest": [span.newest for span in listed],
        "oldest": [span.oldest for span in listed],
        "at": [span.at for span in listed],
    }
    conn.execute(
        """
        WITH dropped AS (
            DELETE FROM verified_spans
             WHERE user_id = %(user)s AND newest <> ALL (%(newest)b::timestamptz[]))
        INSERT INTO verified_spans AS v (user_id, newest, oldest, verified_at)
        SELECT %(user)s, s.newest, s.oldest, s.at
          FROM unnest(%(newest)b::timestamptz[], %(oldest)b::timestamptz[], %(at)b::timestamptz[])
            AS s (newest, oldest, at)
        ON CONFLICT (user_id, newest) DO UPDATE
           SET oldest = excluded.oldest, verified_at = excluded.verified_at
         WHERE (v.oldest, v.verified_at) IS DISTINCT FROM (excluded.oldest, excluded.verified_at)
        """,
        columns,
    )


def changes(users: Sequence[Compared]) -> dict[str, list[Any]]:
    """Return, as columns, the spans that are no longer there, and those that are new or have
    changed: for a statement that stores more than these."""
    dropped = [
        (user.lease.user_id, span.newest)
        for user in users
        for span in user.before
        if span.newest not in {after.newest for after in user.after}
    ]
    kept = [
        (user.lease.user_id, span)
        for user in users
        for span in user.after
        if span not in user.before
    ]
    return {
        "dropped_user": [user for user, _ in dropped],
        "dropped": [newest for _, newest in dropped],
        "kept_user": [user for user, _ in kept],
        "newest": [span.newest for _, span in kept],
        "oldest": [span.oldest for _, span in kept],
        "verified_at": [span.at for _, span in kept],
    }
