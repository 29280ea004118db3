"""Adds users, replaces their tokens, pauses and resumes them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import TokenRejected, UnknownUser, UserExists
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import Profile, User
from checkinsync.store import sync_state, users
from checkinsync.store.pool import Pool, transaction


@dataclass(frozen=True, slots=True)
class Added:
    """A new user and their login token for the application."""

    id: int
    secret_token: str = field(repr=False)


def find(text: str, *, pool: Pool) -> User:
    """Return the user that `text` names: an id, `fsq:ID` or a name. Raises UnknownUser."""
    with transaction(pool) as conn:
        return users.find(conn, text)


def who_is(token: str, *, foursquare: Foursquare) -> Profile:
    """Ask Foursquare whose token this is. Raises TokenRejected, FoursquareAway, …"""
    try:
        return foursquare.user_client(token).who_is()
    except TokenRejected:
        raise TokenRejected(
            "Foursquare does not accept this token: it is not complete, or was revoked; nothing "
            "was changed. `checkinsync login` gets a new one"
        ) from None


def known(profile: Profile, *, pool: Pool) -> User | None:
    """Return the user with this Foursquare id; None if there is none."""
    with transaction(pool) as conn:
        return users.by_foursquare_id(conn, profile.foursquare_user_id)


def add(profile: Profile, token: str, *, pool: Pool, keyring: Keyring, now: datetime) -> Added:
    """Store a new user, active from now on. Raises UserExists."""
    secret, encrypted = secrets.token_hex(32), keyring.encrypt(token)
    with transaction(pool) as conn:
        there = users.by_foursquare_id(conn, profile.foursquare_user_id)
        if there is None:  # looked for first: a refused insert would use up an id
            number = users.add(
                conn, profile, encrypted_token=encrypted, secret_token=secret, at=now
            )
            if number is not None:
                return Added(number, secret)
            there = users.by_foursquare_id(conn, profile.foursquare_user_id)
    raise UserExists(
        f"Foursquare user {profile.foursquare_user_id} is {there or 'a user'} already; to renew "
        f"the token use `checkinsync users set-token {there.id if there else 'USER'}`"
    )


def set_token(
    user: User, token: str, *, profile: Profile | None, pool: Pool, keyring: Keyring, now: datetime
) -> None:
    """Replace this user's token; they are due again. `profile`: the token's owner, if asked for.

    Raises UserExists if it belongs to another Foursquare user, UnknownUser if this one was removed
    meanwhile.
    """
    if profile is not None and profile.foursquare_user_id != user.foursquare_user_id:
        raise UserExists(
            f"this token belongs to Foursquare user {profile.foursquare_user_id}, not to {user} "
            f"(Foursquare user {user.foursquare_user_id}); nothing was changed"
        )
    with transaction(pool) as conn:
        if not users.set_token(conn, user.id, encrypted_token=keyring.encrypt(token), at=now):
            raise UnknownUser(f"{user} was removed meanwhile; nothing was changed")


def pause(user: User, *, pool: Pool, now: datetime | None) -> None:
    """Leave the user out of runs from `now` on; None: take them in again."""
    with transaction(pool) as conn:
        sync_state.pause(conn, user.id, at=now)
