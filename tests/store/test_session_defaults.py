"""No default of a role, a database or an environment variable changes what a night stores.

The names: PostgreSQL's documentation, chapter 20, "Client Connection Defaults" and "Version and
Platform Compatibility", all that a session may set; libpq's "Environment Variables".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from checkinsync.foursquare.client import Foursquare
from checkinsync.migrations import migrate
from checkinsync.model.user import Profile
from checkinsync.nightly.run import run
from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World
from checkinsync.store.lease_renewal import LeaseRenewer
from checkinsync.store.pool import open_pool, transaction
from checkinsync.sync.session import Hooks, Services
from checkinsync.users import accounts
from checkinsync.verify.verifier import verify
from support.environment import KEYRING
from support.factories import NOW
from support.nightly import OPTIONS

ADA = "token-ada"

DEFAULTS = [
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "German"),
    ("DateStyle", "Postgres, MDY"),
    ("IntervalStyle", "iso_8601"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Pacific/Auckland"),
    ("TimeZone", "America/New_York"),
    ("TimeZone", "<x>+03:17"),
    ("timezone_abbreviations", "India"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("client_min_messages", "error"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("xmlbinary", "hex"),
    ("xmloption", "document"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("default_text_search_config", "pg_catalog.german"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_deferrable", "on"),
    ("statement_timeout", "100ms"),
    ("lock_timeout", "100ms"),
    ("idle_in_transaction_session_timeout", "100ms"),
    ("transaction_timeout", "100ms"),
    ("row_security", "off"),
    ("check_function_bodies", "off"),
    ("array_nulls", "off"),
    ("backslash_quote", "off"),
    ("escape_string_warning", "off"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("synchronize_seqscans", "off"),
    ("transform_null_equals", "on"),
    ("lo_compat_privileges", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_indexscan", "off"),
    ("enable_seqscan", "off"),
    ("synchronous_commit", "off"),
    ("default_toast_compression", "pglz"),
    ("default_table_access_method", "heap"),
    ("constraint_exclusion", "on"),
    ("cursor_tuple_fraction", "1"),
    ("from_collapse_limit", "1"),
    ("join_collapse_limit", "1"),
    ("plpgsql.variable_conflict", "use_column"),
    ("gin_fuzzy_search_limit", "1"),
]

VARIABLES = {
    "PGOPTIONS": "-c DateStyle=German -c default_transaction_read_only=on -c TimeZone=Asia/Tokyo",
    "PGTZ": "Asia/Kathmandu",
    "PGDATESTYLE": "SQL, DMY",
    "PGCLIENTENCODING": "LATIN1",
    "PGGEQO": "off",
    "PGAPPNAME": "another",
    "PGTARGETSESSIONATTRS": "any",
}


def night(url: str, conn: psycopg.Connection) -> list[tuple]:
    """Play two nights and a verification in a database; return its rows, as `conn` reads them."""
    with Server(World(), now=NOW.timestamp) as simulator, opened(url, simulator.url) as services:
        simulator.world.add_account(
            ADA, count=300, newest=int(NOW.timestamp()) - 3600, first_name="Zoë 😀"
        )
        profile = Profile(simulator.world.accounts[ADA].user_id, "Zoë 😀", None)
        accounts.add(profile, ADA, pool=services.pool, keyring=KEYRING, now=NOW)
        for _ in range(2):
            summary = run(services, options=OPTIONS_AT_ONCE, check_stop=lambda: None)
            assert (summary.outcome, summary.synced) == ("ok", 1)
        user = accounts.find("1", pool=services.pool)
        assert verify(user, services=services, hooks=Hooks()).complete
    return conn.execute(ROWS).fetchall()


@pytest.fixture(scope="module")
def expected(databases, template_database) -> list[tuple]:
    """The rows of a database in which nothing is set."""
    with databases.lent(template_database) as url, psycopg.connect(url) as conn:
        return night(url, conn)


OPTIONS_AT_ONCE = replace(OPTIONS, stagger=OPTIONS.stagger * 0)

ROWS = """
SELECT c.foursquare_id, c.kind, c.venue_name, c.latitude, c.longitude, c.checkin_date, c.shout,
       c.time_zone_offset, c.is_private, c.fingerprint, c.raw::text, c.first_seen_at, c.created_at,
       u.display_name, u.last_sync_at, s.cursor, s.last_checked_at
  FROM checkins AS c JOIN users AS u ON u.id = c.user_id JOIN sync_state AS s USING (user_id)
 ORDER BY 1
"""


@contextmanager
def opened(url: str, api: str) -> Iterator[Services]:
    pool = open_pool(url, size=3)
    foursquare = Foursquare(api_url=api, token_in="auto", sleep=lambda _: None, now=lambda: NOW)
    renewer = LeaseRenewer(pool)
    try:
        yield Services(pool, foursquare, KEYRING, renewer, lambda: NOW)
    finally:
        renewer.close()
        foursquare.close()
        pool.close()


def set_default(conn: psycopg.Connection, name: str, value: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} SET {} = {}").format(
        sql.Identifier(conn.info.dbname), sql.SQL(name), sql.Literal(value)
    )
    try:
        conn.execute(statement)
    except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue) as error:
        pytest.skip(f"not on this server: {error.diag.message_primary}")


@pytest.mark.parametrize(("name", "value"), DEFAULTS)
def test_a_default_of_the_database_changes_nothing(empty_url, expected, name, value):
    """Neither the migrations, which make the tables, nor the nights after them."""
    with psycopg.connect(empty_url, autocommit=True) as conn:
        set_default(conn, name, value)
        migrate.up(empty_url)

        found = night(empty_url, conn)

    assert len(found) == 300
    assert found == expected


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_environment_variable_changes_nothing(db, conn, expected, variable, monkeypatch):
    monkeypatch.setenv(variable, VARIABLES[variable])

    assert night(db, conn) == expected


@pytest.mark.parametrize("name", ["statement_timeout", "transaction_timeout"])
def test_a_short_time_limit_by_default_ends_no_statement_of_ours(db, conn, name):
    set_default(conn, name, "100ms")
    pool = open_pool(db, size=1)

    with transaction(pool) as own:
        assert own.execute("SELECT pg_sleep(0.3)").fetchone() == ("",)

    pool.close()


@pytest.mark.parametrize(
    ("value", "used"), [("off", "local"), ("local", "local"), ("on", "on"), ("remote_apply",) * 2]
)
def test_a_transaction_waits_for_the_disk_whatever_the_database_says(db, conn, value, used):
    """An import goes on over a restart of the server, and what it has stored must still be there;
    those who wait for a standby go on doing so."""
    set_default(conn, "synchronous_commit", value)
    pool = open_pool(db, size=1)

    with transaction(pool) as own:
        assert own.execute("SHOW synchronous_commit").fetchone() == (used,)

    pool.close()
