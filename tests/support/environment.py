"""The program's collaborators for tests: the pool, the lease renewer, a clock that is handed in."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest

from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import Profile, User
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.wait import Inbox
from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import Pool, open_pool
from checkinsync.sync.import_user import import_user
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks, Services
from checkinsync.users import accounts
from support.factories import NOW

KEYRING = Keyring(["00" * 32])


class HandedClock:
    """A clock that moves only when a run waits and no import is running."""

    def __init__(self, start: datetime = NOW) -> None:
        self.at = start

    def now(self) -> datetime:
        return self.at

    def wait(self, inbox: Inbox, *, until: datetime | None, running: int) -> list[Ended]:
        try:
            return inbox.get(timeout=60) if running else inbox.get_nowait()
        except queue.Empty:
            assert until is not None, "the run waits for nothing"
            self.at = max(self.at, until)
            return []

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandedClock:
    return HandedClock()


@pytest.fixture
def pool(db: str) -> Iterator[Pool]:
    pool = open_pool(db, size=5)
    yield pool
    pool.close()


@pytest.fixture
def lease_renewer(pool: Pool) -> Iterator[LeaseRenewer]:
    lease_renewer = LeaseRenewer(pool)
    yield lease_renewer
    lease_renewer.close()


def add_users(conn: psycopg.Connection, count: int, *, at: datetime = NOW) -> list[int]:
    """Add active users with encrypted tokens; return their ids."""
    tokens = [KEYRING.encrypt(f"token {number}") for number in range(1, count + 1)]
    rows = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token,
                           last_login_at)
        SELECT 'f' || n, 'user ' || n, token, 's' || n, %(at)s::timestamptz AT TIME ZONE 'UTC'
          FROM unnest(%(tokens)s::text[]) WITH ORDINALITY AS t (token, n)
        RETURNING id
        """,
        {"tokens": tokens, "at": at},
    )
    return [row[0] for row in rows]


class Env:
    """A pool, a simulated Foursquare and imports of its users, as App opens them."""

    def __init__(
        self, pool: Pool, lease_renewer: LeaseRenewer, simulator: Server, conn: psycopg.Connection
    ):
        self.pool = pool
        self.lease_renewer = lease_renewer
        self.simulator = simulator
        self.conn = conn
        self.keyring = KEYRING
        self.at = NOW
        self.foursquare = self.connected()

    @property
    def services(self) -> Services:
        return Services(self.pool, self.foursquare, self.keyring, self.lease_renewer, self.now)

    def connected(self) -> Foursquare:
        """Return a client as a new process has it."""
        return Foursquare(
            api_url=self.simulator.url, token_in="auto", sleep=lambda _: None, now=self.now
        )

    def now(self) -> datetime:
        return self.at

    def add(self, token: str) -> User:
        """Add the user of an account with an encrypted token."""
        profile = Profile(self.simulator.world.accounts[token].user_id, token, None)
        added = accounts.add(profile, token, pool=self.pool, keyring=self.keyring, now=self.at)
        return self.user(added.id)

    def user(self, user_id: int) -> User:
        return accounts.find(str(user_id), pool=self.pool)

    def import_(self, user: User, *, overlap: timedelta = timedelta(days=14), **more) -> Imported:
        """Import once; afterwards `requests` is the number of its requests."""
        self.simulator.requests.clear()
        run_id, scope = more.pop("run_id", None), more.pop("scope", Nightly(overlap))
        return import_user(
            user, services=self.services, scope=scope, hooks=Hooks(**more), run_id=run_id
        )

    def night(self, user: User, **more) -> Imported:
        """Import a day later, as a run does: the window, and a scrub."""
        self.at += timedelta(days=1)
        return self.import_(user, may_scrub=lambda: True, **more)

    @property
    def requests(self) -> int:
        return len(self.simulator.requests)

    def stored(self, user: User) -> list[str]:
        """Return the ids of the stored check-ins, each as often as it is stored."""
        rows = self.conn.execute(
            "SELECT foursquare_id FROM checkins WHERE user_id = %s ORDER BY 1", [user.id]
        )
        return [row[0] for row in rows]

    def quarantined(self, user: User) -> dict[str, str]:
        rows = self.conn.execute(
            "SELECT foursquare_id, problem FROM quarantined_checkins WHERE user_id = %s", [user.id]
        )
        return dict(rows.fetchall())

    def has_everything(self, user: User, token: str) -> bool:
        """Return True if each check-in shown is stored once, or in quarantine."""
        stored = self.stored(user)
        truth = {str(item_id) for item_id in self.simulator.shown_ids(token)}
        missing = truth - set(stored) - set(self.quarantined(user))
        return len(stored) == len(set(stored)) and not missing

    def writes(self) -> str:
        """A mark that changes with each row of `checkins` that is written or locked."""
        [mark] = self.conn.execute(
            """
            SELECT md5(coalesce(string_agg(concat_ws(' ', ctid, xmin, xmax), ','
                                           ORDER BY ctid), ''))
              FROM checkins
            """
        ).fetchone()
        return mark


@pytest.fixture
def simulator() -> Iterator[Server]:
    with Server(World(), now=NOW.timestamp) as server:
        yield server


@pytest.fixture
def env(pool: Pool, lease_renewer: LeaseRenewer, simulator: Server, conn) -> Iterator[Env]:
    env = Env(pool, lease_renewer, simulator, conn)
    yield env
    env.foursquare.close()
