"""The application's Sync button, its worker and its progress page, in a loop beside our imports.

Each connection commits each statement, as the application's do: check, then insert; a row at a
time; `last_sync_at` set to the end of the import. Those are its defects, and ours to live with.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from support.stories import Person, Story
from support.webapp import importing

Look = tuple[str, int | None, int | None, int | None]
"""What the progress page shows of a job: status, imported, expected, batch."""


@dataclass
class Application:
    """Everybody at work, and what they saw."""

    story: Story
    people: list[Person]
    ended: threading.Event = field(default_factory=threading.Event)
    syncs: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Finished ones, by user."""
    looks: dict[int, list[Look]] = field(default_factory=lambda: defaultdict(list))
    """What the page showed of each job, one after the other, each once."""
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A Sync button for each person, a progress page, and people who go on checking in."""
        work = [(self._press, person) for person in self.people]
        threads = [
            threading.Thread(target=self._repeat, args=each)
            for each in [*work, (self._watch,), (self._check_in,)]
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()

    def _repeat(self, do: Any, *given: Person) -> None:
        with psycopg.connect(self.story.url, autocommit=True) as conn:
            while not self.ended.is_set():
                try:
                    do(conn, *given)
                except psycopg.Error as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                time.sleep(0.03)

    def _press(self, conn: psycopg.Connection[Any], person: Person) -> None:
        """The Sync button, and the worker behind it."""
        busy = conn.execute(
            """
            SELECT FROM import_jobs WHERE user_id = %s AND status IN ('pending', 'running')
            """,
            [person.id],
        ).fetchone()
        if busy is not None:
            return
        old_row = self.syncs[person.id] % 3 == 2
        [job] = conn.execute(
            """
            INSERT INTO import_jobs (user_id, status, data_source) VALUES (%s, 'pending', %s)
            RETURNING id
            """,
            [person.id, None if old_row else "foursquare"],
        ).fetchone()
        conn.execute(
            """
            UPDATE import_jobs SET status = 'running', started_at = now() AT TIME ZONE 'UTC'
             WHERE id = %s
            """,
            [job],
        )
        self._import(conn, person, job)
        conn.execute(
            """
            UPDATE import_jobs SET status = 'completed', completed_at = now() AT TIME ZONE 'UTC'
             WHERE id = %s
            """,
            [job],
        )
        self.syncs[person.id] += 1

    def _import(self, conn: psycopg.Connection[Any], person: Person, job: int) -> None:
        [since] = conn.execute(
            "SELECT last_sync_at FROM users WHERE id = %s", [person.id]
        ).fetchone()
        with self.story.simulator.lock:
            everything = self.story.simulator.world.accounts[person.token].items
        items = [i for i in everything if since is None or importing.moment(i) > since]
        for number, item in enumerate(items, start=1):
            conn.execute(importing.INSERT, importing.row(person.id, item))
            for photo in importing.photos(person.id, item):
                conn.execute(importing.PHOTO, photo)
            conn.execute(
                """
                UPDATE import_jobs SET total_expected = %s, total_imported = %s, current_batch = 1
                 WHERE id = %s
                """,
                [len(items), number, job],
            )
        conn.execute(
            "UPDATE users SET last_sync_at = now() AT TIME ZONE 'UTC' WHERE id = %s", [person.id]
        )

    def _watch(self, conn: psycopg.Connection[Any]) -> None:
        """The progress page of everybody."""
        rows = conn.execute(
            "SELECT id, status, total_imported, total_expected, current_batch FROM import_jobs"
        )
        for job, *shown in rows:
            if self.looks[job][-1:] != [tuple(shown)]:
                self.looks[job].append(tuple(shown))

    def _check_in(self, conn: psycopg.Connection[Any]) -> None:
        """Somebody checks in, at a second of their own."""
        del conn
        now = int(datetime.now(UTC).timestamp())
        with self.story.simulator.lock:
            world = self.story.simulator.world
            for person in self.people:
                if world.accounts[person.token].newest_first()[0].created_at < now:
                    world.add(person.token, created_at=now)
