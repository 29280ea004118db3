"""App: the only place where things are put together; it owns the one clock and the one sleep."""

from __future__ import annotations

import logging
import queue
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from checkinsync import local_postgres, migrate
from checkinsync.attempt import Ended, OnPage
from checkinsync.errors import DatabaseAway, RateLimited, SchemaBehind, SettingsError
from checkinsync.foursquare.client import Foursquare
from checkinsync.foursquare.oauth import Client, OAuth
from checkinsync.import_by_hand import import_by_hand
from checkinsync.import_user import import_user
from checkinsync.local_postgres import Running
from checkinsync.login import Arrival, LoggedIn, login
from checkinsync.model import User
from checkinsync.orchestrate import Inbox, orchestrate
from checkinsync.outcome import Imported, RunSummary
from checkinsync.plan import Plan, Planned, planned
from checkinsync.proof import Proof, Unfinished
from checkinsync.scope import Nightly, Scope
from checkinsync.settings import Settings
from checkinsync.stop import Stop
from checkinsync.store import jobs, state, users
from checkinsync.store.keeper import EVERY, Keeper
from checkinsync.store.pool import Pool, direct, open_pool, transaction
from checkinsync.vault import Vault, key_of_home
from checkinsync.verify import verify

log = logging.getLogger(__name__)

A_MOMENT = 2.0
"""Seconds for what is expected to be over at once: PostgreSQL's library knows no less."""

LOOK = 0.25
"""Seconds between two looks whether somebody asked to stop, while a run waits."""


@dataclass(frozen=True, slots=True)
class App:
    """Settings, pool, Foursquare, vault and clock, put together."""

    settings: Settings
    pool: Pool
    foursquare: Foursquare
    vault: Vault
    keeper: Keeper
    stop: Stop
    now: Callable[[], datetime]
    """The one clock: aware, UTC."""

    def user(self, text: str) -> User:
        """The user who is meant. Raises UnknownUser."""
        with transaction(self.pool) as conn:
            return users.find(conn, text)

    def import_user(
        self,
        user: User,
        *,
        scope: Scope | None = None,
        run_id: int | None = None,
        go_on: Callable[[], None] | None = None,
        on_page: Callable[[jobs.Progress], None] = lambda _: None,
        patient: bool = False,
        spare: Callable[[], bool] = lambda: False,
    ) -> Imported:
        """One user brought up to date; see `import_user`."""
        return import_user(
            user,
            pool=self.pool,
            foursquare=self.foursquare,
            vault=self.vault,
            keeper=self.keeper,
            now=self.now,
            scope=scope or Nightly(self.settings.overlap),
            go_on=go_on or self.stop.check,
            on_page=on_page,
            run_id=run_id,
            patient=patient,
            spare=spare,
        )

    def import_user_by_hand(
        self,
        user: User,
        *,
        scope: Scope | None,
        wait: bool,
        on_page: Callable[[jobs.Progress], None],
    ) -> Imported:
        """One user now, for an operator; see `import_by_hand`."""
        return import_by_hand(
            user,
            import_one=lambda user: self.import_user(user, scope=scope, on_page=on_page),
            opens=self.vault.can_open,
            pool=self.pool,
            wait=wait,
            sleep=self.stop.sleep,
            now=self.now,
        )

    def connected(self) -> list[User]:
        """Everyone with a token, by id."""
        with transaction(self.pool) as conn:
            return users.connected(conn)

    def verify(
        self,
        user: User,
        *,
        repair: bool,
        accept_deletions: bool,
        wait: bool,
        on_page: Callable[[jobs.Progress], None] = lambda _: None,
    ) -> Proof | Unfinished:
        """One user's whole history compared; see `verify`."""
        return verify(
            user,
            pool=self.pool,
            foursquare=self.foursquare,
            vault=self.vault,
            keeper=self.keeper,
            now=self.now,
            go_on=self.stop.check,
            on_page=on_page,
            wait=self._wait_for if wait else None,
            repair=repair,
            accept_deletions=accept_deletions,
        )

    def _wait_for(self, limit: RateLimited) -> None:
        log.warning("%s; waiting", limit)
        self.stop.sleep((limit.until - self.now()).total_seconds())

    def login(
        self, named: User | None, *, arrivals: Iterable[Arrival], state: str, oauth: OAuth
    ) -> LoggedIn:
        """Somebody's login at Foursquare; see `login`."""
        return login(
            named,
            arrivals=arrivals,
            state=state,
            oauth=oauth,
            foursquare=self.foursquare,
            pool=self.pool,
            vault=self.vault,
            now=self.now,
        )

    @contextmanager
    def oauth(self, redirect: str) -> Iterator[OAuth]:
        """Foursquare's login, which sends browsers back to `redirect`.

        Raises SettingsError where the application's own id or secret is not set.
        """
        s = self.settings
        given = {"CHECKINSYNC_CLIENT_ID": s.client_id, "CHECKINSYNC_CLIENT_SECRET": s.client_secret}
        missing = " and ".join(name for name, value in given.items() if not value)
        if not s.client_id or not s.client_secret:
            raise SettingsError(
                f"{missing} must be set for a login: Foursquare shows both where the application "
                f"is registered, with {redirect} as its redirect address"
            )
        oauth = OAuth(
            s.oauth_url,
            client=Client(s.client_id, s.client_secret),
            redirect=redirect,
            proxies_from_environment=s.proxy == "environment",
        )
        with closing(oauth):
            yield oauth

    @property
    def plan(self) -> Plan:
        """How a run is to go."""
        s = self.settings
        return Plan(
            active_days=s.active_days,
            stagger=s.stagger,
            window=s.window,
            workers=s.workers,
            deadline=s.deadline,
            max_age=s.max_age,
            overlap=s.overlap,
            retries=s.retries,
            retry_delay=s.retry_delay,
        )

    def orchestrate(self) -> RunSummary:
        """The nightly run; see `orchestrate`."""
        return orchestrate(
            pool=self.pool,
            keeper=self.keeper,
            import_one=self._import_one,
            opens=self.vault.can_open,
            plan=self.plan,
            host=socket.gethostname(),
            now=self.now,
            wait=self.wait,
            go_on=self.stop.check,
            requests=lambda: self.foursquare.requests,
        )

    def planned(self) -> Planned:
        """What a run would do if it started now."""
        return planned(pool=self.pool, opens=self.vault.can_open, plan=self.plan, now=self.now())

    def _import_one(
        self,
        user: User,
        *,
        run_id: int,
        go_on: Callable[[], None],
        on_page: OnPage,
        spare: Callable[[], bool],
    ) -> Imported:
        return self.import_user(
            user, run_id=run_id, go_on=go_on, on_page=on_page, patient=True, spare=spare
        )

    def wait(self, inbox: Inbox, *, until: datetime | None, running: int) -> Ended | None:
        """The one sleep of a run: until something arrives, the time has come, or a signal."""
        del running  # a real clock goes on by itself
        while not self.stop.asked():
            left = LOOK if until is None else min(LOOK, (until - self.now()).total_seconds())
            try:
                return inbox.get(timeout=max(0.0, left))
            except queue.Empty:
                if until is not None and self.now() >= until:
                    return None
        try:
            return inbox.get(timeout=LOOK)  # asked to stop: the pages in hand come back soon
        except queue.Empty:
            return None


