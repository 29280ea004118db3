"""Errors of the database: each class becomes an error of ours, and repeats no row."""

from __future__ import annotations

import psycopg
import pytest

from checkinsync import errors, resources
from checkinsync.config.settings import read_settings
from checkinsync.migrations import migrate
from checkinsync.store.pool import Address, Pool, open_pool, transaction

SECRET = "5ecret" * 10

SETUP = f"""
CREATE TABLE t (id serial PRIMARY KEY, a int2 CHECK (a > 0), b text UNIQUE);
INSERT INTO t (a, b) VALUES (1, '{SECRET}');
CREATE TABLE closed (a int);
CREATE SEQUENCE small MAXVALUE 2;
SELECT nextval('small'), nextval('small');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'not on a Sunday' USING DETAIL = '{SECRET}'; END $$;
CREATE TABLE guarded (a text);
CREATE TRIGGER guard BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE ROLE {{role}}; GRANT SELECT ON t TO {{role}};
"""

CASES = {
    "a number out of range": ("INSERT INTO t (a) VALUES (99999)", errors.ValueRefused),
    "no number": ("INSERT INTO t (a) VALUES ('x'::text::int2)", errors.ValueRefused),
    "a check": ("INSERT INTO t (a) VALUES (-1)", errors.ValueRefused),
    "a double": (f"INSERT INTO t (b) VALUES ('{SECRET}')", errors.Duplicate),
    "an index row too large": (
        "INSERT INTO t (b) SELECT string_agg(sha512(n::text::bytea)::text, '')"
        " FROM generate_series(1, 300) AS n",
        errors.ValueRefused,
    ),
    "a trigger": ("INSERT INTO guarded VALUES ('x')", errors.ValueRefused),
    "a sequence at its end": ("SELECT nextval('small')", errors.DatabaseExhausted),
    "a sequence behind its table": ("INSERT INTO t (id) VALUES (1)", errors.DatabaseExhausted),
    "no privilege": ("SET LOCAL ROLE {role}; SELECT * FROM closed", errors.PrivilegeMissing),
    "no such table": ("SELECT * FROM absent", errors.SchemaBehind),
    "no such column": ("SELECT absent FROM t", errors.SchemaBehind),
    "no such function": ("SELECT absent()", errors.SchemaBehind),
    "a statement that takes too long": (
        "SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(5)",
        errors.DatabaseBusy,
    ),
    "read-only": ("SET TRANSACTION READ ONLY; DELETE FROM t", errors.DatabaseAway),
    "a session ended by an administrator": (
        "SELECT pg_terminate_backend(pg_backend_pid())",
        errors.DatabaseAway,
    ),
    "what has no name": ("SELEKT", errors.DatabaseError),
}


def run(pool: Pool, *statements: str) -> None:
    with transaction(pool) as own:
        for statement in statements:
            own.execute(statement)


def collide(pool: Pool, conn: psycopg.Connection) -> None:
    """Update a row that another transaction has updated since this one began."""
    with transaction(pool) as own:
        own.execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ")
        own.execute("SELECT * FROM t")
        conn.execute("UPDATE t SET a = 2")
        own.execute("UPDATE t SET a = 3")


@pytest.fixture
def role(conn, db):
    """A role that may read one table; roles outlive the databases of tests."""
    name = f"reader_{conn.info.dbname}"
    yield name
    conn.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_error_has_a_meaning_and_a_sentence_and_shows_no_row(
    pool, conn, role, case, caplog
):
    conn.execute(SETUP.format(role=role))
    statement, kind = CASES[case]

    with pytest.raises(kind) as caught:
        run(pool, statement.format(role=role))

    assert type(caught.value) is kind
    assert SECRET not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__
    with transaction(pool) as own:
        assert own.execute("SELECT 1").fetchone() == (1,)


def test_a_lock_that_is_not_to_be_had_is_worth_trying_again(pool, conn):
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE users")
        with pytest.raises(errors.DatabaseBusy):
            run(pool, "SET LOCAL lock_timeout = '10ms'", "SELECT * FROM users")


def test_two_transactions_that_collide_are_worth_trying_again(pool, conn):
    conn.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")

    with pytest.raises(errors.DatabaseBusy):
        collide(pool, conn)


def test_a_server_that_became_read_only_is_connected_to_anew(pool, db):
    """A standby after a fail-over: the connections that are open lead to the wrong server."""
    with transaction(pool) as own:
        before = own.info.backend_pid
    with pytest.raises(errors.DatabaseAway):
        run(pool, "SET TRANSACTION READ ONLY", "DELETE FROM users")

    with transaction(pool) as own:
        assert own.info.backend_pid != before


@pytest.mark.parametrize("how", ["variable", "other variable", "secret file", "settings file"])
def test_an_address_that_fails_is_named_by_the_one_source_it_came_from(db, tmp_path, how):
    nowhere = psycopg.conninfo.make_conninfo(db, dbname="nowhere")
    secret, own = tmp_path / "address", tmp_path / "own.toml"
    secret.write_text(nowhere)
    own.write_text(f'database_url = "{nowhere}"\n')
    for path in (secret, own):
        path.chmod(0o600)
    environ, source = {
        "variable": ({"CHECKINSYNC_DATABASE_URL": nowhere}, "CHECKINSYNC_DATABASE_URL"),
        "other variable": ({"DATABASE_URL": nowhere}, "DATABASE_URL"),
        "secret file": (
            {"CHECKINSYNC_DATABASE_URL_FILE": str(secret)},
            f"CHECKINSYNC_DATABASE_URL_FILE ({secret})",
        ),
        "settings file": ({"CHECKINSYNC_CONFIG": str(own)}, f"database_url in {own}"),
    }[how]
    settings = read_settings(environ)

    with pytest.raises(errors.SettingsError) as refused, resources.migration_url(settings) as url:
        migrate.plan(url)

    assert f"({source}) does not admit us" in str(refused.value)


def test_a_server_that_does_not_answer_is_named_by_the_source_of_its_address():
    address = Address.of("host=127.0.0.1 port=1 dbname=x", source="DATABASE_URL")

    with open_pool(address, size=1) as pool:
        pool.timeout = 0.1
        with pytest.raises(errors.DatabaseAway) as away, transaction(pool):
            pass

    assert "cannot reach the database (DATABASE_URL)" in str(away.value)
