"""Rows of `users`: find them, add them, give them tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from checkinsync.errors import UnknownUser
from checkinsync.model.standing import Standing
from checkinsync.model.user import Candidate, Profile, User
from checkinsync.store.pool import Connection

AT_ONCE = 1000
"""Rows that are received at once."""

NEAR = 3
"""Similar names to suggest, at most."""


@dataclass(frozen=True, slots=True)
class Status(Standing):
    """All that the SQL function `sync_status` returns about a user."""

    importing: bool
    checkins: int
    last_new_at: datetime | None
    consecutive_failures: int
    quarantined: int
    missing: int
    withheld: int
    gone: int
    unverified_since: datetime | None
    """The time of the comparison that is longest ago, of all stretches of the history."""
    unverified_newest: datetime | None
    unverified_oldest: datetime | None
    """None: the beginning of the history."""
    reason: str | None
    next_action: str


def active(conn: Connection, *, at: datetime, days: int) -> list[Candidate]:
    """Return everyone who is active, by id."""
    rows = conn.execute(
        """
        SELECT u.id, u.foursquare_user_id, u.display_name, u.access_token_encrypted,
               s.paused_at IS NOT NULL, coalesce(s.state, 'ok'), s.retry_at, s.last_checked_at,
               s.rejected_token_sha256, coalesce(s.token_unreadable, false)
          FROM active_users(%(at)s, %(days)s) AS u
          LEFT JOIN sync_state AS s ON s.user_id = u.id
         ORDER BY u.id
        """,
        {"at": at, "days": days},
    )
    return [Candidate(User(*row[:4]), *row[4:]) for row in rows]


def beginning_with(conn: Connection, text: str, *, most: int) -> list[tuple[int, str | None, bool]]:
    """Return users whose id or display name begins with a text: both, and if the name is unique."""
    rows = conn.execute(
        """
        SELECT id, display_name::text, count(*) OVER (PARTITION BY display_name) = 1
          FROM users
         WHERE starts_with(id::text, %(text)s) OR starts_with(lower(display_name), lower(%(text)s))
         ORDER BY id LIMIT %(most)s
        """,
        {"text": text, "most": most},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def connected(conn: Connection) -> list[User]:
    """Return everyone with a token, by id."""
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users WHERE access_token_encrypted IS NOT NULL ORDER BY id
        """
    )
    return [User(*row) for row in rows]


def statuses(
    conn: Connection, *, at: datetime, days: int, user_id: int | None = None
) -> Iterator[Status]:
    """Yield all that is known of every user by id, or of one, as the server finds it."""
    rows = conn.cursor().stream(
        """
        SELECT id, foursquare_user_id, name, state, active, created_at, last_checked_at, importing,
               checkins, last_new_at, consecutive_failures, quarantined, missing, withheld, gone,
               unverified_since, unverified_newest, unverified_oldest, reason, next_action
          FROM sync_status(%(at)s, %(days)s)
         WHERE %(user)s::int IS NULL OR id = %(user)s
        """,
        {"at": at, "days": days, "user": user_id},
        size=AT_ONCE,
    )
    return (Status(*row) for row in rows)


def standings(conn: Connection, *, at: datetime, days: int) -> list[Standing]:
    """Return each user's state by id, without counting their check-ins."""
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, name, state, active, created_at, last_checked_at
          FROM sync_status(%(at)s, %(days)s)
        """,
        {"at": at, "days": days},
    )
    return [Standing(*row) for row in rows]


def find(conn: Connection, text: str | None) -> User:
    """Return the user with this id (bare digits), this Foursquare id (`fsq:…`) or unique name.

    None: the only user there is. Raises UnknownUser where there is none, or more than one.
    """
    if text is None:
        return _only(conn)
    text = text.encode("utf-8", "surrogateescape").decode(
        "utf-8", "replace"
    )  # from argv, any bytes
    found = _matching(conn, text)
    if not found:
        raise UnknownUser(
            f"no user {text!r}{_meant(conn, text)}; `checkinsync users list` lists all users"
        )
    if len(found) > 1:
        ids = ", ".join(str(user.id) for user in found)
        raise UnknownUser(f"{text!r} is the name of several users: name one by id ({ids})")
    return found[0]


def _only(conn: Connection) -> User:
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users ORDER BY id LIMIT 2
        """
    ).fetchall()
    if not rows:
        raise UnknownUser("there are no users yet; `checkinsync users add` adds one")
    if len(rows) > 1:
        raise UnknownUser("name a user, since there are several: see `checkinsync users list`")
    return User(*rows[0])


