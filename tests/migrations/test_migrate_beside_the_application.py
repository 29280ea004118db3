"""Migrating while the application works: no query waits for a second, whatever is locked."""

from __future__ import annotations

import logging

import pytest

from checkinsync.migrations import migrate
from support.webapp import database
from support.webapp.at_work import a_long_transaction, at_work
from support.webapp.database import WebApp

GENEROUS = 2.5
"""Seconds; a quarter of one was measured, and this machine may have other work."""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM checkins LIMIT 1",
        "INSERT INTO checkins (user_id, venue_name, checkin_date) VALUES (2, 'one', now())",
        "UPDATE users SET display_name = 'somebody' WHERE id = 2",
    ],
    ids=["a report", "a bulk insert", "an open session"],
)
def test_behind_a_long_transaction_readers_and_writers_go_on(
    empty_url: str, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    database.build(empty_url, WebApp())
    database.fill(empty_url, users=5, checkins=1000, photos=200, jobs=300)

    with at_work(empty_url) as waits, a_long_transaction(empty_url, statement, seconds=4):
        migrate.up(empty_url)

    assert {who: one.errors for who, one in waits.items()} == {"reader": [], "writer": []}
    assert max(one.longest for one in waits.values()) < GENEROUS
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "001_application_tables.sql: " in told[0]
    assert "is in use by others: client backend (process " in told[0]
