"""Leases: one import per user at a time, and one run; never blocked by the dead.

They know only the database's clock, because several hosts share them. The token fences: it grows
with each claim, and a process that slept through its lease finds another one in the row.

A lease that reaches more than ten minutes ahead was written while the database's clock was wrong.
It counts as expired: its owner, if alive, either renews it within 20 s, or finds another token and
writes nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Literal

from checkinsync.errors import AtWork, LeaseLost
from checkinsync.store import lease_owner
from checkinsync.store.pool import Connection, First

LOST = "another import of this user took over while this one slept; nothing more was written"

RUN = 0
"""The reserved user id whose lease is that of the run itself; the serial ids begin at 1."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to import one user, as long as its token is the one in the table."""

    user_id: int
    token: int


def acquire(conn: Connection, user_id: int, *, alive: Collection[int]) -> Lease | None:
    """Take one lease; None where a living import holds it. See `acquire_all`."""
    with suppress(AtWork), conn.transaction():
        for lease in acquire_all(conn, [user_id], alive=alive):
            return lease
    return None


def acquire_all(
    conn: Connection, user_ids: Collection[int], *, alive: Collection[int]
) -> list[Lease]:
    """Take the leases, for 90 s, that no living import holds.

    A dead owner of this host is seen at once; that of others when its lease has expired.
    `alive`: the tokens of this process's own imports; another one of its name was left behind when
    the database went away. Raises AtWork where the holder of one is in the middle of a page.
    """
    try:
        taken, others = _claim(conn, dict.fromkeys(user_ids))
        dead = {user: token for user, owner, token in others if _is_dead(owner, token, alive=alive)}
        return taken + (_claim(conn, dead)[0] if dead else [])
    except psycopg.errors.LockNotAvailable:
        raise AtWork("another import of this user is at work") from None


def _claim(
    conn: Connection, users: Mapping[int, int | None]
) -> tuple[list[Lease], list[tuple[int, str, int]]]:
    """Take the leases that are free, or whose token is the one given here, of a dead import.
    Return them, and user, owner and token of the others."""
    rows = conn.execute(
        """
        WITH wanted AS (
            SELECT * FROM unnest(%(users)s::bigint[], %(dead)s::bigint[]) AS w (user_id, dead)),
        held AS (
            SELECT l.user_id, l.owner, l.token
              FROM import_leases AS l JOIN wanted AS w USING (user_id)
             WHERE l.expires_at > now() AND l.expires_at <= now() + interval '10 minutes'
               AND l.token IS DISTINCT FROM w.dead),
        taken AS (
            INSERT INTO import_leases AS l (user_id, owner, token, expires_at)
            SELECT w.user_id, %(owner)s, nextval('import_lease_tokens'), now() + '90 s'
              FROM wanted AS w
             WHERE NOT EXISTS (SELECT FROM held WHERE held.user_id = w.user_id)
             ORDER BY w.user_id
            ON CONFLICT (user_id) DO UPDATE
               SET owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at
             WHERE (l.expires_at <= now() OR l.expires_at > now() + interval '10 minutes')
                OR l.token = (SELECT w.dead FROM wanted AS w WHERE w.user_id = l.user_id)
            RETURNING l.user_id, l.token)
        SELECT user_id, NULL, token FROM taken UNION ALL SELECT * FROM held
        """,
        {"users": list(users), "dead": list(users.values()), "owner": str(lease_owner.me())},
    ).fetchall()
    taken = [Lease(user, token) for user, owner, token in rows if owner is None]
    return taken, [row for row in rows if row[1] is not None]


def ensure_held(conn: Connection, lease: Lease) -> None:
    """Renew a lease for 90 s. Raises LeaseLost."""
    if lease.user_id not in held(conn, [lease]):
        raise LeaseLost(LOST)


def held(conn: Connection, leases: Collection[Lease]) -> dict[int, bool]:
    """Renew leases for 90 s, as `holding` does. Return the users whose lease is still held, and if
    they still exist; they then stay until the end of the transaction."""
    return dict(holding(leases).send(conn))


def holding(leases: Collection[Lease]) -> First:
    """Return the first statement of every transaction of an import: it renews leases for 90 s. Its
    rows are the users whose lease is still held, and if they still exist."""
    return First(_HOLD.format(**{name: Literal(ids) for name, ids in _columns(leases).items()}))


_HOLD = SQL(
    """
    WITH ours AS (
        SELECT * FROM unnest({users}::bigint[], {tokens}::bigint[]) AS o (user_id, token)),
    held AS (
        UPDATE import_leases AS l SET expires_at = now() + '90 s'
          FROM ours WHERE l.user_id = ours.user_id AND l.token = ours.token
        RETURNING l.user_id),
    present AS (
        SELECT id FROM users
         WHERE id = ANY ({users}::int[]) ORDER BY id FOR KEY SHARE)
    SELECT held.user_id, present.id IS NOT NULL
      FROM held LEFT JOIN present ON present.id = held.user_id
    """
)


def renew(conn: Connection, leases: Sequence[Lease]) -> None:
    """Renew those of all imports of a process; one locked by a page's transaction renews itself,
    and one that was given back a moment ago stays free."""
    conn.execute(
        """
        UPDATE import_leases SET expires_at = now() + '90 s'
         WHERE user_id IN (
                SELECT user_id FROM import_leases
                  JOIN unnest(%(users)s::bigint[], %(tokens)s::bigint[]) AS ours (user_id, token)
                 USING (user_id, token)
                 WHERE expires_at > '-infinity'
                   FOR UPDATE OF import_leases SKIP LOCKED)
        """,
        _columns(leases),
    )


def release(conn: Connection, *leases: Lease) -> None:
    """Give them back; the rows stay, so that tokens only grow."""
    conn.execute(
        """
        UPDATE import_leases AS l SET expires_at = '-infinity'
          FROM unnest(%(users)s::bigint[], %(tokens)s::bigint[]) AS o (user_id, token)
         WHERE l.user_id = o.user_id AND l.token = o.token
        """,
        _columns(leases),
    )


def _columns(leases: Collection[Lease]) -> dict[str, list[int]]:
    return {"users": [x.user_id for x in leases], "tokens": [x.token for x in leases]}


def _is_dead(owner: str, token: int, *, alive: Collection[int]) -> bool:
    left_behind = owner == str(lease_owner.me()) and token not in alive
    return left_behind or lease_owner.is_dead(owner)


def held_users(conn: Connection) -> set[int]:
    """Return the users whose imports are at work now, the run's own lease left out."""
    return {user_id for user_id, owner in _unexpired(conn) if not lease_owner.is_dead(owner)}


def dead_users(conn: Connection) -> set[int]:
    """Return the users whose imports have died, and left leases that have not expired yet."""
    return {user_id for user_id, owner in _unexpired(conn) if lease_owner.is_dead(owner)}


def _unexpired(conn: Connection) -> list[tuple[int, str]]:
    rows = conn.execute(
        """
        SELECT user_id, owner FROM import_leases
         WHERE expires_at > now() AND expires_at <= now() + interval '10 minutes'
           AND user_id <> %(run)s
        """,
        {"run": RUN},
    )
    return [(user_id, owner) for user_id, owner in rows]
