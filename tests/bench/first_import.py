"""A first import of a long history; the simulated Foursquare runs in a process of its own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import requests

from bench.measure import Table, times
from bench.places import PAGE, TESTS, database, foursquare
from bench.simulated import TOKEN
from checkinsync.embedded import Running
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys.keyring import Keyring
from checkinsync.model.user import Profile
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import open_pool
from checkinsync.sync.import_user import import_user
from checkinsync.sync.scope import Full
from checkinsync.sync.session import Services
from checkinsync.users import accounts

SIZES = (10_000, 70_000)
ROUNDS = 3

Figures = dict[str, float]


def history(running: Running) -> Table:
    """Measure check-ins per second, memory and requests, each in a process of its own."""
    rows = [row for size in SIZES for row in _rows(running, size)]
    return Table(
        "A first import",
        "The whole program but its command line, against a simulated Foursquare in another "
        "process, into an empty database. Baselines: for time, the same pages fetched one after "
        "the other by `requests` and thrown away; for requests, ⌈n / 250⌉, the fewest that could "
        "show n check-ins. Memory is by how much the process's peak (`VmHWM`) grew meanwhile.",
        ("check-ins", "per second", "time, of fetching alone", "requests", "of the fewest",
         "memory"),
        rows,
    )  # fmt: skip


def _rows(running: Running, size: int) -> list[tuple[str, ...]]:
    fetched, imported = [], []
    with foursquare(size) as address:
        for _ in range(ROUNDS):
            fetched.append(_apart("fetch", address))
            imported.append(_apart("import", address, database(running)))
    assert all(each["checkins"] == size for each in [*fetched, *imported])
    seconds = median(each["seconds"] for each in imported)
    alone = median(each["seconds"] for each in fetched)
    asked, fewest = imported[0]["requests"], math.ceil(size / PAGE)
    memory = median(each["memory"] for each in imported)
    return [
        (f"{size:,}", f"{size / seconds:,.0f}", times(seconds, alone), f"{asked:.0f}",
         f"{asked / fewest:.2f}", f"{memory / 1024:.0f} MiB"),
    ]  # fmt: skip


def _apart(*arguments: str) -> Figures:
    """Import in a process of its own, so that the peak of memory is that of the import."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.first_import", *arguments],
        check=True, stdout=subprocess.PIPE, text=True, cwd=TESTS,
    )  # fmt: skip
    figures: Figures = json.loads(done.stdout)
    return figures


def _import(address: str, url: str) -> Figures:
    pool, keyring = open_pool(url, size=2), Keyring(["00" * 32])
    lease_renewer = LeaseRenewer(pool)
    service = Foursquare(api_url=address, token_in="auto", sleep=time.sleep, now=_now)
    added = accounts.add(
        Profile("1", "somebody", None), TOKEN, pool=pool, keyring=keyring, now=_now()
    )
    user = accounts.find(str(added.id), pool=pool)
    before, start = _peak(), time.perf_counter()
    imported = import_user(
        user,
        services=Services(pool, service, keyring, lease_renewer, _now),
        scope=Full(),
    )
    seconds = time.perf_counter() - start
    figures = {
        "seconds": seconds,
        "memory": _peak() - before,
        "requests": imported.requests,
        "checkins": imported.saved.new,
    }
    lease_renewer.close()
    pool.close()
    service.close()
    return figures


def _fetch(address: str) -> Figures:
    found, start = 0, time.perf_counter()
    with requests.Session() as session:
        session.headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "checkinsync-bench"}
        for number in count():
            query: dict[str, str | int] = {"v": "20240601", "limit": PAGE, "offset": number * PAGE}
            answer = session.get(f"{address}/users/self/checkins", params=query, timeout=30)
            items = answer.content.count(b'"checkinShortUrl"')
            if not items:
                break
            found += items
    return {"seconds": time.perf_counter() - start, "checkins": found}


def _now() -> datetime:
    return datetime.now(UTC)


def _peak() -> int:
    """Return this process's peak of memory in KiB; `ru_maxrss` would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    work = {"fetch": _fetch, "import": _import}[sys.argv[1]]
    print(json.dumps(work(*sys.argv[2:])))
