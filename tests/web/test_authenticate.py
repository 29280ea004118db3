"""The SQL function `authenticate`: finds the user of a token and records their login."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

from checkinsync.migrations import migrate
from checkinsync.store import users
from checkinsync.store.pool import Pool, transaction
from support.factories import NOW
from support.web import LONG_AGO, TOKEN, in_column, seen
from support.webapp import database
from support.webapp.database import VARIANTS, WebApp

FIVE_MINUTES = timedelta(minutes=5)
INSTANT = timedelta(microseconds=1)
ASK = "SELECT * FROM authenticate(%s, %s)"
WRITTEN = """
    CREATE TABLE written (last_login_at TIMESTAMP);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO written VALUES (NEW.last_login_at);
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER note AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note()
"""
"""Logs each write as a row; the server's own counters may be late."""


def test_a_token_finds_its_user_and_nothing_secret(conn, ada):
    cursor = conn.execute(ASK, [TOKEN, NOW])

    names = [column.name for column in cursor.description]
    assert names == ["id", "foursquare_user_id", "display_name", "avatar_url"]
    assert cursor.fetchall() == [(ada, "f1", "Ada", "https://example.org/ada.png")]
    assert seen(conn) == in_column(NOW)


def test_whoever_comes_back_is_active_again(conn, ada, pool: Pool):
    def active() -> list[int]:
        with transaction(pool) as own:
            return [one.user.id for one in users.active(own, at=NOW, days=30)]

    assert active() == []

    conn.execute(ASK, [TOKEN, NOW])

    assert active() == [ada]


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN.upper(), " " + TOKEN, "%", "f" * 64])
def test_what_is_no_token_finds_nobody_and_writes_nothing(conn, ada, token):
    before = conn.execute("SELECT xmin, * FROM users").fetchall()

    assert conn.execute(ASK, [token, NOW]).fetchall() == []

    assert conn.execute("SELECT xmin, * FROM users").fetchall() == before


@pytest.mark.parametrize(
    ("later", "recorded"),
    [
        (timedelta(0), False),
        (FIVE_MINUTES - INSTANT, False),
        (FIVE_MINUTES, True),
        (FIVE_MINUTES + INSTANT, True),
        (-INSTANT, False),
        (timedelta(days=-400), False),
    ],
)
def test_a_login_is_recorded_once_in_five_minutes_and_never_backwards(conn, ada, later, recorded):
    conn.execute(ASK, [TOKEN, NOW])
    conn.execute(WRITTEN)

    found = conn.execute(ASK, [TOKEN, NOW + later]).fetchall()

    assert [row[0] for row in found] == [ada]
    assert seen(conn) == in_column(NOW + later if recorded else NOW)
    assert len(conn.execute("SELECT FROM written").fetchall()) == recorded


def test_who_was_never_seen_is_seen_now(conn, ada):
    conn.execute("UPDATE users SET last_login_at = NULL")

    conn.execute(ASK, [TOKEN, NOW])

    assert seen(conn) == in_column(NOW)


def test_without_a_time_the_user_is_found_and_nothing_recorded(conn, ada):
    assert len(conn.execute(ASK, [TOKEN, None]).fetchall()) == 1

    assert seen(conn) == in_column(LONG_AGO)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns", "UTC"])
def test_the_session_s_time_zone_has_no_say(conn, ada, zone):
    conn.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    conn.execute(ASK, [TOKEN, NOW])
    assert seen(conn) == in_column(NOW)

    conn.execute(ASK, [TOKEN, NOW + FIVE_MINUTES - INSTANT])
    assert seen(conn) == in_column(NOW)

    conn.execute(ASK, [TOKEN, NOW + FIVE_MINUTES])
    assert seen(conn) == in_column(NOW + FIVE_MINUTES)


