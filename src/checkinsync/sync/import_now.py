"""One user's import, started by an operator: no retries; waits for a rate limit if asked to."""

from __future__ import annotations

from collections.abc import Callable

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
from checkinsync.sync import record
from checkinsync.sync.import_user import import_user
from checkinsync.sync.outcome import TOKEN_TROUBLE, Failed, Imported, UserReport
from checkinsync.sync.scope import Scope
from checkinsync.sync.session import Hooks, Services

NOT_THE_USERS_FAULT = (AtWork, Interrupted, LeaseLost, QuotaExceeded, RateLimited, UserRemoved)


def import_now(
    user: User,
    *,
    services: Services,
    scope: Scope,
    hooks: Hooks,
    wait: Callable[[RateLimited], None] | None = None,
) -> Imported:
    """Import now, and store how it ended. Raises what `import_user` raises, WrongEncryptionKey.

    `wait`: called at a rate limit, returns when it is over; None: the limit ends the import.
    """
    started = services.now()
    try:
        return _import(user, services=services, scope=scope, hooks=hooks, wait=wait)
    except NOT_THE_USERS_FAULT:
        raise
    except CheckinsyncError as error:
        if isinstance(error, TokenUnreadable) and not record.any_token_decrypts(services):
            raise WrongEncryptionKey from None
        if isinstance(error, TOKEN_TROUBLE):
            record.tokens([UserReport(user, Failed(error), 1, Saved())], pool=services.pool)
        else:
            record.failed(user, str(error), pool=services.pool, since=started)
        raise


def _import(
    user: User,
    *,
    services: Services,
    scope: Scope,
    hooks: Hooks,
    wait: Callable[[RateLimited], None] | None,
) -> Imported:
    while True:
        try:
            return import_user(user, services=services, scope=scope, hooks=hooks)
        except RateLimited as limit:
            if wait is None:
                raise
            wait(limit)
