"""What `migrate` would fail on is told beforehand, by `--plan` and by itself, all together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checkinsync.cli.render import migrate as render
from checkinsync.embedded import serving
from checkinsync.errors import MigrationRefused
from checkinsync.migrations import files, migrate, refusals
from checkinsync.migrations.catalog import Server
from checkinsync.migrations.runner import RUNNER_LOCK
from support.database import Databases
from support.pooler import pooled
from support.stories import Story
from support.webapp import database
from support.webapp.database import VARIANTS, WebApp


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(query)
        return [row[0] for row in cursor] if cursor.description else []


def everything(url: str) -> list[Any]:
    return ask(
        url,
        """
        SELECT relname || '.' || attname FROM pg_attribute JOIN pg_class ON oid = attrelid
         WHERE relnamespace = 'public'::regnamespace ORDER BY 1
        """,
    )


def refused(url: str) -> list[str]:
    """The reasons that both the plan and `up` give; nothing was changed."""
    before = everything(url)

    plan = migrate.plan(url)
    with pytest.raises(MigrationRefused) as caught:
        migrate.up(url)

    assert plan.refusals
    assert caught.value.exit_code == 6
    assert str(caught.value).startswith("nothing was changed")
    assert [reason for reason in plan.refusals if reason not in str(caught.value)] == []
    for reason in plan.refusals:
        assert f"\n-- - {reason}\n" in render.plan(plan)
    assert everything(url) == before
    return list(plan.refusals)


@contextmanager
def role(url: str, name: str, *rights: str) -> Iterator[str]:
    """A role with these rights (`GRANT … TO name`); returns the address for it."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"DROP ROLE IF EXISTS {name}; CREATE ROLE {name}")
        for right in rights:
            conn.execute(f"{right} TO {name}")
        yield f"{url}&options=-crole%3D{name}"
        conn.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("app", [None, *VARIANTS], ids=str)
def test_the_applications_own_database_is_never_refused(empty_url: str, app: WebApp | None) -> None:
    if app is not None:
        database.build(empty_url, app)

    assert migrate.plan(empty_url).refusals == ()


