"""A login at Foursquare: adds the user who logs in there, or replaces their token."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from checkinsync.errors import CheckinsyncError, LoginFailed, StrayReturn
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import Profile, User
from checkinsync.store.pool import Pool
from checkinsync.users import accounts


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user whose new token is stored."""

    user: User
    new: bool
    """True if they were added; False if their token was replaced."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A return from Foursquare with this query; `tell` shows the result there."""

    query: str = field(repr=False)
    tell: Callable[[LoggedIn | CheckinsyncError], object]


def login(
    named: User | None,
    *,
    arrivals: Iterable[Arrival],
    exchange: Callable[[str], str],
    foursquare: Foursquare,
    pool: Pool,
    keyring: Keyring,
    now: Callable[[], datetime],
) -> LoggedIn:
    """Log in the first of `arrivals` that belongs to this login; refuse those before it.

    `exchange` makes the query that a browser came back with a token, and raises StrayReturn for
    another login's. `named`: the only user it may be. Success is shown after the token is stored.
    Raises LoginFailed, UserExists if it is another user, SettingsError, FoursquareAway, …
    """
    for arrival in arrivals:
        try:
            token = exchange(arrival.query)
            profile = accounts.who_is(token, foursquare=foursquare)
            logged_in = _store(profile, token, named=named, pool=pool, keyring=keyring, now=now())
        except StrayReturn as stray:
            arrival.tell(stray)
        except CheckinsyncError as error:
            arrival.tell(error)
            raise
        else:
            arrival.tell(logged_in)
            return logged_in
    raise LoginFailed("the login ended without an answer from Foursquare")


def _store(
    profile: Profile, token: str, *, named: User | None, pool: Pool, keyring: Keyring, now: datetime
) -> LoggedIn:
    user = named or accounts.known(profile, pool=pool)
    if user is None:
        added = accounts.add(profile, token, pool=pool, keyring=keyring, now=now)
        return LoggedIn(accounts.find(str(added.id), pool=pool), new=True)
    accounts.set_token(user, token, profile=profile, pool=pool, keyring=keyring, now=now)
    return LoggedIn(user, new=False)
