"""Stores how each user's import ended, each in its own transaction, so that one failure does not
affect the others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from checkinsync.errors import DatabaseError, TokenRejected, TokenUnreadable
from checkinsync.model.user import User
from checkinsync.store import sync_state, users
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync.outcome import Failed, UserReport
from checkinsync.sync.session import Services

SAMPLE = 100
"""Stored tokens that are tried before the key counts as wrong."""


def failed(user: User, sentence: str, *, pool: Pool, since: datetime) -> None:
    """Store that all attempts of this run failed, the first of them at `since`."""
    with suppress(DatabaseError), transaction(pool) as conn:
        sync_state.record_failure(conn, user.id, reason=sentence, since=since)


def tokens(reports: Iterable[UserReport], *, pool: Pool) -> None:
    """Store who must log in again, or has a token that no key decrypts."""
    for report in reports:
        match report.outcome:
            case Failed(TokenRejected() | TokenUnreadable() as error):
                unreadable = isinstance(error, TokenUnreadable)
                with suppress(DatabaseError), transaction(pool) as conn:
                    sync_state.record_needs_reauth(
                        conn, report.user, reason=str(error), unreadable=unreadable
                    )


def any_token_decrypts(services: Services) -> bool:
    """Return True if a key decrypts any of a sample of the stored tokens."""
    with services.reading() as conn:
        encrypted = users.encrypted_tokens(conn, most=SAMPLE)
    return any(map(services.keyring.can_decrypt, encrypted))


def suspicion(*, pool: Pool) -> None:
    """Forget how tokens are sent: so many were rejected that we may be sending them wrongly."""
    with suppress(DatabaseError), transaction(pool) as conn:
        sync_state.forget_token_way(conn)