def _meant(conn: Connection, text: str) -> str:
    """Return the users whose names are similar, as part of a sentence."""
    import difflib  # noqa: PLC0415 - for a mistyped name only

    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, NULL
          FROM users WHERE display_name <> '' ORDER BY id
        """
    )
    users: dict[str, list[User]] = {}
    for row in rows:
        users.setdefault(row[2].casefold(), []).append(User(*row))
    near = difflib.get_close_matches(text.casefold(), users, n=NEAR)
    meant = [str(user) for name in near for user in users[name]][:NEAR]
    return f" (did you mean {' or '.join(meant)}?)" if meant else ""


def _matching(conn: Connection, text: str) -> list[User]:
    is_id = text.isascii() and text.isdigit()
    rows = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users
         WHERE CASE WHEN %(id)s::numeric IS NOT NULL THEN id = %(id)s::numeric
                    WHEN %(foursquare)s::text IS NOT NULL THEN foursquare_user_id = %(foursquare)s
                    ELSE display_name = %(name)s END
         ORDER BY id
        """,
        {
            "id": text if is_id else None,
            "foursquare": text.removeprefix("fsq:") if text.startswith("fsq:") else None,
            "name": text.replace("\0", ""),
        },
    )
    return [User(*row) for row in rows]


def stays(conn: Connection, user_id: int) -> bool:
    """Return True if the user still exists; they then stay until the end of this transaction."""
    row = conn.execute("SELECT FROM users WHERE id = %(user)s FOR KEY SHARE", {"user": user_id})
    return row.fetchone() is not None


def present(conn: Connection, user_id: int) -> User | None:
    """Return the user as they are now; None if they were removed."""
    row = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users WHERE id = %(user)s
        """,
        {"user": user_id},
    ).fetchone()
    return None if row is None else User(*row)


def by_foursquare_id(conn: Connection, foursquare_user_id: str) -> User | None:
    """The user of this Foursquare id."""
    row = conn.execute(
        """
        SELECT id, foursquare_user_id, display_name, access_token_encrypted
          FROM users WHERE foursquare_user_id = %(id)s
        """,
        {"id": foursquare_user_id},
    ).fetchone()
    return None if row is None else User(*row)


def add(
    conn: Connection, profile: Profile, *, encrypted_token: str, secret_token: str, at: datetime
) -> int | None:
    """A new user, active from now on; None where the Foursquare id is there already."""
    row = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, avatar_url, access_token_encrypted,
                           secret_token, last_login_at, created_at, updated_at)
        SELECT %(foursquare)s, left(%(name)s, 255), %(avatar)s, %(sealed)s, %(secret)s, t.at, t.at,
               t.at
          FROM (SELECT %(at)s::timestamptz AT TIME ZONE 'UTC' AS at) AS t
        ON CONFLICT (foursquare_user_id) DO NOTHING
        RETURNING id
        """,
        {
            "foursquare": profile.foursquare_user_id,
            "name": profile.name,
            "avatar": profile.avatar_url,
            "sealed": encrypted_token,
            "secret": secret_token,
            "at": at,
        },
    ).fetchone()
    return None if row is None else int(row[0])


def set_token(conn: Connection, user_id: int, *, encrypted_token: str, at: datetime) -> bool:
    """Store another token, and a login: a user who reconnects is active.

    False: there is no such user.
    """
    updated = conn.execute(
        """
        UPDATE users
           SET access_token_encrypted = %(sealed)s,
               last_login_at = greatest(last_login_at, %(at)s::timestamptz AT TIME ZONE 'UTC')
         WHERE id = %(user)s
        """,
        {"user": user_id, "sealed": encrypted_token, "at": at},
    )
    return updated.rowcount == 1


def encrypted_tokens(conn: Connection, *, most: int) -> list[str]:
    """Return some of the stored tokens, newest users first, to try the keys on."""
    rows = conn.execute(
        """
        SELECT access_token_encrypted FROM users
         WHERE access_token_encrypted IS NOT NULL ORDER BY id DESC LIMIT %(most)s
        """,
        {"most": most},
    )
    return [row[0] for row in rows]
