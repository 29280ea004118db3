"""The cost of comparing a stored history: the whole of it, and a night's slice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from bench.measure import Table, times
from bench.places import database, foursquare
from bench.simulated import TOKEN
from checkinsync.embedded import Running
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import Profile, User
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import Pool, open_pool
from checkinsync.sync.import_user import import_user
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Full, Nightly, Scope
from checkinsync.sync.session import Hooks, Services
from checkinsync.users import accounts
from checkinsync.verify.result import VerificationResult
from checkinsync.verify.verifier import verify

SIZES = (5_000, 70_000)
ROUNDS = 3
NIGHT = timedelta(days=1)


@dataclass
class Stored:
    """A user whose whole history is stored; its newest check-ins are from June 2025."""

    pool: Pool
    lease_renewer: LeaseRenewer
    service: Foursquare
    keyring: Keyring
    user: User
    at: datetime = datetime(2025, 6, 16, 2, tzinfo=UTC)

    @property
    def services(self) -> Services:
        """The collaborators of an import, on a clock that is handed in."""
        return Services(self.pool, self.service, self.keyring, self.lease_renewer, lambda: self.at)

    def import_(self, scope: Scope, *, may_scrub: bool = False) -> Imported:
        """Import once, at the time of that clock."""
        return import_user(
            self.user,
            services=self.services,
            scope=scope,
            hooks=Hooks(may_scrub=lambda: may_scrub),
        )

    def night(self, *, may_scrub: bool) -> Imported:
        """Import one night later."""
        self.at += NIGHT
        return self.import_(Nightly(timedelta(days=14)), may_scrub=may_scrub)

    def verify(self) -> VerificationResult:
        """Verify the whole history."""
        proof = verify(
            self.user,
            services=self.services,
            hooks=Hooks(),
        )
        assert isinstance(proof, VerificationResult)
        assert proof.complete
        return proof


@contextmanager
def _stored(running: Running, size: int) -> Iterator[Stored]:
    with foursquare(size) as address:
        pool, keyring = open_pool(database(running), size=2), Keyring(["00" * 32])
        service = Foursquare(api_url=address, token_in="auto", sleep=time.sleep, now=_now)
        profile = Profile("1", "somebody", None)
        added = accounts.add(profile, TOKEN, pool=pool, keyring=keyring, now=_now())
        user = accounts.find(str(added.id), pool=pool)
        history = Stored(pool, LeaseRenewer(pool), service, keyring, user)
        history.import_(Full())
        yield history
        history.lease_renewer.close()
        service.close()
        pool.close()


def verifying(running: Running) -> Table:
    """Compare `verify` with another full import, and a night with a slice with one without."""
    rows = [row for size in SIZES for row in _rows(running, size)]
    return Table(
        "A stored history compared",
        "Nothing has changed at Foursquare, which is simulated in another process. Baseline: "
        "another `import-user --full`, which compares each page, too, and keeps no list. A night "
        "is that of a run: the window, and with a slice a twenty-fifth of the older history.",
        ("check-ins", "what", "time", "of the baseline", "requests"),
        rows,
    )  # fmt: skip


def _rows(running: Running, size: int) -> list[tuple[str, ...]]:
    with _stored(running, size) as history:
        ways: dict[str, Callable[[], Imported | VerificationResult]] = {
            "`import-user --full`": lambda: history.import_(Full()),
            "`verify`": history.verify,
            "a night": lambda: history.night(may_scrub=False),
            "a night with a slice": lambda: history.night(may_scrub=True),
        }
        taken = {name: _median(way) for name, way in ways.items()}
    baseline, _ = taken["`import-user --full`"]
    return [
        (f"{size:,}", name, f"{seconds:.2f} s", times(seconds, baseline), str(requests))
        for name, (seconds, requests) in taken.items()
    ]


def _median(way: Callable[[], Imported | VerificationResult]) -> tuple[float, int]:
    seconds, requests = [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        requests = way().requests
        seconds.append(time.perf_counter() - start)
    return median(seconds), requests


def _now() -> datetime:
    return datetime.now(UTC)
