"""App: the only place where things are put together; it owns the one clock and the one sleep."""

from __future__ import annotations

import logging
import queue
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from checkinsync.config.settings import Examined, Settings
from checkinsync.doctor import checks
from checkinsync.errors import RateLimited, SettingsError
from checkinsync.foursquare.client import Foursquare
from checkinsync.foursquare.oauth import Client, OAuth
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import User
from checkinsync.nightly.attempt import Ended, OnPage
from checkinsync.nightly.plan import RunOptions, RunPlan, planned
from checkinsync.nightly.run import Inbox, run
from checkinsync.nightly.summary import RunSummary
from checkinsync.resources import database_url, open_foursquare, open_keyring, open_pooled
from checkinsync.shutdown import Shutdown
from checkinsync.store import jobs, sync_state, users
from checkinsync.store.lease_renewal import EVERY, LeaseRenewer
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync.import_now import import_by_hand
from checkinsync.sync.import_user import import_user
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Nightly, Scope
from checkinsync.users.login import Arrival, LoggedIn, login
from checkinsync.verify.result import Unfinished, VerificationResult
from checkinsync.verify.verifier import verify

log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks whether somebody asked to stop, while a run waits."""


@dataclass(frozen=True, slots=True)
class App:
    """Settings, pool, Foursquare, vault and clock, put together."""

    settings: Settings
    pool: Pool
    foursquare: Foursquare
    keyring: Keyring
    lease_renewer: LeaseRenewer
    stop: Shutdown
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
        check_stop: Callable[[], None] | None = None,
        on_page: Callable[[jobs.Progress], None] = lambda _: None,
        defer_retry: bool = False,
        may_scrub: Callable[[], bool] = lambda: False,
    ) -> Imported:
        """One user brought up to date; see `import_user`."""
        return import_user(
            user,
            pool=self.pool,
            foursquare=self.foursquare,
            keyring=self.keyring,
            lease_renewer=self.lease_renewer,
            now=self.now,
            scope=scope or Nightly(self.settings.overlap),
            check_stop=check_stop or self.stop.check,
            on_page=on_page,
            run_id=run_id,
            defer_retry=defer_retry,
            may_scrub=may_scrub,
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
            can_decrypt=self.keyring.can_decrypt,
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
    ) -> VerificationResult | Unfinished:
        """One user's whole history compared; see `verify`."""
        return verify(
            user,
            pool=self.pool,
            foursquare=self.foursquare,
            keyring=self.keyring,
            lease_renewer=self.lease_renewer,
            now=self.now,
            check_stop=self.stop.check,
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
            keyring=self.keyring,
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
    def plan(self) -> RunOptions:
        """How a run is to go."""
        s = self.settings
        return RunOptions(
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
        return run(
            pool=self.pool,
            lease_renewer=self.lease_renewer,
            import_one=self._import_one,
            can_decrypt=self.keyring.can_decrypt,
            plan=self.plan,
            host=socket.gethostname(),
            now=self.now,
            wait=self.wait,
            check_stop=self.stop.check,
            requests=lambda: self.foursquare.requests,
        )

    def planned(self) -> RunPlan:
        """What a run would do if it started now."""
        return planned(
            pool=self.pool, can_decrypt=self.keyring.can_decrypt, plan=self.plan, now=self.now()
        )

    def _import_one(
        self,
        user: User,
        *,
        run_id: int,
        check_stop: Callable[[], None],
        on_page: OnPage,
        may_scrub: Callable[[], bool],
    ) -> Imported:
        return self.import_user(
            user,
            run_id=run_id,
            check_stop=check_stop,
            on_page=on_page,
            defer_retry=True,
            may_scrub=may_scrub,
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


def utc_now() -> datetime:
    """What time it is: aware, UTC."""
    return datetime.now(UTC)


@contextmanager
def open_app(
    settings: Settings,
    stop: Shutdown,
    *,
    now: Callable[[], datetime] = utc_now,
    renewed_every: float = EVERY,
) -> Iterator[App]:
    """Everything put together, and put away again. Raises SettingsError, DatabaseAway, …

    `now` is the clock of everything but the leases, which are renewed every so many real seconds.
    """
    with ExitStack() as stack:
        keyring = open_keyring(settings)
        pool = stack.enter_context(open_pooled(settings))
        with transaction(pool) as conn:
            remembered = sync_state.way_that_worked(conn)
        foursquare = stack.enter_context(
            open_foursquare(settings, stop, now=now, remembered_way=remembered)
        )
        lease_renewer = LeaseRenewer(pool, every=renewed_every)
        stack.callback(lease_renewer.close)
        yield App(settings, pool, foursquare, keyring, lease_renewer, stop, now)


def examine(
    examined: Examined,
    stop: Shutdown,
    *,
    chosen: Sequence[str] | None,
    now: Callable[[], datetime] = utc_now,
) -> checks.Report:
    """See `doctor.examine`. `chosen`: users to ask Foursquare about; None: it is not asked."""
    settings = examined.settings
    with ExitStack() as stack:
        online = None
        if chosen is not None:
            foursquare = stack.enter_context(open_foursquare(settings, stop, now=now))
            online = checks.Online(foursquare, tuple(chosen))
        return checks.examine(
            examined,
            address=partial(database_url, settings),
            open_keyring=partial(open_keyring, settings),
            online=online,
            now=now,
        )
