"""Everything of ours goes into the schema of the application's `users`, whatever search_path is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from checkinsync.cli.render import migrate as render
from checkinsync.errors import MigrationRefused
from checkinsync.migrations import files, migrate
from support.webapp import database
from support.webapp.database import WebApp

OURS = {
    "checkinsync_migrations", "import_leases", "sync_runs", "sync_state", "quarantined_checkins",
    "checkin_revisions", "verified_spans", "verifications", "verification_items",
}  # fmt: skip


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(query)
        return [row[0] for row in cursor] if cursor.description else []


def tables(url: str, schema: str) -> set[str]:
    return set(ask(url, f"SELECT tablename::text FROM pg_tables WHERE schemaname = '{schema}'"))


def under(url: str, search_path: str) -> str:
    """The same database, as a role with this search_path sees it."""
    escaped = search_path.replace(" ", "").replace('"', "%22").replace("$", "%24")
    return f"{url}&options=-csearch_path%3D{escaped}"


def set_path(url: str, search_path: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET search_path = {search_path}")


@contextmanager
def role(url: str, name: str, *rights: str) -> Iterator[str]:
    """A role without rights but these; returns the address for it."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"DROP ROLE IF EXISTS {name}; CREATE ROLE {name}")
        for right in rights:
            conn.execute(f"{right} TO {name}")
        yield f"{url}&options=-crole%3D{name}"
        conn.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_schema_named_after_the_role_is_left_empty(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    [me] = ask(empty_url, "SELECT current_user::text")
    ask(empty_url, f"CREATE SCHEMA {me}")

    migrate.up(empty_url)

    assert tables(empty_url, me) == set()
    assert tables(empty_url, "public") >= OURS
    assert ask(empty_url, "SELECT count(*) FROM users") == [3]
    assert migrate.up(empty_url) == []
    migrate.check(empty_url)


@pytest.mark.parametrize("search_path", ["extensions, public", "public", "extensions", '"$user"'])
def test_the_path_of_the_database_makes_no_difference(empty_url: str, search_path: str) -> None:
    ask(empty_url, "CREATE SCHEMA extensions; CREATE SCHEMA app")
    database.build(under(empty_url, "app"), WebApp())
    set_path(empty_url, search_path)

    migrate.up(empty_url)

    assert tables(empty_url, "app") >= OURS
    assert tables(empty_url, "extensions") == tables(empty_url, "public") == set()
    assert ask(under(empty_url, "app"), "SELECT count(*) FROM sync_status(now(), 30)") == [3]


def test_triggers_that_need_the_schema_of_an_extension_fire_meanwhile(empty_url: str) -> None:
    ask(empty_url, "CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions")
    database.build(empty_url, WebApp())
    ask(
        under(empty_url, "public,extensions"),
        """
        CREATE FUNCTION lower_name() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE name citext := NEW.display_name;
        BEGIN NEW.display_name := lower(name); RETURN NEW; END $$;
        CREATE TRIGGER lower_name BEFORE UPDATE ON users
            FOR EACH ROW EXECUTE FUNCTION lower_name();
        ALTER TABLE users ADD COLUMN last_login_at TIMESTAMP;  -- 002 fills it: the trigger fires
        """,
    )

    migrate.up(empty_url)

    assert ask(empty_url, "SELECT count(last_login_at) FROM users") == [3]


def test_a_users_without_the_applications_column_is_passed_over(empty_url: str) -> None:
    ask(empty_url, "CREATE SCHEMA other; CREATE TABLE other.users (id int, nick text)")
    database.build(empty_url, WebApp())
    set_path(empty_url, "other, public")

    migrate.up(empty_url)

    assert tables(empty_url, "other") == {"users"}
    assert tables(empty_url, "public") >= OURS


def test_a_view_of_users_is_passed_over_where_the_table_is_elsewhere(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, "CREATE SCHEMA api; CREATE VIEW api.users AS SELECT * FROM public.users")
    set_path(empty_url, "api, public")

    migrate.up(empty_url)

    assert tables(empty_url, "public") >= OURS


def test_of_several_the_first_on_the_path_is_the_applications(empty_url: str) -> None:
    for schema in ("old", "app"):
        ask(empty_url, f"CREATE SCHEMA {schema}")
        database.build(under(empty_url, schema), WebApp())
    set_path(empty_url, "app, old")

    migrate.up(empty_url)

    assert tables(empty_url, "app") >= OURS
    assert tables(empty_url, "old").isdisjoint(OURS)


def test_an_empty_users_before_one_with_rows_is_refused_with_both_schemas(empty_url: str) -> None:
    """Such as an earlier version of this program made, before the application's own."""
    database.build(empty_url, WebApp())
    ask(empty_url, "CREATE SCHEMA early")
    migrate.up(empty_url)
    ask(empty_url, "CREATE TABLE early.users (LIKE public.users)")
    set_path(empty_url, "early, public")

    for refused in (migrate.up, migrate.plan, migrate.check, migrate.status):
        with pytest.raises(MigrationRefused, match=r"empty in the schema early.*rows in public"):
            refused(empty_url)


def test_several_that_no_path_leads_to_are_refused_by_name(empty_url: str) -> None:
    for schema in ("one", "two"):
        ask(
            empty_url,
            f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.users (foursquare_user_id text)",
        )

    with pytest.raises(MigrationRefused, match=r"several schemas \(one, two\)") as caught:
        migrate.up(empty_url)

    assert caught.value.exit_code == 6
    assert tables(empty_url, "public") == set()


def test_a_schema_that_the_role_may_not_use_is_told(empty_url: str) -> None:
    ask(empty_url, "CREATE SCHEMA app")
    database.build(under(empty_url, "app"), WebApp())

    with (
        role(empty_url, "stranger") as url,
        pytest.raises(MigrationRefused, match="GRANT USAGE ON SCHEMA app TO stranger"),
    ):
        migrate.up(url)


def test_the_plan_names_the_schema_and_its_sql_goes_there(empty_url: str) -> None:
    ask(empty_url, 'CREATE SCHEMA "My App"')
    set_path(empty_url, '"My App"')
    database.build(empty_url, WebApp())
    set_path(empty_url, "public")

    plan = migrate.plan(empty_url)

    assert plan.schema == "My App"
    assert [(t.name, t.rows) for t in plan.found.tables][-1] == ("users", 3)
    assert render.plan_json(plan)["schema"] == "My App"
    text = render.plan(plan)
    assert "the application's tables, My App. It has:" in text
    for step in plan.steps:
        if step.file.no_transaction:
            text = text.replace(step.file.text.rstrip(), "")
    ask(empty_url, text)
    assert tables(empty_url, "My App") >= OURS - {"checkinsync_migrations"}
    assert tables(empty_url, "public") == set()


# --- what another installation has in another schema ----------------------------------------------


def test_a_ledger_in_another_schema_is_not_ours(empty_url: str) -> None:
    migrate.up(empty_url)
    ask(empty_url, "CREATE SCHEMA app")
    database.build(under(empty_url, "app"), WebApp())
    set_path(empty_url, "app, public")

    with psycopg.connect(empty_url) as conn:
        assert migrate.pending(conn) == [file.name for file in files.read()]
    assert len(migrate.up(empty_url)) == len(files.read())

    assert tables(empty_url, "app") >= OURS


def test_an_index_of_our_name_in_another_schema_is_not_dropped(empty_url: str) -> None:
    migrate.up(empty_url)
    indexes = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'"
    before = ask(empty_url, indexes)
    ask(empty_url, "CREATE SCHEMA app")
    database.build(under(empty_url, "app"), WebApp())
    set_path(empty_url, "app, public")

    migrate.up(empty_url)

    assert ask(empty_url, indexes) == before


# --- an empty database ----------------------------------------------------------------------------


def test_an_empty_database_gets_everything_where_tables_are_created(empty_url: str) -> None:
    ask(empty_url, "CREATE SCHEMA app")
    set_path(empty_url, "nowhere, app, public")

    migrate.up(empty_url)

    assert tables(empty_url, "app") >= {*OURS, "users", "checkins"}
    assert tables(empty_url, "public") == set()


@pytest.mark.parametrize("search_path", ["nowhere", "''", "pg_catalog", "pg_temp"])
def test_a_path_to_no_schema_is_refused(empty_url: str, search_path: str) -> None:
    set_path(empty_url, search_path)

    for refused in (migrate.up, migrate.plan):
        with pytest.raises(MigrationRefused, match="search_path names no schema that exists"):
            refused(empty_url)


def test_a_schema_in_which_the_role_may_not_create_is_refused(empty_url: str) -> None:
    with role(empty_url, "poor") as url:
        with pytest.raises(MigrationRefused, match="GRANT CREATE ON SCHEMA public TO poor"):
            migrate.up(url)
        assert migrate.plan(url).refusals

    assert tables(empty_url, "public") == set()
