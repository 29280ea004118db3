"""Parts of the house, put together for tests: the pool, the keeper, a clock that is handed in."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest

from checkinsync.orchestrate import Ended, Inbox
from checkinsync.store.keeper import Keeper
from checkinsync.store.pool import Pool, open_pool
from making import NOW


class HandedClock:
    """A clock that goes on only when a run waits and nothing is at work."""

    def __init__(self, start: datetime = NOW) -> None:
        self.at = start

    def now(self) -> datetime:
        return self.at

    def wait(self, inbox: Inbox, *, until: datetime | None, running: int) -> Ended | None:
        try:
            return inbox.get(timeout=60) if running else inbox.get_nowait()
        except queue.Empty:
            assert until is not None, "the run waits for nothing"
            self.at = max(self.at, until)
            return None

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
def keeper(pool: Pool) -> Iterator[Keeper]:
    keeper = Keeper(pool)
    yield keeper
    keeper.close()


def add_users(conn: psycopg.Connection, count: int, *, at: datetime = NOW) -> list[int]:
    """Active users with tokens that look sealed; returns their ids."""
    rows = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token,
                           last_login_at)
        SELECT 'f' || n, 'user ' || n, 'sealed ' || n, 's' || n, %(at)s::timestamptz AT TIME ZONE 'UTC'
          FROM generate_series(1, %(count)s) AS n
        RETURNING id
        """,
        {"count": count, "at": at},
    )
    return [row[0] for row in rows]
