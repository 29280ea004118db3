"""Opens and closes what commands rest on: the database, the keys, the API's client.

Loads no HTTP by itself: `status`, `why` and `migrate` need none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from checkinsync.config.settings import Settings
from checkinsync.embedded.place import is_made
from checkinsync.errors import DatabaseAway, SettingsError
from checkinsync.keys.key_file import KEY_FILE, keys_of_home
from checkinsync.keys.keyring import Keyring
from checkinsync.migrations import migrate
from checkinsync.shutdown import Shutdown, signals_deferred
from checkinsync.store.pool import Address, Pool, direct, open_pool, transaction

if TYPE_CHECKING:
    from checkinsync.embedded import Running
    from checkinsync.foursquare.client import Foursquare

BRIEFLY = 2.0
"""Seconds for what is expected to be over at once: PostgreSQL's library takes no less."""

CLOSING = 0.25
"""Seconds that the pool's own threads get to end."""


def utc_now() -> datetime:
    """Return the time: aware, UTC."""
    return datetime.now(UTC)


@contextmanager
def embedded_database(settings: Settings) -> Iterator[Running]:
    """Serve the embedded database. Raises SettingsError where there is none and none is made."""
    _check_private(settings)
    with signals_deferred():
        from checkinsync import embedded  # noqa: PLC0415 - not needed with a server of one's own

    with embedded.serving(
        settings.home,
        bindir=settings.pg_bindir,
        account=settings.pg_account,
        allow_nobody=settings.disposable,
    ) as running:
        if running.made:
            _say(f"checkinsync: made a new private database in {settings.home}\n")
        yield running


def _check_private(settings: Settings) -> None:
    """Raise SettingsError where a command that makes no private database would find none."""
    if settings.may_make_database or is_made(settings.home):
        return
    looked_for = f", {settings.looked_for}" if settings.looked_for else ""
    raise SettingsError(
        "no database: CHECKINSYNC_DATABASE_URL and DATABASE_URL are not set"
        f"{looked_for}, and no private database was made in {settings.home}. Name your database, "
        "or make a private one: `checkinsync setup` does either"
    )


def _say(line: str) -> None:
    """On standard error whatever is logged, and where: an operator has to see it."""
    stderr: TextIO | None = sys.stderr
    if stderr is not None:  # it was closed before we began
        stderr.write(line)


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the database's address; where none is named, the embedded one serves meanwhile."""
    if settings.database_url is not None:
        yield Address.of(settings.database_url, source=settings.database_source)
        return
    with embedded_database(settings) as running:
        yield Address.of(running.url, source="embedded")


@contextmanager
def migration_url(settings: Settings) -> Iterator[str]:
    """Yield the address for migrations: past a pooler, where one is named."""
    if settings.migrate_url is not None:
        yield Address.of(settings.migrate_url, source=settings.migrate_source)
        return
    with database_url(settings) as url:
        yield url


@contextmanager
def open_pooled(settings: Settings) -> Iterator[Pool]:
    """Open the pool, over a schema that has what this program needs. Raises SchemaBehind."""
    with ExitStack() as stack:
        url = stack.enter_context(database_url(settings))
        with signals_deferred():  # an exception while a thread starts breaks that thread
            pool = open_pool(url, size=settings.pool_size)
        stack.callback(pool.close, timeout=CLOSING)
        pending = _pending(pool, url)
        if pending:
            raise migrate.schema_behind(pending)
        yield pool


def _pending(pool: Pool, url: str) -> list[str]:
    """Return the migrations that this database lacks.

    Raises DatabaseAway in the server's own words.
    """
    try:
        with transaction(pool) as conn:
            return migrate.pending(conn)
    except DatabaseAway:
        with direct(url, patience=BRIEFLY):
            raise


def open_keyring(settings: Settings, *, also: Sequence[str] = ()) -> Keyring:
    """Return the keys; the embedded database makes itself one. Raises SettingsError without any.

    `also`: keys that only decrypt, after the others.
    """
    return Keyring([*encryption_keys(settings), *also])


def encryption_keys(settings: Settings) -> tuple[str, ...]:
    """Return the keys: the first encrypts, all decrypt. Raises SettingsError without any."""
    if settings.encryption_keys:
        return settings.encryption_keys
    if settings.database_url is None:
        if not os.path.exists(settings.home / KEY_FILE):
            _check_private(settings)
        return keys_of_home(settings.home)
    raise SettingsError(
        "CHECKINSYNC_ENCRYPTION_KEY (or ENCRYPTION_KEY) is not set; it encrypts the stored "
        "Foursquare tokens. Use the application's key, or for a new database 64 random hex digits "
        "(`openssl rand -hex 32`)"
    )


def available_keyring(settings: Settings) -> Keyring | None:
    """Return the keys that exist, and make none; None without any. Raises SettingsError."""
    made = settings.database_url is None and os.path.exists(settings.home / KEY_FILE)
    return open_keyring(settings) if settings.encryption_keys or made else None


@contextmanager
def open_foursquare(
    settings: Settings,
    stop: Shutdown,
    *,
    now: Callable[[], datetime],
    remembered_way: str | None = None,
) -> Iterator[Foursquare]:
    """Open the client of the API. `remembered_way`: how tokens were sent when it worked."""
    from checkinsync.foursquare.client import Foursquare  # noqa: PLC0415

    foursquare = Foursquare(
        api_url=settings.api_url,
        token_in=settings.token_in,
        sleep=stop.sleep,
        now=now,
        remembered_way=remembered_way,
        proxies_from_environment=settings.proxy == "environment",
        ca_file=settings.ca_file,
    )
    with closing(foursquare):
        yield foursquare
