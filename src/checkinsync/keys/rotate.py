"""Every stored token sealed anew with the first key, beside imports and the application.

Nothing is lost at any moment: a token's new text replaces the old one in a single statement, and
all keys that open either are at hand. Cut off anywhere, it is simply run again: what is sealed with
the first key already is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from checkinsync.errors import ApplicationNotSwitched
from checkinsync.keys import queries
from checkinsync.keys.keyring import Keyring
from checkinsync.keys.queries import Reencrypted
from checkinsync.keys.usage import KeyUsage, RotationResult
from checkinsync.model.user import User
from checkinsync.store.pool import Pool, transaction

log = logging.getLogger(__name__)

BATCH = 200
"""Tokens in one transaction: some milliseconds, so that nobody notices the locks."""

LOOKS = 5
PAUSE = 1.0
"""How often, and after how many seconds, to come back to rows that somebody else was writing."""


def rotate_keys(
    *,
    pool: Pool,
    keyring: Keyring,
    write: bool,
    check_stop: Callable[[], None],
    sleep: Callable[[float], None],
) -> RotationResult:
    """Seal what another key than the first one opens; `write=False` only looks.

    `go_on` is called between batches and may raise; what was sealed stays. Raises DatabaseAway.
    """
    found, left = _usage([], keyring), list[User]()
    last = 0
    while batch := _next(pool, last):
        check_stop()
        more, busy = _batch(batch, pool=pool, keyring=keyring, write=write)
        found, left, last = found + more, left + busy, batch[-1].id
    for _ in range(LOOKS):
        if not left:
            break
        sleep(PAUSE)
        more, left = _batch(_again(pool, left), pool=pool, keyring=keyring, write=write)
        found += more
    return RotationResult(keyring.keys, found, tuple(left), written=write)


def _batch(
    users: Sequence[User], *, pool: Pool, keyring: Keyring, write: bool
) -> tuple[KeyUsage, list[User]]:
    """What was found and is done, and who is left since somebody else was writing their rows."""
    usage = _usage(users, keyring)
    if not write or not usage.to_encrypt:
        return usage, []
    anew = [
        Reencrypted(user, keyring.encrypt(keyring.decrypt(user.encrypted_token or "")))
        for user in usage.to_encrypt
    ]
    with transaction(pool) as conn:
        done = queries.reencrypt(conn, anew)
    log.info("tokens_sealed", extra={"sealed": len(done), "last_user_id": users[-1].id})
    left = [token.user for token in anew if token.user.id not in done]
    return usage.without(left), left


def _usage(users: Sequence[User], keyring: Keyring) -> KeyUsage:
    return KeyUsage.of(users, keys=len(keyring.keys), decrypted_by=keyring.decrypted_by)


def _next(pool: Pool, last: int) -> list[User]:
    with transaction(pool) as conn:
        return queries.after(conn, last, most=BATCH)


def _again(pool: Pool, users: Sequence[User]) -> list[User]:
    """As they are now: some have a new token, or have left."""
    with transaction(pool) as conn:
        return queries.of(conn, [user.id for user in users])


def check_application(keyring: Keyring, *, application_key: str | None, pool: Pool) -> None:
    """Refuse where the application would be left with tokens that it can't open.

    It knows one key only. That it is our first one can be seen where the environment names it;
    whether it has been switched to it otherwise is for the operator to say. Raises
    ApplicationNotSwitched.
    """
    first = keyring.keys[0].fingerprint
    if application_key is not None and Keyring([application_key]).keys[0].fingerprint == first:
        return
    with transaction(pool) as conn:
        if not queries.application_is_here(conn):
            return
    known = (
        "ENCRYPTION_KEY in the environment is another key"
        if application_key is not None
        else "ENCRYPTION_KEY is not in the environment, so that its key is not known here"
    )
    raise ApplicationNotSwitched(
        f"the web application opens tokens with one key only, and nothing shows that it is the "
        f"first of CHECKINSYNC_ENCRYPTION_KEY (fingerprint {first}): {known}. Tokens sealed anew "
        "would be closed to it. Switch the application to that key first, then say "
        "--application-switched; nothing was changed"
    )
