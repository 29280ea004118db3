"""Users being worked on: they exist, their tokens decrypt, and this process holds their leases.

No import, scrub or verification writes but in a session's transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import (
    AtWork,
    CheckinsyncError,
    DatabaseAway,
    DatabaseBusy,
    DatabaseError,
    LeaseLost,
    NoToken,
    TokenUnreadable,
    UserRemoved,
)
from checkinsync.foursquare.client import Foursquare, UserClient
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import User
from checkinsync.store import jobs, leases, sync_state
from checkinsync.store.jobs import Progress
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.store.sync_state import SyncState


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks from an import or a verification to its caller."""

    check_start: Callable[[], None] = lambda: None
    """Called when it is the user's turn to ask Foursquare; raises Postponed if it can't be asked
    any more."""
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
    def session(self, user: User) -> Iterator[Session]:
        """Work on one user; the end of the block gives the lease back.

        Raises UserRemoved, NoToken, TokenUnreadable, AtWork, DatabaseError.
        """
        [opened] = self.open([user])
        if not isinstance(opened, Session):
            raise opened
        try:
            yield opened
        finally:
            opened.close()

    def open(
        self, users: Sequence[User], *, for_import: bool = False, defer_retry: bool = False
    ) -> list[Session | CheckinsyncError]:
        """Begin to work on users, in one transaction: take their leases, look them up as they are
        now, decrypt their tokens. Return for each a session, or why there is none.

        `for_import`: with a row in `import_jobs`; `defer_retry`: see `Foursquare.user_client`.
        """
        try:
            with transaction(self.pool) as conn:
                found = self._found(conn, users, defer_retry=defer_retry)
                own = [each.lease for each in found if isinstance(each, _Found)]
                started = jobs.start(conn, own) if for_import and own else {}
        except CheckinsyncError as error:
            if len(users) == 1 or isinstance(error, DatabaseAway | DatabaseBusy):
                return [error] * len(users)
            return [
                self.open([user], for_import=for_import, defer_retry=defer_retry)[0]
                for user in users  # one of them may be to blame
            ]
        return [
            self._session(each, job=started.get(each.lease.user_id, 0))
            if isinstance(each, _Found)
            else each
            for each in found
        ]

    def _found(
        self, conn: Connection, users: Sequence[User], *, defer_retry: bool
    ) -> list[_Found | CheckinsyncError]:
        alive = self.lease_renewer.tokens()
        taken = leases.acquire_all(conn, [user.id for user in users], alive=alive)
        own = {lease.user_id: lease for lease in taken}
        states = sync_state.load(conn, own)
        found = [
            self._one(user, own.pop(user.id, None), states.get(user.id), defer_retry=defer_retry)
            for user in users
        ]
        kept = {each.lease for each in found if isinstance(each, _Found)}
        if kept != set(taken):
            leases.release(conn, *(set(taken) - kept))
        return found

    def _one(
        self, user: User, lease: Lease | None, state: SyncState | None, *, defer_retry: bool
    ) -> _Found | CheckinsyncError:
        if lease is None:
            return AtWork(f"another import of {user} is at work")
        if state is None:
            return removed(user)
        if state.application_at_work:
            return AtWork(f"the web application is importing {user} itself")
        if state.user.encrypted_token is None:
            return NoToken(f"no Foursquare token is stored for {user}: they must connect first")
        try:
            token = self.keyring.decrypt(state.user.encrypted_token)
            return _Found(lease, state, self.foursquare.user_client(token, defer_retry=defer_retry))
        except TokenUnreadable as error:
            return error

    def _session(self, found: _Found, *, job: int) -> Session:
        session = Session(self, found.state, found.client, found.lease, job)
        session.renewing.enter_context(self.lease_renewer.renewing(found.lease))
        return session


@dataclass(frozen=True, slots=True)
class _Found:
    """A user who can be worked on."""

    lease: Lease
    state: SyncState
    client: UserClient


@dataclass(slots=True)
class Session:
    """One user, their client of the API, and guarded transactions on their rows."""

    services: Services
    state: SyncState
    """As it was when the lease was taken."""
    client: UserClient
    lease: Lease
    job: int
    """Of this import; 0 if there is none."""
    renewing: ExitStack = field(default_factory=ExitStack)
    gives_back: bool = field(default=False, init=False)
    """This transaction, the session's last one, gives the lease back."""

    @property
    def user(self) -> User:
        """The user, as stored when the session began."""
        return self.state.user

    @property
    def now(self) -> datetime:
        """The time: aware, UTC."""
        return self.services.now()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One unit of work: it is still our lease and still a user, or nothing is written.

        Raises LeaseLost, UserRemoved, DatabaseError.
        """
        with together([self]) as (conn, held):
            if self.user.id not in held:
                raise LeaseLost(leases.LOST)
            if not held[self.user.id]:
                raise removed(self.user)
            yield conn

    def release(self, conn: Connection) -> None:
        """Give the lease back when this transaction, the session's last one, is committed."""
        leases.release(conn, self.lease)
        self.gives_back = True

    def close(self, write: Callable[[Connection], None] = lambda _: None) -> None:
        """Write how it ended and give the lease back.

        Silent where that is not possible any more: the lease was lost, or expires by itself.
        """
        if self.gives_back:
            return
        with suppress(LeaseLost, DatabaseError), transaction(self.services.pool) as conn:
            leases.ensure_held(conn, self.lease)
            write(conn)
            leases.release(conn, self.lease)
        self.gives_back = True
        self.renewing.close()


@contextmanager
def together(sessions: Sequence[Session]) -> Iterator[tuple[Connection, Mapping[int, bool]]]:
    """One unit of work on several users, who are written to only as they are yielded: those whose
    lease is still ours, by id, and if they are still users. Raises DatabaseError.
    """
    try:
        holding = leases.holding([session.lease for session in sessions])
        with transaction(sessions[0].services.pool, first=holding) as conn:
            yield conn, dict(holding.rows)
    except BaseException:
        for session in sessions:
            session.gives_back = False
        raise
    for session in sessions:
        if session.gives_back:
            session.renewing.close()


def removed(user: User) -> UserRemoved:
    """Return the error of a user who is no longer there."""
    return UserRemoved(f"{user} was removed from the database meanwhile")
