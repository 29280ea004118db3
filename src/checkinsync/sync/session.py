"""What every import and verification of a user begins with: he is there, his token opens, and
nobody else is at work on him."""

from __future__ import annotations

from checkinsync.errors import AtWork, NoToken, UserRemoved
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import User
from checkinsync.store import jobs, leases, users
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Connection, Pool, transaction


def present(user: User, *, pool: Pool) -> User:
    """As he is now: since he was looked up he may have reconnected, or left. Raises UserRemoved."""
    with transaction(pool) as conn:
        there = users.present(conn, user.id)
    if there is None:
        raise _removed(user)
    return there


def token_of(user: User, *, keyring: Keyring) -> str:
    """His Foursquare token. Raises NoToken, TokenUnreadable."""
    if user.encrypted_token is None:
        raise NoToken(f"no Foursquare token is stored for {user}: they must connect first")
    return keyring.decrypt(user.encrypted_token)


def claim(conn: Connection, user: User, *, lease_renewer: LeaseRenewer) -> Lease:
    """The right to work on him. Raises AtWork where somebody else does, UserRemoved."""
    lease = leases.acquire(conn, user.id, alive=lease_renewer.tokens())
    if lease is None:
        raise AtWork(f"another import of {user} is at work")
    expect(conn, user)
    if jobs.application_at_work(conn, user.id):
        raise AtWork(f"the web application is importing {user} itself")
    return lease


def expect(conn: Connection, user: User) -> None:
    """He stays until the end of this transaction. Raises UserRemoved."""
    if not users.stays(conn, user.id):
        raise _removed(user)


def _removed(user: User) -> UserRemoved:
    return UserRemoved(f"{user} was removed from the database meanwhile")
