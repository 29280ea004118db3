"""How users ended, written down; each on its own, so that one can't keep the others from it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

import psycopg

from checkinsync.errors import DatabaseAway, NoToken, TokenRejected, TokenUnreadable
from checkinsync.model.user import User
from checkinsync.store import sync_state
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync.outcome import Failed, UserReport


def failed(user: User, sentence: str, *, pool: Pool, since: datetime) -> None:
    """All attempts of this run failed, the first of them at `since`."""
    with suppress(DatabaseAway, psycopg.OperationalError), transaction(pool) as conn:
        sync_state.note_failed(conn, user.id, reason=sentence, since=since)


def tokens(reports: Iterable[UserReport], *, pool: Pool) -> None:
    """Who must log in again, or has a token that no key opens."""
    for report in reports:
        match report.outcome:
            case Failed(TokenRejected() | TokenUnreadable() as error):
                unreadable = isinstance(error, TokenUnreadable)
                with suppress(DatabaseAway, psycopg.OperationalError), transaction(pool) as conn:
                    sync_state.note_needs_reauth(
                        conn, report.user, reason=str(error), unreadable=unreadable
                    )


def suspicion(*, pool: Pool) -> None:
    """So many tokens were rejected that we may be sending them wrongly: find out the way anew."""
    with suppress(DatabaseAway, psycopg.OperationalError), transaction(pool) as conn:
        sync_state.forget_way(conn)


TOKEN_TROUBLE = (TokenRejected, TokenUnreadable, NoToken)
"""Written down at the end of a run, when it is known that it is not we who are wrong."""
