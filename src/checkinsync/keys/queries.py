"""Users' encrypted tokens: read in batches, and replaced unless they were changed meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from checkinsync.model.user import User
from checkinsync.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """A user as they were read, and the new text of the same token."""

    user: User
    encrypted: str = field(repr=False)

    @property
    def new_hash(self) -> bytes:
        """The `User.token_hash` to come."""
        return hashlib.sha256(self.encrypted.encode()).digest()


def after(conn: Connection, user_id: int, *, most: int) -> list[User]:
    """Return the next users who have a token, by id."""
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users
         WHERE access_token_encrypted IS NOT NULL AND id > %(after)s
         ORDER BY id LIMIT %(most)s
        """,
        {"after": user_id, "most": most},
    )
    return [User(*row) for row in rows]


def of(conn: Connection, user_ids: Collection[int]) -> list[User]:
    """Return those of these users who have a token, as they are now."""
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users
         WHERE access_token_encrypted IS NOT NULL AND id = ANY(%(users)s)
         ORDER BY id
        """,
        {"users": list(user_ids)},
    )
    return [User(*row) for row in rows]


def reencrypt(conn: Connection, tokens: Sequence[Reencrypted]) -> set[int]:
    """Replace the old texts that are still stored; returns the ids of the users it did so for.

    Skips rows that another program has locked, so that it can neither deadlock with an import nor
    keep the application waiting. What `sync_state` knows of the old text is carried over to the
    new one in the same transaction: users who must log in again still must, and a token that was
    unreadable until now no longer is.
    """
    held = _free(conn, _held(conn, tokens))
    mine = [token for token in tokens if token.user.id in held]
    conn.execute(
        """
        UPDATE users AS u
           SET access_token_encrypted = t.new
          FROM unnest(%(users)s::bigint[], %(old)s::text[], %(new)s::text[]) AS t (id, old, new)
         WHERE u.id = t.id AND u.access_token_encrypted = t.old
        """,
        {
            "users": [token.user.id for token in mine],
            "old": [token.user.encrypted_token for token in mine],
            "new": [token.encrypted for token in mine],
        },
    )
    conn.execute(
        """
        UPDATE sync_state AS s
           SET rejected_token_sha256 = CASE WHEN s.token_unreadable THEN NULL ELSE t.new END,
               state = CASE WHEN s.token_unreadable THEN 'ok' ELSE s.state END,
               reason = CASE WHEN s.token_unreadable THEN NULL ELSE s.reason END,
               token_unreadable = false
          FROM unnest(%(users)s::bigint[], %(old)s::bytea[], %(new)s::bytea[]) AS t (id, old, new)
         WHERE s.user_id = t.id AND s.rejected_token_sha256 = t.old
        """,
        {
            "users": [token.user.id for token in mine],
            "old": [token.user.token_hash for token in mine],
            "new": [token.new_hash for token in mine],
        },
    )
    return held


def _held(conn: Connection, tokens: Sequence[Reencrypted]) -> list[int]:
    """Lock the rows of users whose tokens are as they were read; returns their ids."""
    rows = conn.execute(
        """
        SELECT u.id
          FROM users AS u
          JOIN unnest(%(users)s::bigint[], %(old)s::text[]) AS t (id, old)
            ON u.id = t.id AND u.access_token_encrypted = t.old
           FOR NO KEY UPDATE OF u SKIP LOCKED
        """,
        {
            "users": [token.user.id for token in tokens],
            "old": [token.user.encrypted_token for token in tokens],
        },
    )
    return [row[0] for row in rows]


def _free(conn: Connection, user_ids: Sequence[int]) -> set[int]:
    """Lock the states of these users; returns those whose state is locked now, or missing."""
    rows = conn.execute(
        """
        WITH ours AS MATERIALIZED (
            SELECT user_id FROM sync_state
             WHERE user_id = ANY(%(users)s)
               FOR NO KEY UPDATE SKIP LOCKED
        )
        SELECT s.user_id
          FROM sync_state AS s
         WHERE s.user_id = ANY(%(users)s)
           AND NOT EXISTS (SELECT FROM ours WHERE ours.user_id = s.user_id)
        """,
        {"users": list(user_ids)},
    )
    return {*user_ids} - {row[0] for row in rows}


def application_is_here(conn: Connection) -> bool:
    """Return True if there are traces of the web application, which then reads these tokens, too.

    These are a ledger of its migrations, a trigger on `users` that is not the one we make, or an
    import that is not ours.
    """
    row = conn.execute(
        """
        SELECT to_regclass('migrations') IS NOT NULL
            OR to_regclass('schema_migrations') IS NOT NULL
            OR EXISTS (SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                        WHERE t.tgrelid = to_regclass('users') AND NOT t.tgisinternal
                          AND NOT starts_with(p.proname, 'checkinsync'))
            OR EXISTS (SELECT FROM import_jobs WHERE lease_token IS NULL)
        """
    ).fetchone()
    return row is not None and bool(row[0])