# --- at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_forty_sessions_at_once_write_once_in_five_minutes(db, conn, ada, isolation):
    conn.execute(WRITTEN)
    name = sql.Identifier(conn.info.dbname)
    conn.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(name, isolation)
    )
    times = [NOW + n * FIVE_MINUTES for n in range(10)]
    together = threading.Barrier(40, timeout=60)

    def come(_: int) -> list[list[tuple]]:
        with psycopg.connect(db, autocommit=True) as own:
            found = []
            for at in times:
                together.wait()
                found.append(own.execute(ASK, [TOKEN, at]).fetchall())
            return found

    with ThreadPoolExecutor(40) as people:  # the tests' server has 50 connections, and its own
        answers = [found for one in people.map(come, range(40)) for found in one]

    assert [[row[0] for row in found] for found in answers] == [[ada]] * 400
    written = conn.execute("SELECT last_login_at FROM written ORDER BY 1").fetchall()
    assert written == [(in_column(at),) for at in times]


@contextmanager
def holding(db: str, statement: str) -> Iterator[psycopg.Connection]:
    """Keep another transaction open that has executed this."""
    with psycopg.connect(db) as other:
        other.execute(statement)
        yield other


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET display_name = 'Ada L.'",
        "SELECT FROM users FOR UPDATE",
        "SELECT FROM users FOR SHARE",
        "DELETE FROM users",
    ],
)
def test_a_row_that_somebody_holds_is_passed_by(db, conn, ada, statement):
    conn.execute("SET statement_timeout = '1s'")
    with holding(db, statement) as other:
        found = conn.execute(ASK, [TOKEN, NOW]).fetchall()

        assert [row[0] for row in found] == [ada]
        assert seen(conn) == in_column(LONG_AGO)
        other.rollback()

    conn.execute(ASK, [TOKEN, NOW])
    assert seen(conn) == in_column(NOW)


def test_an_import_s_hold_on_the_user_is_in_nobody_s_way(db, conn, ada):
    conn.execute("SET statement_timeout = '1s'")
    with psycopg.connect(db) as importing:
        assert users.stays(importing, ada)

        conn.execute(ASK, [TOKEN, NOW])

        assert seen(conn) == in_column(NOW)
    with psycopg.connect(db) as visiting:
        visiting.execute(ASK, [TOKEN, NOW + FIVE_MINUTES])
        with psycopg.connect(db, options="-c statement_timeout=1s") as importing:
            assert users.stays(importing, ada)


def test_a_change_of_the_application_s_and_a_login_both_stay(db, conn, ada):
    """The login is recorded on the row as the application has just left it."""
    with holding(db, "UPDATE users SET display_name = 'Ada L.'") as other:
        conn.execute(ASK, [TOKEN, NOW])
        other.commit()
    conn.execute(ASK, [TOKEN, NOW])

    row = conn.execute("SELECT display_name, last_login_at FROM users").fetchone()
    assert row == ("Ada L.", in_column(NOW))


def test_a_table_that_is_locked_as_a_whole_is_waited_for_two_seconds(db, conn, ada):
    conn.execute("SET statement_timeout = '20s'")
    with holding(db, "LOCK TABLE users"), pytest.raises(LockNotAvailable):
        conn.execute(ASK, [TOKEN, NOW])

    assert conn.execute("SHOW lock_timeout").fetchone() == ("0",)


# --- where writing fails --------------------------------------------------------------------------


def found_but_not_recorded(conn: psycopg.Connection, ada: int, why: str) -> None:
    said: list[str] = []
    conn.add_notice_handler(
        lambda notice: said.append(f"{notice.severity}: {notice.message_primary}")
    )

    found = conn.execute(ASK, [TOKEN, NOW]).fetchall()

    assert [row[0] for row in found] == [ada]
    assert len(said) == 1
    assert f"WARNING: the login of user {ada} is not recorded: " in said[0]
    assert why in said[0]
    assert TOKEN not in said[0]


def test_a_read_only_session_finds_the_user_all_the_same(conn, ada):
    conn.execute("SET default_transaction_read_only = on")

    found_but_not_recorded(conn, ada, "read-only transaction")

    assert seen(conn) == in_column(LONG_AGO)


