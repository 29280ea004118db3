"""The doctor on privileges, policies, types and sequences: told before they stop a night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from checkinsync.app import examine
from checkinsync.config.settings import examine_settings
from checkinsync.doctor.checks import Report
from checkinsync.doctor.findings import Finding, Level
from checkinsync.doctor.tables import Missing, of_privileges
from checkinsync.shutdown import Shutdown
from support.stories import KEY, Story


def report(url: str) -> Report:
    environ = {"CHECKINSYNC_DATABASE_URL": url, "CHECKINSYNC_ENCRYPTION_KEY": KEY}
    return examine(examine_settings(environ), Shutdown(), chosen=None)


def troubles(found: Report) -> list[Finding]:
    """All but what is in order, and the run that there never was."""
    return [f for f in found.findings if f.level is not Level.OK and f.check != "runs"]


@contextmanager
def role(conn: psycopg.Connection, name: str) -> Iterator[str]:
    """A role that may do all that the nightly run does; ends with what it was granted."""
    conn.execute(sql.SQL("DROP ROLE IF EXISTS {0}").format(sql.Identifier(name)))
    for statement in (
        "CREATE ROLE {0}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {0}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {0}",
    ):
        conn.execute(sql.SQL(statement).format(sql.Identifier(name)))
    try:
        yield name
    finally:
        conn.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
        conn.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(name)))


def as_role(db: str, name: str) -> Report:
    return report(f"{db}&options=-crole%3D{name}")


# --- privileges -----------------------------------------------------------------------------------


def test_a_role_with_all_privileges_lacks_nothing(db: str, conn):
    with role(conn, "rich"):
        found = as_role(db, "rich")

    assert troubles(found) == []


@pytest.mark.parametrize(
    ("revoked", "granted"),
    [
        ("UPDATE, DELETE ON checkins", "GRANT UPDATE, DELETE ON public.checkins TO poor;"),
        ("SELECT ON users", "GRANT SELECT ON public.users TO poor;"),
        ("SELECT ON checkinsync_migrations", "GRANT SELECT ON public.checkinsync_migrations TO"),
        (
            "INSERT ON sync_state, import_leases",
            "GRANT INSERT ON public.import_leases, public.sync_state TO poor;",
        ),
        (
            "USAGE ON SEQUENCE checkins_id_seq, import_lease_tokens",
            "GRANT USAGE ON SEQUENCE public.checkins_id_seq, public.import_lease_tokens TO poor;",
        ),
    ],
)
def test_a_missing_privilege_is_told_with_the_statement_that_grants_it(
    db: str, conn, revoked: str, granted: str
):
    with role(conn, "poor"):
        conn.execute(f"REVOKE {revoked} FROM poor".encode())
        found = as_role(db, "poor")
        [problem] = troubles(found)
        conn.execute(problem.advice.encode())
        healed = as_role(db, "poor")

    assert problem.check == "privileges"
    assert problem.advice.startswith(granted)
    assert found.exit_code == 78
    assert troubles(healed) == []


def test_a_schema_and_a_function_that_the_role_may_not_use_are_told(db: str, conn):
    with role(conn, "poor"):
        conn.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        shut = as_role(db, "poor")
        conn.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        conn.execute("REVOKE EXECUTE ON FUNCTION active_users FROM PUBLIC")
        no_function = as_role(db, "poor")
        conn.execute("GRANT EXECUTE ON FUNCTION active_users TO PUBLIC")

    assert "GRANT USAGE ON SCHEMA public TO poor;" in [f.advice for f in troubles(shut)]
    [problem] = troubles(no_function)
    assert problem.advice.startswith("GRANT EXECUTE ON FUNCTION active_users(")


def test_columns_granted_one_by_one_are_granted(db: str, conn):
    with role(conn, "poor"):
        conn.execute("REVOKE UPDATE ON users FROM poor")
        [problem] = troubles(as_role(db, "poor"))
        columns = ", ".join(
            name
            for (name,) in conn.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0"
            )
        )
        conn.execute(f"GRANT UPDATE ({columns}) ON users TO poor".encode())

        assert "UPDATE on public.users" in problem.says
        assert troubles(as_role(db, "poor")) == []


def test_adding_and_removing_users_is_no_matter_of_the_night():
    missing = [Missing("TABLE", "public.users", each) for each in ("INSERT", "DELETE")]

    [found] = of_privileges(missing, role="app")

    assert found.level is Level.WARNING
    assert found.advice == "GRANT INSERT, DELETE ON public.users TO app;"


def test_a_role_that_may_do_nothing_gets_one_finding_for_each_statement(story: Story):
    ada = story.person("Ada", 3)
    story.conn.execute("DROP ROLE IF EXISTS nothing")
    story.conn.execute("CREATE ROLE nothing")

    done = story.run("doctor", database_url=f"{story.url}&options=-crole%3Dnothing")

    story.conn.execute("DROP ROLE nothing")
    problems = [line for line in done.out.splitlines() if line.startswith("problem")]
    assert done.code == 78
    assert len(problems) == 3
    assert all(line.startswith("problem  privileges: the role nothing lacks") for line in problems)
    assert ada.name not in done.out


# --- policies -------------------------------------------------------------------------------------


def test_row_level_security_that_would_hide_rows_is_told(db: str, conn):
    conn.execute("INSERT INTO users (foursquare_user_id, secret_token) VALUES ('1', 's')")
    with role(conn, "poor"):
        conn.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")
        found = as_role(db, "poor")
        owner = report(db)

    [problem] = troubles(found)
    assert problem.says == (
        "row-level security is in force on public.users for the role poor, and would hide rows"
    )
    assert problem.advice.startswith("ALTER ROLE poor BYPASSRLS;")
    assert found.exit_code == 78
    assert found.users is None, "rows are hidden, so nothing was counted"
    assert [f.check for f in troubles(owner)] == ["users", "users"], "as it may see their rows"


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "type_", "advice"),
    [
        ("latitude", "numeric(10,2)", "TYPE numeric USING latitude::numeric;"),
        ("city", "integer USING 1", "TYPE text USING city::text;"),
        (
            "checkin_date",
            "timestamptz",
            "TYPE timestamp USING checkin_date AT TIME ZONE 'UTC';",
        ),
        ("raw", "jsonb", "TYPE json USING raw::json;"),
    ],
)
def test_a_column_that_does_not_hold_what_is_written_is_told(
    db: str, conn, column: str, type_: str, advice: str
):
    conn.execute(f"ALTER TABLE checkins ALTER COLUMN {column} TYPE {type_}".encode())

    found = report(db)
    [problem] = troubles(found)
    conn.execute(problem.advice.encode())

    assert problem.says.startswith(f"checkins.{column} has the type ")
    assert problem.advice == f"ALTER TABLE checkins ALTER COLUMN {column} {advice}"
    assert found.exit_code == 6
    assert troubles(report(db)) == []


def test_a_domain_and_a_wider_type_hold_it_as_well(db: str, conn):
    conn.execute("CREATE DOMAIN place AS varchar(80)")
    conn.execute("ALTER TABLE checkins ALTER COLUMN city TYPE place")
    conn.execute("ALTER TABLE checkins ALTER COLUMN latitude TYPE float8")
    conn.execute("ALTER TABLE import_jobs ALTER COLUMN total_expected TYPE bigint")

    assert troubles(report(db)) == []


# --- sequences ------------------------------------------------------------------------------------


def fill(conn: psycopg.Connection, number: int = 7) -> None:
    conn.execute(
        "INSERT INTO users (id, foursquare_user_id, secret_token) VALUES (%s, '1', 's')", [number]
    )


def test_a_sequence_behind_its_table_is_told_with_the_statement_that_sets_it(db: str, conn):
    fill(conn)
    found = report(db)
    [problem] = [f for f in troubles(found) if f.check == "schema"]
    conn.execute(problem.advice.encode())

    assert problem.says.endswith("users_id_seq is behind its table: at 0, and users has 7")
    assert found.exit_code == 69
    assert [f for f in troubles(report(db)) if f.check == "schema"] == []
    conn.execute("INSERT INTO users (foursquare_user_id, secret_token) VALUES ('2', 't')")


def test_leases_and_identities_are_numbered_as_well(db: str, conn):
    conn.execute("INSERT INTO import_leases VALUES (1, 'host 1 1', 50, '-infinity')")
    conn.execute(
        """
        INSERT INTO sync_runs (id, started_at, host, outcome) OVERRIDING SYSTEM VALUE
        VALUES (9, now(), 'here', 'ok')
        """
    )

    behind = [f.says for f in troubles(report(db)) if f.check == "schema"]

    assert len(behind) == 2
    assert "import_lease_tokens is behind its table: at 0, and import_leases has 50" in behind[0]
    assert "sync_runs_id_seq is behind its table: at 0, and sync_runs has 9" in behind[1]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            "ALTER SEQUENCE users_id_seq MAXVALUE 7",
            "ALTER SEQUENCE public.users_id_seq MAXVALUE 2147483647;",
        ),
        (
            "SELECT setval('users_id_seq', 2147483647)",
            "SELECT setval('public.users_id_seq', (SELECT max(id) FROM users));",
        ),
    ],
)
def test_a_sequence_at_its_end_is_told_with_the_statement_that_goes_on(
    db: str, conn, change: str, advice: str
):
    fill(conn)
    conn.execute("SELECT setval('users_id_seq', 7)")
    conn.execute(change.encode())

    [problem] = [f for f in troubles(report(db)) if f.check == "schema"]
    conn.execute(problem.advice.encode())

    assert "has no number left" in problem.says
    assert problem.advice.startswith(advice)
    assert [f for f in troubles(report(db)) if f.check == "schema"] == []


def test_a_sequence_near_its_end_is_a_warning(db: str, conn):
    conn.execute("SELECT setval('checkins_id_seq', 2000000000)")

    [found] = troubles(report(db))

    assert found.level is Level.WARNING
    assert "is at 2000000000 of 2147483647" in found.says
