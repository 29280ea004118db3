"""A user with a login token, and when they were last seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from support.factories import NOW

TOKEN = "0123456789abcdef" * 4
LONG_AGO = NOW - timedelta(days=40)


def in_column(instant: datetime) -> datetime:
    """Return the time as the application's columns hold it: UTC, without a zone."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def seen(conn: psycopg.Connection) -> datetime | None:
    """Return when Ada was last seen, as the column holds it."""
    [last] = conn.execute("SELECT last_login_at FROM users WHERE secret_token = %s", [TOKEN])
    return last[0]


@pytest.fixture
def ada(conn: psycopg.Connection) -> int:
    """A user who was last seen long ago."""
    row = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, avatar_url, access_token_encrypted,
                           secret_token, last_login_at)
        VALUES ('f1', 'Ada', 'https://example.org/ada.png', 'encrypted', %s, %s) RETURNING id
        """,
        [TOKEN, in_column(LONG_AGO)],
    ).fetchone()
    return row[0]
