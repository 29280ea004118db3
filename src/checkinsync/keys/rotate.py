"""Re-encrypts every stored token with the first key, beside imports and the application.

Nothing is lost at any moment: a token's new text replaces the old one in a single statement, and
the keyring holds the keys of both. If interrupted, run it again: tokens that are encrypted with the
first key already are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from checkinsync.errors import ApplicationNotSwitched
from checkinsync.keys import queries
from checkinsync.keys.keyring import Keyring, fingerprint
from checkinsync.keys.queries import Reencrypted
from checkinsync.keys.usage import KeyUsage, RotationResult
from checkinsync.model.user import User
from checkinsync.store.pool import Pool, transaction

log = logging.getLogger(__name__)

BATCH = 200
"""Tokens in one transaction: some milliseconds, so that the locks delay no other program."""

LOOKS = 5
PAUSE = 1.0
"""How often, and after how many seconds, to try rows again that another program had locked."""


def rotate_keys(
    *,
    pool: Pool,
    keyring: Keyring,
    write: bool,
    check_stop: Callable[[], None],
    sleep: Callable[[float], None],
) -> RotationResult:
    """Re-encrypt the tokens that another key than the first decrypts; `write=False`: a dry run.

    `check_stop` is called between batches and may raise; what was written stays. Raises
    DatabaseAway.
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
    """Return what was found and is done, and the users whose rows were locked."""
    usage = _usage(users, keyring)
    if not write or not usage.to_encrypt:
        return usage, []
    reencrypted = [
        Reencrypted(user, keyring.encrypt(keyring.decrypt(user.encrypted_token or "")))
        for user in usage.to_encrypt
    ]
    with transaction(pool) as conn:
        done = queries.reencrypt(conn, reencrypted)
    log.info("tokens_sealed", extra={"sealed": len(done), "last_user_id": users[-1].id})
    left = [token.user for token in reencrypted if token.user.id not in done]
    return usage.without(left), left


def _usage(users: Sequence[User], keyring: Keyring) -> KeyUsage:
    return KeyUsage.of(users, keys=len(keyring.keys), decrypted_by=keyring.decrypted_by)


def _next(pool: Pool, last: int) -> list[User]:
    with transaction(pool) as conn:
        return queries.after(conn, last, most=BATCH)


def _again(pool: Pool, users: Sequence[User]) -> list[User]:
    """Read these users again: some have a new token now, or were removed."""
    with transaction(pool) as conn:
        return queries.of(conn, [user.id for user in users])


def check_application(keyring: Keyring, *, application_key: str | None, pool: Pool) -> None:
    """Refuse if the application would be left with tokens that it can't decrypt.

    It knows one key only. The environment may show that this is our first one; if not, the
    operator has to say so. Raises ApplicationNotSwitched.
    """
    first = keyring.keys[0].fingerprint
    if application_key is not None and fingerprint(application_key) == first:
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
        "the web application decrypts tokens with one key only, and nothing shows that it is the "
        f"first of CHECKINSYNC_ENCRYPTION_KEY (fingerprint {first}): {known}. It could not decrypt "
        "the re-encrypted tokens. Switch the application to that key first, then use "
        "--application-switched; nothing was changed"
    )
