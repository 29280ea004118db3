"""`migrate --plan`: prints what is there, what is pending and who waits; writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from checkinsync.cli.render import migrate as render
from checkinsync.config.settings import Settings
from checkinsync.migrations import migrate
from checkinsync.resources import available_keyring, open_keyring
from support.stories import KEY, WRONG_KEY, Story
from support.webapp import database
from support.webapp.database import WebApp

BARE = WebApp(unique_checkins=False, photos=False, data_source=False, timezone=False)


@pytest.fixture
def before(story: Story, empty_url: str) -> Story:
    """An operator whose database has the application's tables only."""
    story.environ |= {"CHECKINSYNC_DATABASE_URL": empty_url}
    return story


def told(url: str, **more: object) -> str:
    """The comment above the SQL."""
    return render.plan(migrate.plan(url, **more)).split("\n\n")[0]


def everything(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        tables = [row[0] for row in conn.execute(database.ITS_TABLES)]
        return [
            line for table in tables for (line,) in conn.execute(f"SELECT t::text FROM {table} t")
        ]


def test_on_an_empty_database_it_is_short(empty_url: str) -> None:
    lines = told(empty_url).splitlines()

    assert lines[0] == "-- an empty database: everything goes into the schema public"
    assert len(lines) == 4 + len(migrate.plan(empty_url).steps)
    assert "wait" not in told(empty_url)


def test_what_it_prints_is_sql_that_brings_the_schema(empty_url: str) -> None:
    text = render.plan(migrate.plan(empty_url))
    alone = {
        step.file.text.rstrip()
        for step in migrate.plan(empty_url).steps
        if step.file.no_transaction
    }
    for sql in alone:
        assert sql in text
        text = text.replace(sql, "")

    with psycopg.connect(empty_url) as conn:
        conn.execute(text.encode())

    with psycopg.connect(empty_url) as conn:
        assert conn.execute("SELECT count(*) FROM sync_status(now(), 30)").fetchone() == (0,)


def test_what_is_absent_is_named(empty_url: str) -> None:
    database.build(empty_url, BARE)

    found = migrate.plan(empty_url).found

    assert found.absent == (
        "checkin_photos", "users.last_login_at", "import_jobs.data_source",
        "import_jobs.sync_cursor", "import_jobs.retry_after", "checkins.timezone",
        "checkins_user_venue_date_unique",
    )  # fmt: skip
    assert "is left to the application" in told(empty_url)


def test_old_troubles_are_counted_by_user(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    with psycopg.connect(empty_url) as conn:
        conn.execute(
            """
            INSERT INTO import_jobs (user_id, status, data_source, created_at)
            VALUES (1, 'running', 'strava', '2025-01-01'), (1, 'failed', NULL, '2025-01-01'),
                   (3, 'running', NULL, now() AT TIME ZONE 'UTC' - interval '59 minutes'),
                   (3, 'pending', 'foursquare', now() AT TIME ZONE 'UTC' - interval '61 minutes')
            """
        )

    found = migrate.plan(empty_url).found

    assert found.stale_jobs == {1: 1, 3: 1}
    assert found.double_checkins == {2: 1}
    assert found.double_photos == {1: 1}
    assert [(t.name, t.rows) for t in found.tables] == [
        ("checkin_photos", 2), ("checkins", 52), ("import_jobs", 7), ("users", 3),
    ]  # fmt: skip
    assert all(table.size >= 8192 for table in found.tables)
    assert "check-ins stored more than once (user, venue, second): 1, of user 2 (1)" in told(
        empty_url
    )


def test_a_trigger_that_fires_for_our_rows_is_told_of(empty_url: str) -> None:
    database.build(empty_url, WebApp(location=True))

    assert "location: text; triggers on checkins: update_checkins_location" in told(empty_url)


def test_whether_a_key_opens_the_tokens_is_told_by_user_or_that_there_was_none(
    empty_url: str,
) -> None:
    database.build(empty_url, WebApp())

    assert "stored tokens: 2, not tried" in told(empty_url)
    assert "that no key decrypts: 2, of user 1, 3" in told(empty_url, can_decrypt=lambda _: False)
    assert "that no key decrypts: 0" in told(empty_url, can_decrypt=lambda _: True)


def test_who_waits_for_what_is_told_before_the_sql(empty_url: str) -> None:
    database.build(empty_url, WebApp())

    lines = [line.removeprefix("-- ") for line in told(empty_url).splitlines()]

    third = lines.index("003_add_checkins_foursquare_id.sql: an instant")
    assert lines[third + 1].strip() == (
        "locks checkins, checkin_photos (ACCESS EXCLUSIVE): readers and writers wait"
    )
    eighth = lines.index("008_add_indexes.sql: one statement at a time, an instant")
    assert lines[eighth + 1].strip() == (
        "locks checkins, checkin_photos, import_jobs (SHARE UPDATE EXCLUSIVE): no query waits"
    )


def test_two_check_ins_of_one_venue_and_second_with_ids_are_two(empty_url: str) -> None:
    database.build(empty_url, WebApp(unique_checkins=False))
    migrate.up(empty_url)
    with psycopg.connect(empty_url) as conn:
        conn.execute("DELETE FROM checkins")
        conn.execute(
            """
            INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date, foursquare_id)
            VALUES (1, 'v', 'v', '2025-01-01 10:00:00', 'a'),
                   (1, 'v', 'v', '2025-01-01 10:00:00.000001', 'b'),
                   (2, 'v', 'v', '2025-01-01 10:00:00', 'c'),
                   (2, 'v', 'v', '2025-01-01 10:00:00', NULL)
            """
        )

    plan = migrate.plan(empty_url)

    assert plan.found.double_checkins == {2: 1}
    assert plan.steps == ()
    assert told(empty_url).endswith("-- nothing is pending")


def test_tables_of_our_names_that_are_something_else_are_told_of(empty_url: str) -> None:
    with psycopg.connect(empty_url) as conn:
        conn.execute("CREATE TABLE users (nick text); CREATE TABLE checkins (id int)")

    assert "users is not the application's: it lacks" in told(empty_url)
    assert "checkins is not the application's: it lacks" in told(empty_url)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_writes_nothing_and_tells_tokens_by_the_key_at_hand(before: Story) -> None:
    url = before.environ["CHECKINSYNC_DATABASE_URL"]
    database.build(url, WebApp())
    with psycopg.connect(url) as conn:
        conn.execute(
            "UPDATE users SET access_token_encrypted = %s WHERE id = 1",
            [before.keyring.encrypt("x")],
        )
    was = everything(url)

    fine = before.run("migrate", "--plan", encryption_key=KEY)
    wrong = before.run("migrate", "--plan", encryption_key=WRONG_KEY)

    assert (fine.code, fine.err) == (0, "")
    assert "that no key decrypts: 1, of user 3" in fine.out
    assert "that no key decrypts: 2, of user 1, 3" in wrong.out
    assert everything(url) == was


def test_the_command_does_without_a_key(before: Story) -> None:
    before.environ.pop("CHECKINSYNC_ENCRYPTION_KEY", None)
    before.environ.pop("ENCRYPTION_KEY", None)
    database.build(before.environ["CHECKINSYNC_DATABASE_URL"], WebApp())

    plan = before.run("migrate", "--plan")

    assert (plan.code, plan.err) == (0, "")
    assert "not tried: CHECKINSYNC_ENCRYPTION_KEY is not set" in plan.out


def test_as_json_programs_get_the_same(before: Story) -> None:
    database.build(before.environ["CHECKINSYNC_DATABASE_URL"], WebApp(photos=False))

    plan = json.loads(before.run("migrate", "--plan", "--json").out)

    assert plan["found"]["absent"] == ["checkin_photos", "users.last_login_at"]
    assert plan["found"]["stale_jobs"] == [{"user_id": 1, "rows": 1}]
    assert plan["found"]["tokens"] == {"stored": 2, "unopened": [1, 3]}
    third = plan["pending"][2]
    assert third["name"].startswith("003_")
    assert third["locks"] == [
        {
            "table": "checkins",
            "mode": "ACCESS EXCLUSIVE",
            "waits": "readers and writers",
        }
    ]
    assert third["sql"] == (Path(migrate.files.directory()) / third["name"]).read_text()
    assert before.run("migrate", "--json").code == 2


def test_the_embedded_database_gets_no_key_from_being_looked_at(tmp_path: Path) -> None:
    given = Settings.from_mapping({"CHECKINSYNC_HOME": str(tmp_path)})
    own = replace(given, may_make_database=True)

    assert available_keyring(own) is None
    assert list(tmp_path.iterdir()) == []

    encrypted = open_keyring(own).encrypt("x")
    later = available_keyring(own)
    assert later is not None
    assert later.decrypt(encrypted) == "x"