@pytest.mark.parametrize(
    "spoil",
    [
        "ALTER TABLE checkins ALTER latitude TYPE numeric, ALTER longitude TYPE float8",
        "CREATE DOMAIN label AS varchar(300); ALTER TABLE users ALTER display_name TYPE label",
        "ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free', ADD COLUMN age int",
        "ALTER TABLE checkins ADD COLUMN day date GENERATED ALWAYS AS (checkin_date::date) STORED",
        "ALTER TABLE users ALTER id DROP DEFAULT;"
        "ALTER TABLE users ALTER id ADD GENERATED ALWAYS AS IDENTITY (START 100)",
        "ALTER TABLE import_jobs ADD CHECK (length(status) > 2),"
        "  ADD CHECK (status IN ('pending','running','completed','failed','rate_limited','x'))",
        "ALTER TABLE users DROP COLUMN updated_at; DROP TRIGGER update_users_updated_at ON users",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        """
        ALTER TABLE checkins ADD COLUMN spot text;
        CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.spot := 'here'; RETURN NEW; END $$;
        CREATE TRIGGER fill BEFORE INSERT ON checkins FOR EACH ROW EXECUTE FUNCTION fill();
        UPDATE checkins SET spot = ''; ALTER TABLE checkins ALTER spot SET NOT NULL;
        """,
    ],
)  # fmt: skip
def test_what_does_no_harm_is_not_refused(empty_url: str, spoil: str) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, spoil)

    assert migrate.plan(empty_url).refusals == ()
    migrate.up(empty_url)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        # the tables
        ("ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people",
         "public.users is a view"),
        ("ALTER TABLE checkin_photos RENAME TO p;"
         "CREATE MATERIALIZED VIEW checkin_photos AS SELECT * FROM p",
         "public.checkin_photos is a materialized view"),
        ("ALTER TABLE checkin_photos RENAME TO p; CREATE SEQUENCE checkin_photos",
         "public.checkin_photos is something else, and has to be a table"),
        ("DROP TABLE checkin_photos; ALTER TABLE checkins RENAME TO c;"
         "CREATE TABLE checkins (LIKE c INCLUDING DEFAULTS) PARTITION BY RANGE (checkin_date)",
         "public.checkins is partitioned"),
        ("CREATE TABLE older () INHERITS (checkins)",
         "public.checkins is partitioned or has child tables"),
        ("ALTER TABLE checkin_photos SET UNLOGGED", "ALTER TABLE public.checkin_photos SET LOGGED"),
        ("ALTER TABLE checkins DROP COLUMN city, DROP COLUMN country",
         "public.checkins is not the application's table, since it lacks city, country"),
        # their keys
        ("ALTER TABLE checkin_photos DROP CONSTRAINT checkin_photos_checkin_id_fkey;"
         "ALTER TABLE checkins ALTER id DROP DEFAULT, ALTER id TYPE uuid USING gen_random_uuid()",
         "public.checkins.id has the type uuid, and checkinsync writes integer"),
        ("ALTER TABLE users ALTER id TYPE bigint", "public.users.id has the type bigint"),
        ("ALTER TABLE users ALTER id TYPE text", "public.users.id has the type text"),
        ("ALTER TABLE checkins DROP CONSTRAINT checkins_pkey CASCADE",
         "public.checkins.id is not unique by itself"),
        ("ALTER TABLE users DROP CONSTRAINT users_foursquare_user_id_key",
         "public.users.foursquare_user_id is not unique by itself"),
        ("CREATE TABLE venues (id varchar PRIMARY KEY);"
         "ALTER TABLE checkins ADD FOREIGN KEY (venue_id) REFERENCES venues NOT VALID",
         "public.checkins.venue_id refers to venues, which checkinsync does not fill"),
        # the types of their columns
        ("ALTER TABLE checkins ALTER checkin_date TYPE timestamptz",
         "public.checkins.checkin_date has the type timestamp with time zone"),
        ("ALTER TABLE checkins ALTER checkin_date TYPE date",
         "public.checkins.checkin_date has the type date"),
        ("ALTER TABLE checkins ALTER checkin_date TYPE timestamp(0)",
         "public.checkins.checkin_date has the type timestamp(0) without time zone"),
        ("ALTER TABLE checkins ALTER latitude TYPE text",
         "public.checkins.latitude has the type text"),
        ("ALTER TABLE checkins ALTER longitude TYPE numeric(10,8)",
         "public.checkins.longitude has the type numeric(10,8)"),
        ("ALTER TABLE checkins ALTER latitude TYPE numeric(8,5)",
         "public.checkins.latitude has the type numeric(8,5)"),
        ("ALTER TABLE checkins ALTER latitude TYPE real",
         "public.checkins.latitude has the type real"),
        ("ALTER TABLE users ADD COLUMN last_login_at date",
         "public.users.last_login_at has the type date"),
        ("ALTER TABLE users ALTER secret_token TYPE varchar(64), ALTER secret_token DROP NOT NULL;"
         "UPDATE users SET secret_token = 's' || id;"
         "ALTER TABLE users ALTER secret_token TYPE varchar(32)",
         "public.users.secret_token has the type character varying(32)"),
        ("CREATE TYPE job_status AS ENUM ('pending', 'running', 'completed', 'failed');"
         "ALTER TABLE import_jobs ALTER status DROP DEFAULT,"
         " ALTER status TYPE job_status USING status::job_status",
         "public.import_jobs.status has the type job_status"),
        ("ALTER TABLE import_jobs ALTER status TYPE varchar(10)",
         "public.import_jobs.status has the type character varying(10)"),
        ("ALTER TABLE import_jobs ADD CONSTRAINT words CHECK"
         " (status IN ('pending', 'running', 'completed', 'failed'))",
         "the constraint words of public.import_jobs does not allow the status rate_limited"),
        # what has to be filled
        ("ALTER TABLE checkins DROP COLUMN city,"
         " ADD COLUMN city text GENERATED ALWAYS AS (upper(country)) STORED",
         "ALTER TABLE public.checkins ALTER COLUMN city DROP EXPRESSION"),
        ("ALTER TABLE users ADD COLUMN tenant int; UPDATE users SET tenant = 1;"
         "ALTER TABLE users ALTER tenant SET NOT NULL",
         "public.users.tenant is NOT NULL without a default"),
        ("ALTER TABLE import_jobs ADD COLUMN kind int; UPDATE import_jobs SET kind = 1;"
         "ALTER TABLE import_jobs ALTER kind SET NOT NULL",
         "public.import_jobs.kind is NOT NULL without a default"),
        ("DELETE FROM checkins WHERE venue_id IS NULL;"
         "ALTER TABLE checkins ALTER venue_id SET NOT NULL",
         "ALTER TABLE public.checkins ALTER COLUMN venue_id DROP NOT NULL"),
        ("ALTER TABLE checkin_photos ALTER id DROP DEFAULT",
         "public.checkin_photos.id is NOT NULL without a default"),
        # names that are taken
        ("CREATE TABLE verifications (email text)",
         "007_add_verifications.sql adds public.verifications, which exists already"),
        ("CREATE TYPE sync_state AS ENUM ('a')", "005_add_sync_state.sql adds public.sync_state"),
        ("ALTER TABLE checkins ADD COLUMN shout text, ADD COLUMN foursquare_id text",
         "adds public.checkins.foursquare_id, public.checkins.shout, which exists already"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_before_the_first_statement(
    empty_url: str, spoil: str, says: str
) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, "ALTER TABLE import_jobs DROP CONSTRAINT import_jobs_user_id_fkey;"
                   "ALTER TABLE checkins DROP CONSTRAINT checkins_user_id_fkey")  # fmt: skip
    ask(empty_url, spoil)

    [reason] = refused(empty_url)

    assert says in reason


