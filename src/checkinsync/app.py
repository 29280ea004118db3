"""App: opens everything that a command needs and closes it again; owns the one clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from checkinsync.config.settings import Examined, Settings
from checkinsync.errors import RateLimited, SettingsError
from checkinsync.nightly.plan import RunOptions
from checkinsync.nightly.wait import Wait
from checkinsync.resources import (
    database_url,
    open_foursquare,
    open_keyring,
    open_pooled,
    utc_now,
)
from checkinsync.shutdown import Shutdown
from checkinsync.store import sync_state
from checkinsync.store.lease_renewal import EVERY, LeaseRenewer
from checkinsync.store.pool import transaction
from checkinsync.sync.session import Services

if TYPE_CHECKING:
    from checkinsync.doctor import checks
    from checkinsync.foursquare.oauth import OAuth

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """Settings, the services that were opened with them, and the request to stop."""

    settings: Settings
    services: Services
    shutdown: Shutdown
    wait: Wait | None = None
    """Another sleep of a run than by the real clock."""

    @property
    def run_options(self) -> RunOptions:
        """The options of a run, as set."""
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

    def wait_for(self, limit: RateLimited) -> None:
        """Sleep until a rate limit is over. Raises Interrupted when asked to stop."""
        log.warning("%s; waiting", limit)
        self.shutdown.sleep((limit.until - self.services.now()).total_seconds())


@contextmanager
def open_app(
    settings: Settings,
    shutdown: Shutdown,
    *,
    now: Callable[[], datetime] | None = None,
    renewed_every: float = EVERY,
) -> Iterator[App]:
    """Open everything and close it again. Raises SettingsError, DatabaseAway, …

    `now` is the clock of everything but the leases, which are renewed every so many real seconds.
    """
    now = now or SteadyClock().now
    with ExitStack() as stack:
        keyring = open_keyring(settings)
        pool = stack.enter_context(open_pooled(settings))
        with transaction(pool, read_only=True) as conn:
            remembered = sync_state.known_token_way(conn)
        foursquare = stack.enter_context(
            open_foursquare(settings, shutdown, now=now, remembered_way=remembered)
        )
        lease_renewer = LeaseRenewer(pool, every=renewed_every)
        stack.callback(lease_renewer.close)
        yield App(settings, Services(pool, foursquare, keyring, lease_renewer, now), shutdown)


@contextmanager
def open_oauth(settings: Settings, redirect: str) -> Iterator[OAuth]:
    """Open Foursquare's login, which sends browsers back to `redirect`.

    Raises SettingsError where the application's own id or secret is not set.
    """
    from checkinsync.foursquare.oauth import Client, OAuth  # noqa: PLC0415 - for a login only

    client = {
        "CHECKINSYNC_CLIENT_ID": settings.client_id,
        "CHECKINSYNC_CLIENT_SECRET": settings.client_secret,
    }
    missing = " and ".join(name for name, value in client.items() if not value)
    if not settings.client_id or not settings.client_secret:
        raise SettingsError(
            f"{missing} must be set for a login: Foursquare shows both where the application "
            f"is registered, with {redirect} as its redirect address"
        )
    oauth = OAuth(
        settings.oauth_url,
        client=Client(settings.client_id, settings.client_secret),
        redirect=redirect,
        proxies_from_environment=settings.proxy == "environment",
        ca_file=settings.ca_file,
    )
    with closing(oauth):
        yield oauth


STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """The time of day when it was made, and what has passed since by a clock that is never set.

    A step of the machine's clock moves neither starts nor retries. Time asleep counts.
    """

    started: datetime = field(default_factory=utc_now)
    mark: float = field(default_factory=lambda: time.clock_gettime(STEADY))

    def now(self) -> datetime:
        """Return the time: aware, UTC."""
        return self.started + timedelta(seconds=time.clock_gettime(STEADY) - self.mark)


def examine(
    examined: Examined,
    shutdown: Shutdown,
    *,
    chosen: Sequence[str] | None,
    now: Callable[[], datetime] = utc_now,
) -> checks.Report:
    """See `doctor.checks.examine`. `chosen`: users to ask Foursquare about; None: none."""
    from checkinsync.doctor import checks  # noqa: PLC0415 - for `doctor` only

    settings = examined.settings
    with ExitStack() as stack:
        online = None
        if chosen is not None:
            foursquare = stack.enter_context(open_foursquare(settings, shutdown, now=now))
            online = checks.Online(foursquare, tuple(chosen))
        return checks.examine(
            examined,
            address=partial(database_url, settings),
            open_keyring=partial(open_keyring, settings),
            online=online,
            now=now,
        )
