"""Migrating the application's own database: its rows stay and it goes on working."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from checkinsync.errors import MigrationRefused
from checkinsync.migrations import migrate
from support.webapp import database
from support.webapp.database import VARIANTS, WebApp

COLUMNS_OF_ITS_OWN = {
    "users": "id, foursquare_user_id, display_name, avatar_url, access_token_encrypted, "
    "secret_token, last_sync_at, created_at, updated_at",
    "import_jobs": "id, user_id, status, total_expected, total_imported, current_batch, "
    "error_message, started_at, completed_at, created_at",
    "checkins": "id, user_id, venue_id, venue_name, venue_category, latitude, longitude, "
    "checkin_date, city, country, created_at",
    "migrations": "id, name, run_on",
    "schema_migrations": "version, name, applied_at",
}


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(url) as conn:
        return {
            table: conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
            for table, columns in COLUMNS_OF_ITS_OWN.items()
        }


def ask(url: str, query: str, *arguments: object) -> Any:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(query, arguments or None)
        found = cursor.fetchone() if cursor.description else None
    return found[0] if found else None


@pytest.fixture(params=[None, "Asia/Tokyo", "America/St_Johns"])
def its_url(empty_url: str, request: pytest.FixtureRequest) -> str:
    """An empty database whose sessions begin in this time zone."""
    if request.param is not None:
        with psycopg.connect(empty_url, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(f"ALTER DATABASE {name} SET timezone = '{request.param}'")
    return empty_url


@pytest.mark.parametrize("app", VARIANTS, ids=str)
def test_every_variant_is_migrated_once_and_its_rows_stay(its_url: str, app: WebApp) -> None:
    database.build(its_url, app)
    before = rows(its_url)

    first, second = migrate.up(its_url), migrate.up(its_url)

    assert first
    assert second == []
    after = rows(its_url)
    if app.last_login_at:  # those who were never seen are set, and the application's trigger fires
        before["users"], after["users"] = (
            [row[:-1] for row in r["users"]] for r in (before, after)
        )
    assert after == before
    assert ask(its_url, "SELECT count(foursquare_id) + count(visibility) FROM checkins") == 0


@pytest.mark.parametrize("app", [None, *VARIANTS], ids=str)
def test_whoever_is_there_or_newly_connected_is_active_in_any_time_zone(
    its_url: str, app: WebApp | None
) -> None:
    if app is not None:
        database.build(its_url, app)
    migrate.up(its_url)

    ask(
        its_url,
        """
        INSERT INTO users (foursquare_user_id, secret_token) VALUES ('new', repeat('f', 64))
        RETURNING id
        """,
    )

    seen = ask(its_url, "SELECT last_login_at FROM users WHERE foursquare_user_id = 'new'")
    assert abs(datetime.now(UTC).replace(tzinfo=None) - seen) < timedelta(minutes=1)
    now = datetime.now(UTC)
    active = ask(its_url, "SELECT count(*) FROM active_users(%s, 1)", now + timedelta(seconds=5))
    kept_out = 1 if app is not None and app.last_login_at else 0
    assert active == (1 if app is None else 4) - kept_out


def test_a_login_that_the_application_recorded_is_kept(empty_url: str) -> None:
    database.build(empty_url, WebApp(last_login_at=True))

    migrate.up(empty_url)

    assert ask(empty_url, "SELECT last_login_at FROM users WHERE id = 1") == datetime(
        2026, 1, 5, 10
    )


@pytest.mark.parametrize("app", VARIANTS, ids=str)
def test_the_application_goes_on_inserting_as_it_always_did(empty_url: str, app: WebApp) -> None:
    database.build(empty_url, app)
    migrate.up(empty_url)

    insert = """
        INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
        VALUES (1, 'v1', 'Venue 1', '2023-01-01 17:00') ON CONFLICT DO NOTHING RETURNING id
        """
    photo = """
        INSERT INTO checkin_photos (checkin_id, photo_url) VALUES (1, 'https://example.org/1.jpg')
        RETURNING id
        """

    assert (ask(empty_url, insert) is None) == app.unique_checkins
    assert ask(empty_url, photo) is not None
    assert ask(empty_url, photo) is not None
    assert ask(empty_url, "INSERT INTO import_jobs (user_id) VALUES (3) RETURNING status")


def test_updated_at_follows_by_one_trigger_on_both_databases(
    empty_url: str, databases: Any
) -> None:
    database.build(empty_url, WebApp())
    with databases.lent("template0") as other:
        for url in (empty_url, other):
            migrate.up(url)
            triggers = ask(
                url,
                """
                SELECT count(*) FROM pg_trigger
                 WHERE tgrelid = 'users'::regclass AND NOT tgisinternal
                """,
            )
            assert triggers == 1


def test_its_half_finished_twin_constraint_is_left_to_the_application(empty_url: str) -> None:
    database.build(empty_url, WebApp(unique_checkins=False))

    migrate.up(empty_url)

    constraint = "SELECT 1 FROM pg_constraint WHERE conname = 'checkins_user_venue_date_unique'"
    assert ask(empty_url, constraint) is None


def test_an_index_of_the_application_is_kept_whatever_its_name(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, "CREATE INDEX checkins_user_date ON checkins (city)")

    migrate.up(empty_url)

    kept = "SELECT indexdef FROM pg_indexes WHERE indexname = 'checkins_user_date'"
    assert ask(empty_url, kept).endswith("(city)")


def test_a_database_that_is_something_else_is_refused_with_what_its_table_lacks(
    empty_url: str,
) -> None:
    ask(empty_url, "CREATE TABLE users (nick text)")

    with pytest.raises(MigrationRefused, match=r"public\.users is not.*lacks id, foursquare_user"):
        migrate.up(empty_url)
