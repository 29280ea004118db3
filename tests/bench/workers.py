"""The nightly run by workers against that of one process: `python -m bench.workers [USERS]`.

A first night, in which each user has ten check-ins, and a second one without anything new; each
answer of Foursquare takes a fifth of a second, or none. Prints the table of docs/scale.md.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from checkinsync.embedded import serving
from checkinsync.migrations import migrate
from checkinsync.simulator.faults import Fault
from checkinsync.workers import schema
from support.stories import Story, telling

USERS = 300
LATENCIES = (0.2, 0.0)
WORKERS = (0, 1, 2, 4)
"""0: in one process."""
CONCURRENCY = 4


def sessions(url: str, name: str) -> int:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(
            "SELECT sessions FROM pg_stat_database WHERE datname = %s", [name]
        ).fetchone()[0]


def night(story: Story, workers: int) -> float:
    """Return the seconds of a run, from its row; the processes' own start is not of it."""
    if workers:
        done = story.run("orchestrate", "--engine", "procrastinate", "--wait")
    else:
        done = story.run("orchestrate", "--workers", str(CONCURRENCY))
    assert done.code == 0, done
    [(seconds,)] = story.rows(
        """
        SELECT extract(epoch FROM finished_at - started_at)::float8
          FROM sync_runs ORDER BY id DESC LIMIT 1
        """
    )
    return seconds


def measure(postgres, number: int, users: int, latency: float, workers: int) -> list[float]:
    name = f"bench_{number}"
    with psycopg.connect(postgres.url_for("postgres"), autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
    url = postgres.url_for(name)
    migrate.up(url)
    schema.up(url, sleep=time.sleep)
    with tempfile.TemporaryDirectory() as folder, telling(Path(folder), url) as story:
        for each in range(users):
            story.person(f"Person {each}", 10)
        if latency:
            story.simulator.faults.add(Fault("slow", seconds=latency, times=None))
        crew = [story.start("worker", "--concurrency", str(CONCURRENCY)) for _ in range(workers)]
        time.sleep(3 if workers else 0)
        before = sessions(postgres.url_for("postgres"), name)
        took = [night(story, workers) for _ in range(2)]
        opened = sessions(postgres.url_for("postgres"), name) - before
        for worker in crew:
            worker.signal(signal.SIGTERM)
            assert worker.ended().code == 0
        assert story.rows("SELECT count(*) FROM checkins") == [(users * 10,)]
        print(f"  {latency=} {workers=} {took=} sessions opened in both nights: {opened}")
    return took


def main() -> None:
    users = int(sys.argv[1]) if sys.argv[1:] else USERS
    number = 0
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o711)
        with serving(Path(home), allow_nobody=True) as postgres:
            for latency in LATENCIES:
                base: list[float] = []
                for workers in WORKERS:
                    number += 1
                    took = measure(postgres, number, users, latency, workers)
                    base = base or took
                    who = f"{workers} workers" if workers else "one process"
                    cells = " | ".join(
                        f"{users / mine:.1f} ({one / mine:.2f})"
                        for one, mine in zip(base, took, strict=True)
                    )
                    print(f"| {latency} s | {who} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
