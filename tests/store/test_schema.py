"""Transactions of the pool find the application's tables wherever they are, and leave no trace."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from checkinsync.errors import SettingsError
from checkinsync.store import schema
from checkinsync.store.pool import Pool, open_pool, transaction
from checkinsync.store.schema import Candidate
from support.pooler import pooled
from support.stories import Story


@pytest.fixture
def moved(db: str, conn: psycopg.Connection) -> Iterator[str]:
    """A database whose tables are in a schema that no search_path leads to."""
    conn.execute("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public")
    return db


def users(pool: Pool) -> int:
    with transaction(pool) as conn:
        row = conn.execute("SELECT count(*) FROM users").fetchone()
    assert row is not None
    return int(row[0])


def candidate(name: str, place: int | None = None, **more: bool) -> Candidate:
    return Candidate(
        name,
        is_table=more.get("is_table", True),
        empty=more.get("empty", False),
        usable=more.get("usable", True),
        place=place,
    )


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([], None),
        ([candidate("app")], "app"),
        ([candidate("app"), candidate("web", 2)], "web"),
        ([candidate("app", 3), candidate("web", 2)], "web"),
        ([candidate("app", 3, empty=True), candidate("web", 2)], "web"),
        ([candidate("app", 3, empty=True), candidate("web", 2, empty=True)], "web"),
        ([candidate("app"), candidate("web", 2, empty=True)], "web"),
        ([candidate("api", 1, is_table=False), candidate("app", 2)], "app"),
        ([candidate("api", 1, is_table=False), candidate("app")], "app"),
        ([candidate("api", 1, is_table=False)], "api"),
        ([candidate("backup", usable=False), candidate("app")], "app"),
    ],
)
def test_the_schema_is_the_first_on_the_path_or_the_only_one(
    candidates: list[Candidate], chosen: str | None
) -> None:
    assert schema.choose(candidates, role="me") == chosen


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ([candidate("one"), candidate("two")], r"several schemas \(one, two\).*ALTER ROLE me"),
        ([candidate("one", 1, empty=True), candidate("two", 2)], "empty in the schema one.* two"),
        ([candidate("one", usable=False)], "GRANT USAGE ON SCHEMA one TO me"),
    ],
)
def test_where_it_is_not_clear_the_operator_has_to_say(
    candidates: list[Candidate], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        schema.choose(candidates, role="me")


def test_a_transaction_finds_the_tables_in_any_schema(moved: str, conn) -> None:
    conn.execute("INSERT INTO app.users (foursquare_user_id, secret_token) VALUES ('a', 'a')")
    pool = open_pool(moved, size=2)

    assert users(pool) == users(pool) == 1
    pool.close()


def test_temporary_tables_of_others_in_the_session_are_not_taken_for_them(moved: str) -> None:
    """Behind a transaction-mode pooler, other clients use the same sessions."""
    with pooled(moved, transactional=True) as url, psycopg.connect(url, autocommit=True) as other:
        other.execute("CREATE TEMPORARY TABLE users (foursquare_user_id text)")
        other.execute("INSERT INTO users VALUES ('theirs')")
        pool = open_pool(url, size=1)

        assert users(pool) == 0
        pool.close()


def test_behind_a_transaction_mode_pooler_each_transaction_finds_them_and_leaves_no_path(
    moved: str,
) -> None:
    with pooled(moved, transactional=True) as url, psycopg.connect(url, autocommit=True) as other:
        before = other.execute("SHOW search_path").fetchone()
        pool = open_pool(url, size=2)

        with transaction(pool) as one, transaction(pool) as two:  # each in a session of its own
            paths = {c.execute("SHOW search_path").fetchone() for c in (one, two)}
            assert paths == {("app, public, pg_temp",)}
        pool.close()

        assert other.execute("SHOW search_path").fetchone() == before


def test_a_pool_that_was_opened_before_the_tables_were_made_finds_them_later(
    empty_url: str,
) -> None:
    pool = open_pool(empty_url, size=1)
    with transaction(pool) as conn:
        conn.execute("CREATE SCHEMA app; CREATE TABLE app.users (foursquare_user_id text)")

    assert users(pool) == 0
    pool.close()


def test_two_that_no_path_leads_to_stop_every_command_with_one_sentence(story: Story) -> None:
    story.conn.execute(
        "ALTER SCHEMA public RENAME TO app; CREATE SCHEMA old;"
        "CREATE TABLE old.users (foursquare_user_id text)"
    )

    for words in (("orchestrate",), ("status",), ("users", "list")):
        done = story.run(*words)

        assert (done.code, done.out) == (78, "")
        assert "several schemas (app, old)" in done.err
        assert len(done.err.splitlines()) == 1 + ("help: docs/runbook.md" in done.err)


def test_a_whole_night_runs_where_no_path_leads_to_the_tables(story: Story) -> None:
    ada, *_ = story.people(30, 20)
    story.conn.execute("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public")

    assert story.run("migrate").code == 0
    assert story.run("migrate", "--check").code == 0
    assert story.run("orchestrate").code == 0

    story.conn.execute("SET search_path = app")
    stored = story.rows("SELECT count(*) FROM checkins WHERE user_id = %s", ada.id)
    assert stored == [(30,)]
    assert story.run("status", "--max-age", "1h").code == 0
    assert story.run("verify", str(ada.id)).code == 0
    assert story.run("doctor").code == 0
    assert story.run("migrate").out == "the schema is up to date\n"


def test_a_locked_users_does_not_keep_it_from_being_found(db: str, conn) -> None:
    pool = open_pool(db, size=1)
    with psycopg.connect(db) as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

        with transaction(pool) as own:
            assert own.execute("SHOW search_path").fetchone() == ("public, pg_temp",)
    pool.close()


def test_triggers_of_the_application_find_an_extension_in_a_schema_of_its_own(
    db: str, conn: psycopg.Connection
) -> None:
    """As with PostGIS in `extensions`, where only the application's role has it in its path."""
    conn.execute("CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions")
    conn.execute("SET search_path = public, extensions")
    conn.execute(
        """
        CREATE FUNCTION to_lower() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE name citext := NEW.display_name;
        BEGIN NEW.display_name := lower(name); RETURN NEW; END $$;
        CREATE TRIGGER to_lower BEFORE INSERT ON users
            FOR EACH ROW EXECUTE FUNCTION to_lower();
        """
    )
    pool = open_pool(db, size=1)

    with transaction(pool) as own:
        own.execute(
            """
            INSERT INTO users (foursquare_user_id, display_name, secret_token)
            VALUES ('1', 'ADA', '1')
            """
        )
    pool.close()

    assert conn.execute("SELECT display_name FROM users").fetchone() == ("ada",)