@contextmanager
def embedded_database(settings: Settings) -> Iterator[Running]:
    """The embedded database, while it serves."""
    with local_postgres.serving(
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
        stack.callback(pool.close, timeout=LOOK)
        pending = _pending(pool, url)
        if pending:
            raise SchemaBehind(f"the schema lacks {', '.join(pending)}; run `checkinsync migrate`")
        yield pool


def _pending(pool: Pool, url: str) -> list[str]:
    """The migrations that this database lacks; where it is away, why, in the server's words."""
    try:
        with transaction(pool) as conn:
            return migrate.pending(conn)
    except DatabaseAway:
        with direct(url, patience=A_MOMENT):
            raise


def utc_now() -> datetime:
    """What time it is: aware, UTC."""
    return datetime.now(UTC)


@contextmanager
def open_app(
    settings: Settings,
    stop: Stop,
    *,
    now: Callable[[], datetime] = utc_now,
    renewed_every: float = EVERY,
) -> Iterator[App]:
    """Everything put together, and put away again. Raises SettingsError, DatabaseAway, …

    `now` is the clock of everything but the leases, which are renewed every so many real seconds.
    """
    with ExitStack() as stack:
        vault = open_vault(settings)
        pool = stack.enter_context(open_pooled(settings))
        with transaction(pool) as conn:
            remembered = state.way_that_worked(conn)
        foursquare = Foursquare(
            api_url=settings.api_url,
            token_in=settings.token_in,
            sleep=stop.sleep,
            now=now,
            remembered_way=remembered,
            proxies_from_environment=settings.proxy == "environment",
        )
        stack.callback(foursquare.close)
        keeper = Keeper(pool, every=renewed_every)
        stack.callback(keeper.close)
        yield App(settings, pool, foursquare, vault, keeper, stop, now)


def open_vault(settings: Settings) -> Vault:
    """The keys; the embedded database makes itself one. Raises SettingsError without any."""
    if settings.encryption_keys:
        return Vault(settings.encryption_keys)
    if settings.database_url is None:
        return Vault([key_of_home(settings.home)])
    raise SettingsError(
        "CHECKINSYNC_ENCRYPTION_KEY (or ENCRYPTION_KEY) is not set; it seals the stored Foursquare "
        "tokens. Use the application's key, or for a new database 64 random hex digits "
        "(`openssl rand -hex 32`)"
    )
