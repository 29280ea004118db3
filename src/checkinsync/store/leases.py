"""Leases: one import per user at a time, and one run; never blocked by the dead.

They know only the database's clock, because several hosts share them. The token fences: it grows
with each claim, and a process that slept through its lease finds another one in the row.

A lease that reaches more than ten minutes ahead was written while the database's clock was wrong.
It counts as expired: its owner, if alive, either renews it within 20 s, or finds another token and
writes nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg

from checkinsync.errors import LeaseLost
from checkinsync.store import lease_owner
from checkinsync.store.pool import Connection

RUN = 0
"""The reserved user id whose lease is that of the run itself; the serial ids begin at 1."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to import one user, as long as its token is the one in the table."""

    user_id: int
    token: int


def acquire(conn: Connection, user_id: int, *, alive: Collection[int]) -> Lease | None:
    """Take the lease for 90 s; None where a living import holds it.

    A dead owner of this host is seen at once; that of others when its lease has expired.
    `alive`: the tokens of this process's own imports; another one of its name was left behind when
    the database went away.
    """
    row = conn.execute(
        "SELECT owner, token FROM import_leases WHERE user_id = %(user)s", {"user": user_id}
    ).fetchone()
    dead = row[1] if row is not None and _is_dead(*row, alive=alive) else None
    try:
        with conn.transaction():
            claimed = conn.execute(
                """
                INSERT INTO import_leases AS l (user_id, owner, token, expires_at)
                VALUES (%(user)s, %(owner)s, nextval('import_lease_tokens'), now() + '90 s')
                ON CONFLICT (user_id) DO UPDATE
                   SET owner = excluded.owner, token = excluded.token,
                       expires_at = excluded.expires_at
                 WHERE (l.expires_at <= now() OR l.expires_at > now() + interval '10 minutes')
                    OR l.token = %(dead)s
                RETURNING token
                """,
                {"user": user_id, "owner": str(lease_owner.me()), "dead": dead},
            ).fetchone()
    except psycopg.errors.LockNotAvailable:  # its holder is in the middle of a page
        return None
    return None if claimed is None else Lease(user_id, claimed[0])


def ensure_held(conn: Connection, lease: Lease) -> None:
    """Renew it for 90 s; the first statement of every transaction of an import.

    Raises LeaseLost: another process imports this user now, and nothing more may be written.
    """
    held = conn.execute(
        """
        UPDATE import_leases SET expires_at = now() + '90 s'
         WHERE user_id = %(user)s AND token = %(token)s
        """,
        {"user": lease.user_id, "token": lease.token},
    )
    if held.rowcount != 1:
        raise LeaseLost(
            "another import of this user took over while this one slept; nothing more was written"
        )


def renew(conn: Connection, leases: Sequence[Lease]) -> None:
    """Renew those of all imports of a process; one locked by a page's transaction renews itself."""
    conn.execute(
        """
        UPDATE import_leases SET expires_at = now() + '90 s'
         WHERE user_id IN (
                SELECT user_id FROM import_leases
                  JOIN unnest(%(users)s::bigint[], %(tokens)s::bigint[]) AS ours (user_id, token)
                 USING (user_id, token)
                   FOR UPDATE OF import_leases SKIP LOCKED)
        """,
        {"users": [lease.user_id for lease in leases], "tokens": [x.token for x in leases]},
    )


def release(conn: Connection, lease: Lease) -> None:
    """Give it back; the row stays, so that tokens only grow."""
    conn.execute(
        """
        UPDATE import_leases SET expires_at = '-infinity'
         WHERE user_id = %(user)s AND token = %(token)s
        """,
        {"user": lease.user_id, "token": lease.token},
    )


def _is_dead(owner: str, token: int, *, alive: Collection[int]) -> bool:
    left_behind = owner == str(lease_owner.me()) and token not in alive
    return left_behind or lease_owner.is_dead(owner)


def held_users(conn: Connection) -> set[int]:
    """Return the users whose imports are at work now, the run's own lease left out."""
    rows = conn.execute(
        """
        SELECT user_id, owner FROM import_leases
         WHERE expires_at > now() AND expires_at <= now() + interval '10 minutes'
           AND user_id <> %(run)s
        """,
        {"run": RUN},
    )
    return {user_id for user_id, owner in rows if not lease_owner.is_dead(owner)}