def test_a_trigger_that_fails_keeps_nobody_out(conn, ada):
    conn.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'not on a Sunday'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )

    found_but_not_recorded(conn, ada, "not on a Sunday")


@pytest.fixture
def visitor(conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A connection with the rights of a role that has very few."""
    conn.execute(
        """
        CREATE ROLE visitor;
        GRANT SELECT (id, foursquare_user_id, display_name, avatar_url, secret_token, last_login_at)
           ON users TO visitor
        """
    )
    with psycopg.connect(conn.info.dsn, autocommit=True) as own:
        own.execute("SET ROLE visitor")
        yield own
    conn.execute("DROP OWNED BY visitor; DROP ROLE visitor")


def test_its_caller_needs_few_rights(conn, ada, visitor):
    conn.execute("GRANT UPDATE (last_login_at) ON users TO visitor")

    assert len(visitor.execute(ASK, [TOKEN, NOW]).fetchall()) == 1

    assert seen(conn) == in_column(NOW)


def test_a_caller_who_may_not_write_finds_the_user_all_the_same(ada, visitor):
    found_but_not_recorded(visitor, ada, "permission denied for table users")


def test_it_lends_nobody_rights(conn, ada, visitor):
    conn.execute("REVOKE SELECT (secret_token) ON users FROM visitor")

    with pytest.raises(InsufficientPrivilege):
        visitor.execute(ASK, [TOKEN, NOW])


# --- what it costs --------------------------------------------------------------------------------


def looked(conn: psycopg.Connection) -> dict[str, int]:
    """Count the scans of each index of `users`, and of the table itself."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    rows = conn.execute(
        """
        SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname = 'users'
         UNION ALL
        SELECT 'users', seq_scan FROM pg_stat_user_tables WHERE relname = 'users'
        """
    )
    return dict(rows.fetchall())


def test_a_token_that_is_nobody_s_costs_the_same_look_as_one_that_is(conn, ada):
    conn.execute(
        """
        INSERT INTO users (foursquare_user_id, secret_token)
        SELECT 'g' || n, lpad(to_hex(n), 64, '0') FROM generate_series(1, 20000) AS n;
        ANALYZE users
        """
    )
    conn.execute(ASK, [TOKEN, NOW])
    costs = []
    for token in (TOKEN, "f" * 64, "0" * 64):
        before = looked(conn)
        for _ in range(10):
            conn.execute(ASK, [token, NOW])
        after = looked(conn)
        costs.append({name: after[name] - before[name] for name in after})

    assert costs[0]["users_secret_token_key"] == 10
    assert sum(costs[0].values()) == 10
    assert costs == [costs[0]] * 3


# --- the application's own database ---------------------------------------------------------------


@pytest.mark.parametrize("app", VARIANTS, ids=str)
def test_it_works_on_the_application_s_database_and_its_trigger_follows(
    empty_url: str, app: WebApp
) -> None:
    database.build(empty_url, app)
    migrate.up(empty_url)
    at = datetime.now(UTC) + timedelta(hours=1)
    with psycopg.connect(empty_url, autocommit=True) as conn:
        before = conn.execute("SELECT updated_at FROM users WHERE id = 1").fetchone()

        found = conn.execute(ASK, [f"{1:064}", at]).fetchall()

        assert found == [(1, "f1", "user 1", None)]
        row = conn.execute("SELECT last_login_at, updated_at FROM users WHERE id = 1").fetchone()
        assert row[0] == in_column(at)
        assert row[1] > before[0]


def test_a_column_named_like_an_argument_confuses_nobody(conn, ada):
    conn.execute("ALTER TABLE users ADD token TEXT, ADD at TIMESTAMP, ADD stale INT, ADD due INT")

    assert len(conn.execute(ASK, [TOKEN, NOW]).fetchall()) == 1
    assert seen(conn) == in_column(NOW)
