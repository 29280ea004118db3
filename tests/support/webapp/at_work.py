"""The application's readers and writers, each in a thread, and how long they waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

READS = """
SELECT (SELECT count(*) FROM users), (SELECT max(id) FROM import_jobs),
       (SELECT max(checkin_date) FROM checkins WHERE user_id = 1),
       (SELECT max(id) FROM checkin_photos)
"""

WRITES = (
    """
    INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
    VALUES (1, 'beside', 'Beside us', clock_timestamp() AT TIME ZONE 'UTC') ON CONFLICT DO NOTHING
    """,
    "INSERT INTO import_jobs (user_id, status) VALUES (1, 'completed')",
    "UPDATE users SET avatar_url = 'https://example.org/1' WHERE id = 1",
)


@dataclass
class Waits:
    """The waits of a thread that repeats statements."""

    statements: tuple[str, ...]
    longest: float = 0.0
    """Seconds of the longest statement."""
    rounds: int = 0
    errors: list[str] = field(default_factory=list)

    def repeat(self, url: str, ended: threading.Event) -> None:
        """Repeat the statements until ended, each in its own transaction."""
        with psycopg.connect(url, autocommit=True) as conn:
            while not ended.is_set():
                for statement in self.statements:
                    before = time.perf_counter()
                    try:
                        conn.execute(statement)
                    except psycopg.Error as error:
                        self.errors.append(str(error))
                    self.longest = max(self.longest, time.perf_counter() - before)
                self.rounds += 1
                time.sleep(0.005)  # a click, not a flood


@contextmanager
def at_work(url: str) -> Iterator[dict[str, Waits]]:
    """Run a reader and a writer from their first round on; yield their waits."""
    ended = threading.Event()
    everyone = {"reader": Waits((READS,)), "writer": Waits(WRITES)}
    threads = [threading.Thread(target=one.repeat, args=(url, ended)) for one in everyone.values()]
    for thread in threads:
        thread.start()
    while not all(one.rounds for one in everyone.values()):
        time.sleep(0.01)
    for one in everyone.values():
        one.longest = 0.0
    try:
        yield everyone
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def a_long_transaction(url: str, statement: str, *, seconds: float) -> Iterator[None]:
    """Keep a transaction open after a statement: a report, a backup, a large import."""
    begun = threading.Event()

    def hold() -> None:
        with psycopg.connect(url) as conn:
            conn.execute(statement)
            begun.set()
            conn.execute("SELECT pg_sleep(%s)", [seconds])

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        thread.join()
