"""One user being worked on: they exist, their token decrypts, and this process holds their lease.

No import, scrub or verification writes but in a session's transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import AtWork, DatabaseError, LeaseLost, NoToken, UserRemoved
from checkinsync.foursquare.client import Foursquare, UserClient
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import User
from checkinsync.store import jobs, leases, users
from checkinsync.store.jobs import Progress
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks from an import or a verification to its caller."""

    check_stop: Callable[[], None] = lambda: None
    """Called before each request; raises Interrupted when it is time to stop."""
    on_page: Callable[[Progress], None] = lambda _: None
    """Called after each page that was stored."""
    may_scrub: Callable[[], bool] = lambda: False
    """Return True if there is time for more than the window, once that is stored."""


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators of all work on users; opened once, by `App`."""

    pool: Pool
    foursquare: Foursquare
    keyring: Keyring
    lease_renewer: LeaseRenewer
    now: Callable[[], datetime]
    """The one clock: aware, UTC."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that can't write, and so needs no lease. Raises DatabaseError."""
        with transaction(self.pool, read_only=True) as conn:
            yield conn

    @contextmanager
    def session(self, user: User, *, defer_retry: bool = False) -> Iterator[Session]:
        """Work on one user: look them up, decrypt their token, and keep the lease renewed.

        The session's first transaction acquires the lease; the end of the block gives it back.
        `defer_retry`: see `Foursquare.user_client`. Raises UserRemoved, NoToken, TokenUnreadable.
        """
        with self.reading() as conn:
            user = present(conn, user)
        if user.encrypted_token is None:
            raise NoToken(f"no Foursquare token is stored for {user}: they must connect first")
        token = self.keyring.decrypt(user.encrypted_token)
        client = self.foursquare.user_client(token, defer_retry=defer_retry)
        with ExitStack() as renewing:
            session = Session(self, user, client, renewing)
            try:
                yield session
            finally:
                session.close()


@dataclass(slots=True)
class Session:
    """One user, their client of the API, and guarded transactions on their rows."""

    services: Services
    user: User
    client: UserClient
    _renewing: ExitStack
    _lease: Lease | None = None
    _released: bool = field(default=False, init=False)

    @property
    def now(self) -> datetime:
        """The time: aware, UTC."""
        return self.services.now()

    @property
    def lease(self) -> Lease:
        """The lease; within the first transaction and after it."""
        assert self._lease is not None
        return self._lease

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One unit of work: it is still our lease and still a user, or nothing is written.

        The first one acquires the lease. Raises AtWork where another process holds it or the
        application is importing the user, LeaseLost, UserRemoved, DatabaseError.
        """
        first = self._lease is None
        try:
            with transaction(self.services.pool) as conn:
                if first:
                    self._lease = self._acquire(conn)
                else:
                    leases.ensure_held(conn, self.lease)
                self._ensure_user(conn)
                if first:
                    self._ensure_alone(conn)
                yield conn
        except BaseException:
            self._released = False
            self._lease = None if first else self._lease
            raise
        if self._released:
            self._renewing.close()
        elif first:
            self._renewing.enter_context(self.services.lease_renewer.renewing(self.lease))

    def release(self, conn: Connection) -> None:
        """Give the lease back when this transaction, the session's last one, is committed."""
        leases.release(conn, self.lease)
        self._released = True

    def close(self, write: Callable[[Connection], None] = lambda _: None) -> None:
        """Write how it ended and give the lease back.

        Silent where that is not possible any more: the lease was lost, or expires by itself.
        """
        if self._lease is None or self._released:
            return
        with suppress(LeaseLost, DatabaseError), transaction(self.services.pool) as conn:
            leases.ensure_held(conn, self.lease)
            write(conn)
            leases.release(conn, self.lease)
        self._released = True
        self._renewing.close()

    def _acquire(self, conn: Connection) -> Lease:
        lease = leases.acquire(conn, self.user.id, alive=self.services.lease_renewer.tokens())
        if lease is None:
            raise AtWork(f"another import of {self.user} is at work")
        return lease

    def _ensure_alone(self, conn: Connection) -> None:
        if jobs.application_at_work(conn, self.user.id):
            raise AtWork(f"the web application is importing {self.user} itself")

    def _ensure_user(self, conn: Connection) -> None:
        if not users.stays(conn, self.user.id):
            raise _removed(self.user)


def present(conn: Connection, user: User) -> User:
    """Return the user as stored now: they may have reconnected meanwhile. Raises UserRemoved."""
    there = users.present(conn, user.id)
    if there is None:
        raise _removed(user)
    return there


def _removed(user: User) -> UserRemoved:
    return UserRemoved(f"{user} was removed from the database meanwhile")
