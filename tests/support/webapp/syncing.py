"""The application's Sync button, its worker and its progress page, in a loop beside our imports.

Each connection commits each statement, as the application's do: check, then insert; a row at a
time; `last_sync_at` set to the end of the import. We have to cope with these defects.
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
"""A job as the progress page shows it: status, imported, expected, batch."""


@dataclass
class Application:
    """The application's threads, and what they saw."""

    story: Story
    people: list[Person]
    ended: threading.Event = field(default_factory=threading.Event)
    syncs: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Finished imports, by user."""
    looks: dict[int, list[Look]] = field(default_factory=lambda: defaultdict(list))
    """Different states of each job that the page showed, in order."""
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Run a Sync button for each person, a progress page, and new check-ins."""
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
        """Press the Sync button, and do its worker's work."""
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
        """Poll the progress page of all users."""
        rows = conn.execute(
            "SELECT id, status, total_imported, total_expected, current_batch FROM import_jobs"
        )
        for job, *shown in rows:
            if self.looks[job][-1:] != [tuple(shown)]:
                self.looks[job].append(tuple(shown))

    def _check_in(self, conn: psycopg.Connection[Any]) -> None:
        """Add a check-in in a second of its own."""
        del conn
        now = int(datetime.now(UTC).timestamp())
        with self.story.simulator.lock:
            world = self.story.simulator.world
            for person in self.people:
                if world.accounts[person.token].newest_first()[0].created_at < now:
                    world.add(person.token, created_at=now)
