"""What App is put together from, opened and put away: the database, the keys, the API's client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime

from checkinsync import embedded
from checkinsync.config.settings import Settings
from checkinsync.embedded import Running
from checkinsync.errors import DatabaseAway, SettingsError
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.key_file import KEY_FILE, keys_of_home
from checkinsync.keys.keyring import Keyring
from checkinsync.migrations import migrate
from checkinsync.shutdown import Shutdown
from checkinsync.store.pool import Pool, direct, open_pool, transaction

A_MOMENT = 2.0
"""Seconds for what is expected to be over at once: PostgreSQL's library knows no less."""

CLOSING = 0.25
"""Seconds that the pool's own threads get to end."""


@contextmanager
def embedded_database(settings: Settings) -> Iterator[Running]:
    """The embedded database, while it serves."""
    with embedded.serving(
        settings.home,
        bindir=settings.pg_bindir,
        account=settings.pg_account,
        allow_nobody=settings.disposable,
    ) as running:
        yield running


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The address of the database; where none is named, the embedded one serves meanwhile."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with embedded_database(settings) as running:
        yield running.url


@contextmanager
def migration_url(settings: Settings) -> Iterator[str]:
    """The address for migrations: past a pooler, where one is named."""
    if settings.migrate_url is not None:
        yield settings.migrate_url
        return
    with database_url(settings) as url:
        yield url


@contextmanager
def open_pooled(settings: Settings) -> Iterator[Pool]:
    """The pool, over a schema that has what this program needs. Raises SchemaBehind."""
    with ExitStack() as stack:
        url = stack.enter_context(database_url(settings))
        pool = open_pool(url, size=settings.pool_size)
        stack.callback(pool.close, timeout=CLOSING)
        pending = _pending(pool, url)
        if pending:
            raise migrate.schema_behind(pending)
        yield pool


def _pending(pool: Pool, url: str) -> list[str]:
    """The migrations that this database lacks; where it is away, why, in the server's words."""
    try:
        with transaction(pool) as conn:
            return migrate.pending(conn)
    except DatabaseAway:
        with direct(url, patience=A_MOMENT):
            raise


def open_keyring(settings: Settings, *, also: Sequence[str] = ()) -> Keyring:
    """The keys; the embedded database makes itself one. Raises SettingsError without any.

    `also`: keys that only open, behind the others.
    """
    return Keyring([*encryption_keys(settings), *also])


def encryption_keys(settings: Settings) -> tuple[str, ...]:
    """The keys as they were set: the first seals, all open. Raises SettingsError without any."""
    if settings.encryption_keys:
        return settings.encryption_keys
    if settings.database_url is None:
        return keys_of_home(settings.home)
    raise SettingsError(
        "CHECKINSYNC_ENCRYPTION_KEY (or ENCRYPTION_KEY) is not set; it seals the stored Foursquare "
        "tokens. Use the application's key, or for a new database 64 random hex digits "
        "(`openssl rand -hex 32`)"
    )


def available_keyring(settings: Settings) -> Keyring | None:
    """The keys that are there already; makes none, and does without. Raises SettingsError."""
    made = settings.database_url is None and (settings.home / KEY_FILE).exists()
    return open_keyring(settings) if settings.encryption_keys or made else None


@contextmanager
def open_foursquare(
    settings: Settings,
    stop: Shutdown,
    *,
    now: Callable[[], datetime],
    remembered_way: str | None = None,
) -> Iterator[Foursquare]:
    """The client of the API. `remembered_way`: how tokens were sent when it worked."""
    foursquare = Foursquare(
        api_url=settings.api_url,
        token_in=settings.token_in,
        sleep=stop.sleep,
        now=now,
        remembered_way=remembered_way,
        proxies_from_environment=settings.proxy == "environment",
    )
    with closing(foursquare):
        yield foursquare
