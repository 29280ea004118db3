"""One user's import, started by an operator: waits for a rate limit if told to, no retries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from checkinsync.errors import (
    AtWork,
    CheckinsyncError,
    Interrupted,
    LeaseLost,
    QuotaExceeded,
    RateLimited,
    TokenUnreadable,
    UserRemoved,
    WrongEncryptionKey,
)
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.store import users
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync import record
from checkinsync.sync.outcome import Failed, Imported, UserReport

log = logging.getLogger(__name__)

SAMPLE = 100
"""So many stored tokens are tried before the key counts as wrong."""

NOT_HIS_FAULT = (AtWork, Interrupted, LeaseLost, QuotaExceeded, RateLimited, UserRemoved)


def import_by_hand(
    user: User,
    *,
    import_one: Callable[[User], Imported],
    can_decrypt: Callable[[str], bool],
    pool: Pool,
    wait: bool,
    sleep: Callable[[float], None],
    now: Callable[[], datetime],
) -> Imported:
    """Import now, and write down how it ended. Raises what the import raises."""
    started = now()
    try:
        return _until_done(user, import_one, wait=wait, sleep=sleep, now=now)
    except NOT_HIS_FAULT:
        raise
    except CheckinsyncError as error:
        if isinstance(error, TokenUnreadable):
            _refuse_a_wrong_key(can_decrypt, pool=pool)
        if isinstance(error, record.TOKEN_TROUBLE):
            record.tokens([UserReport(user, Failed(error), 1, Saved())], pool=pool)
        else:
            record.failed(user, str(error), pool=pool, since=started)
        raise


def _until_done(
    user: User,
    import_one: Callable[[User], Imported],
    *,
    wait: bool,
    sleep: Callable[[float], None],
    now: Callable[[], datetime],
) -> Imported:
    while True:
        try:
            return import_one(user)
        except RateLimited as limit:
            if not wait:
                raise
            log.warning("%s; waiting", limit)
            sleep((limit.until - now()).total_seconds())


def _refuse_a_wrong_key(can_decrypt: Callable[[str], bool], *, pool: Pool) -> None:
    with transaction(pool) as conn:
        encrypted = users.encrypted_tokens(conn, most=SAMPLE)
    if not any(map(can_decrypt, encrypted)):
        raise WrongEncryptionKey from None