def test_everything_is_told_at_once(empty_url: str) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, "ALTER TABLE checkins ALTER latitude TYPE text; CREATE TABLE sync_runs (n int)")
    ask(
        empty_url,
        "ALTER TABLE import_jobs ADD COLUMN x int GENERATED ALWAYS AS (1) STORED NOT NULL",
    )

    with role(empty_url, "poor", "GRANT SELECT ON ALL TABLES IN SCHEMA public") as url:
        reasons = refused(url)

        assert len(reasons) == 7
        with pytest.raises(MigrationRefused, match="nothing was changed, for 7 reasons:\n- "):
            migrate.up(url)


def test_nothing_is_refused_where_nothing_is_pending(empty_url: str) -> None:
    migrate.up(empty_url)

    with role(empty_url, "poor", "GRANT SELECT ON ALL TABLES IN SCHEMA public") as url:
        assert migrate.up(url) == []
        assert migrate.plan(url).refusals == ()


# --- the role -------------------------------------------------------------------------------------


def test_a_role_that_does_not_own_the_tables_is_told_who_does(empty_url: str) -> None:
    database.build(empty_url, WebApp(photos=False))
    [owner] = ask(empty_url, "SELECT current_user::text")

    with role(empty_url, "guest", "GRANT CREATE ON SCHEMA public") as url:
        reasons = refused(url)

    assert [reason.split(",")[0] for reason in reasons] == [
        f"the role guest does not own public.{table}"
        for table in ("checkins", "import_jobs", "users")
    ]
    assert f"run `checkinsync migrate` as {owner}" in reasons[0]


