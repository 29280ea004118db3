"""Runs on a clock that is handed in, with imports that end as given."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from checkinsync.errors import (
    FoursquareAway,
)
from checkinsync.foursquare.client import Foursquare
from checkinsync.model.changes import Saved
from checkinsync.nightly import run as nightly
from checkinsync.nightly.plan import RunOptions
from checkinsync.store.pool import transaction
from checkinsync.sync.outcome import Imported
from checkinsync.sync.session import Services
from support.environment import KEYRING
from support.factories import NOW

MINUTE = timedelta(minutes=1)
DONE = Imported(Saved(new=1), requests=1, seconds=0.5, cursor=NOW)

OPTIONS = RunOptions(
    active_days=30,
    stagger=2 * MINUTE,
    window=timedelta(hours=4),
    workers=4,
    deadline=timedelta(hours=6),
    max_age=None,
    overlap=timedelta(days=14),
    retries=3,
    retry_delay=MINUTE,
)


class Imports:
    """Imports that end as given in `endings`, by user, and well after that."""

    def __init__(self, clock, pool=None):
        self.clock = clock
        self.pool = pool
        self.away_until = NOW
        self.endings = defaultdict(list)
        self.starts = defaultdict(list)
        self.may_scrub = {}
        self.lock = threading.Lock()

    def __call__(self, user, *, run_id, hooks):
        hooks.check_start()
        hooks.check_stop()
        with self.lock:
            self.starts[user.id].append(self.clock.now() - NOW)
            self.may_scrub[user.id] = hooks.may_scrub()
            if self.clock.now() < self.away_until:
                raise FoursquareAway("away")
            ending = self.endings[user.id].pop(0) if self.endings[user.id] else DONE
        if self.pool is not None:
            with transaction(self.pool) as conn:
                conn.execute("SELECT 1")
        if isinstance(ending, Exception):
            raise ending
        return ending(hooks) if callable(ending) else ending


@pytest.fixture
def foursquare(clock):
    """A client that is never used."""
    client = Foursquare(
        api_url="http://127.0.0.1:1", token_in="auto", sleep=clock.sleep, now=clock.now
    )
    yield client
    client.close()


@pytest.fixture
def imports(clock):
    return Imports(clock)


@pytest.fixture
def run(pool, lease_renewer, clock, imports, foursquare):
    def run(
        options=OPTIONS, *, keyring=KEYRING, check_stop=lambda: None, wait=clock.wait, **changes
    ):
        return nightly.run(
            Services(pool, foursquare, keyring, lease_renewer, clock.now),
            options=replace(options, **changes),
            check_stop=check_stop,
            import_one=imports,
            wait=wait,
        )

    return run