def test_a_role_that_may_not_read_the_ledger_is_told_so(empty_url: str) -> None:
    migrate.up(empty_url)

    with role(empty_url, "blind") as url:
        for refusing in (migrate.up, migrate.plan):
            with pytest.raises(MigrationRefused, match=r"permission denied.*GRANT it"):
                refusing(url)


def test_a_member_of_the_owner_may_migrate(empty_url: str) -> None:
    with role(empty_url, "owner", "GRANT CREATE ON SCHEMA public") as url:
        database.build(url, WebApp())
        with role(empty_url, "member", "GRANT CREATE ON SCHEMA public", "GRANT owner") as by_member:
            assert migrate.plan(by_member).refusals == ()
            migrate.up(by_member)


def test_row_level_security_that_hides_rows_is_refused(empty_url: str) -> None:
    with role(empty_url, "owner", "GRANT CREATE ON SCHEMA public") as url:
        database.build(url, WebApp())
        ask(url, "ALTER TABLE checkins ENABLE ROW LEVEL SECURITY")
        assert migrate.plan(url).refusals == ()
        ask(url, "ALTER TABLE checkins FORCE ROW LEVEL SECURITY")

        [reason] = refused(url)

    assert "row-level security hides rows of public.checkins from the role owner" in reason


# --- the server and the database ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_holds_not_all_texts_is_refused(
    databases: Databases, encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    databases.administrator.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
    )
    url = databases.postgres.url_for(name)
    database.build(url, WebApp())

    [reason] = refused(url)
    databases.done_with.append(name)

    assert f"the database {name} has the encoding {encoding}" in reason


def test_a_standby_is_refused(used_home: Path) -> None:
    with serving(used_home, allow_nobody=True, for_tests=True) as running:
        ask(running.url, "ALTER SYSTEM SET wal_level = replica")
    with serving(used_home, allow_nobody=True, for_tests=True):
        pass
    (used_home / "postgres" / "data" / "standby.signal").touch()

    with serving(used_home, allow_nobody=True, for_tests=True) as running:
        [reason] = refused(running.url)

    assert "standby: set CHECKINSYNC_MIGRATE_URL" in reason


def test_a_pooler_in_transaction_mode_is_refused_one_in_session_mode_is_not(
    empty_url: str,
) -> None:
    with pooled(empty_url, transactional=True) as url:
        [reason] = refused(url)
    assert "pooler in transaction mode" in reason

    with pooled(empty_url, transactional=False) as url:
        assert len(migrate.up(url)) == len(files.read())


def test_behind_a_pooler_in_transaction_mode_no_lock_is_taken_that_would_stay(
    empty_url: str,
) -> None:
    with pooled(empty_url, transactional=True) as url, psycopg.connect(empty_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [RUNNER_LOCK])

        with pytest.raises(MigrationRefused):  # and not AtWork
            migrate.up(url, sleep=lambda _: None)


def test_an_old_server_is_refused() -> None:
    old = Server(130014, "13.14", "UTF8", "app", "me", standby=False, pooled=False)

    [reason] = refusals.of_server(old)

    assert reason == "PostgreSQL 13.14 is too old: move the database to 14 or newer"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_the_plan_and_exits_as_migrate_would(
    story: Story, empty_url: str
) -> None:
    database.build(empty_url, WebApp())
    ask(empty_url, "ALTER TABLE checkins ALTER latitude TYPE text")
    story.environ |= {"CHECKINSYNC_DATABASE_URL": empty_url}

    plan, json, up = (
        story.run("migrate", *words) for words in (["--plan"], ["--plan", "--json"], [])
    )

    assert (plan.code, json.code, up.code) == (6, 6, 6)
    assert plan.err == json.err == up.err
    assert up.err.startswith("checkinsync: nothing was changed: public.checkins.latitude has")
    assert "-- `checkinsync migrate` refuses to begin:" in plan.out
    assert "stored tokens" not in plan.out
    assert '"stale_jobs": null' in json.out
