"""Saving a page: a bad check-in affects no other, and a page costs the same in a long history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from msgspec.structs import replace

from checkinsync.model.checkin import Photo
from checkinsync.store.pool import transaction
from checkinsync.sync.save_page import save_page
from support.environment import add_users
from support.factories import NOW, checkin, history

PAGE = 100


def add_long_history(conn: psycopg.Connection, user: int) -> None:
    """Add 20,000 check-ins, all after NOW."""
    conn.execute(
        """
        INSERT INTO checkins (user_id, foursquare_id, venue_name, checkin_date, fingerprint, raw)
        SELECT %(user)s, to_hex(1800000000 + n * 3600) || lpad(to_hex(n), 16, '0'), 'Somewhere',
               to_timestamp(1800000000 + n * 3600) AT TIME ZONE 'UTC', '', '{}'
          FROM generate_series(1, 20000) AS n
        """,
        {"user": user},
    )


def rows_read(conn: psycopg.Connection) -> int:
    """Return the number of rows of `checkins` fetched so far, with and without an index."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    row = conn.execute(
        """
        SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'checkins'
        """
    ).fetchone()
    assert row is not None
    return row[0]


def test_a_page_costs_no_more_after_a_long_history(conn: psycopg.Connection) -> None:
    [user] = add_users(conn, 1)
    add_long_history(conn, user)
    page = history(PAGE, newest=NOW - timedelta(days=1))
    before = rows_read(conn)

    save_page(conn, user, page, now=NOW)
    new = rows_read(conn) - before
    save_page(conn, user, page, now=NOW)
    unchanged = rows_read(conn) - before - new

    assert new <= 2 * PAGE
    assert unchanged <= 2 * PAGE


def test_a_check_in_that_is_shown_again_counts_as_changed_and_as_deleted_no_more(conn, pool):
    [user] = add_users(conn, 1)
    page = history(4)
    save_page(conn, user, page, now=NOW)
    conn.execute("UPDATE checkins SET deleted_at = now() WHERE foursquare_id = %s", [page[0].id])
    edited = replace(page[1], shout="edited", fingerprint=b"edited")

    with transaction(pool) as own:
        saved = save_page(own, user, [page[0], edited, *page[2:]], now=NOW)

    assert (saved.new, saved.changed, saved.unchanged) == (0, 2, 2)
    assert conn.execute("SELECT count(deleted_at) FROM checkins").fetchone() == (0,)


REFUSALS = {
    "a check": "ALTER TABLE checkins ADD CHECK (foursquare_id <> '{id}')",
    "a reference": """
        CREATE TABLE venues (id text PRIMARY KEY);
        INSERT INTO venues VALUES ('venue');
        ALTER TABLE checkins ADD FOREIGN KEY (venue_id) REFERENCES venues
    """,
    "a trigger": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER guard BEFORE INSERT ON checkins
           FOR EACH ROW WHEN (NEW.foursquare_id = '{id}') EXECUTE FUNCTION refuse()
    """,
    "a trigger that says nothing": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER guard BEFORE INSERT ON checkins
           FOR EACH ROW WHEN (NEW.foursquare_id = '{id}') EXECUTE FUNCTION refuse()
    """,
    "a narrow column": "ALTER TABLE checkins ALTER venue_id TYPE varchar(5)",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_check_in_that_the_database_refuses_is_quarantined_and_the_others_are_stored(
    db, conn, pool, refusal
):
    [user] = add_users(conn, 1)
    page = [*history(9), checkin(NOW - timedelta(days=99), 99, venue="another venue")]
    refused = page[-1]
    conn.execute(refusal.format(id=refused.id))

    with transaction(pool) as own:
        saved = save_page(own, user, page, now=NOW)

    assert (saved.new, saved.quarantined) == (9, 1)
    stored = {key for (key,) in conn.execute("SELECT foursquare_id FROM checkins")}
    assert stored == {item.id for item in page[:9]}
    [(key, problem)] = conn.execute("SELECT foursquare_id, problem FROM quarantined_checkins")
    assert key == refused.id
    assert "the database refused a value" in problem


SILENT = """
    CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER guard BEFORE {what} FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION skip()
"""


@pytest.mark.parametrize(
    ("what", "which"),
    [
        ("UPDATE ON checkins", "OLD.foursquare_id = '{id}'"),
        ("INSERT ON checkin_photos", "NEW.foursquare_photo_id = 'the other'"),
    ],
)
def test_what_a_trigger_leaves_out_of_an_edit_is_quarantined_and_comes_with_the_next_import(
    conn, pool, what, which
):
    [user] = add_users(conn, 1)
    page = history(4)
    save_page(conn, user, page, now=NOW)
    photos = tuple(Photo(name, f"https://img/{name}", 1, 1) for name in ("one", "the other"))
    edited = [
        replace(page[0], shout="edited", fingerprint=b"edited"),
        replace(page[1], shout="edited", fingerprint=b"edited", photos=photos),
        *page[2:],
    ]
    conn.execute(SILENT.format(what=what, which=which.format(id=page[1].id)))

    with transaction(pool) as own:
        saved = save_page(own, user, edited, now=NOW)

    assert (saved.changed, saved.quarantined) == (1, 1)
    [(key, problem)] = conn.execute("SELECT foursquare_id, problem FROM quarantined_checkins")
    assert key == page[1].id
    assert problem.endswith(
        " left it out; once the trigger lets it pass, the next import stores it"
    )

    conn.execute("DROP FUNCTION skip CASCADE")
    with transaction(pool) as own:
        assert save_page(own, user, edited, now=NOW).changed == 1
    assert conn.execute("SELECT FROM quarantined_checkins").fetchall() == []


def test_one_that_a_trigger_keeps_marked_as_deleted_is_quarantined(conn, pool):
    [user] = add_users(conn, 1)
    page = history(4)
    save_page(conn, user, page, now=NOW)
    conn.execute("UPDATE checkins SET deleted_at = now()")
    which = f"OLD.foursquare_id = '{page[1].id}'"
    conn.execute(SILENT.format(what="UPDATE ON checkins", which=which))

    with transaction(pool) as own:
        saved = save_page(own, user, page, now=NOW)

    assert (saved.changed, saved.quarantined) == (3, 1)
    deleted = "SELECT foursquare_id FROM checkins WHERE deleted_at IS NOT NULL"
    assert conn.execute(deleted).fetchall() == [(page[1].id,)]


def test_a_row_that_the_application_adds_meanwhile_is_taken_over(db, conn, pool):
    """It is not committed yet when the page is compared, so that the page meets it only later."""
    [user] = add_users(conn, 1)
    page = history(9)
    other = page[4]
    with (
        psycopg.connect(db) as application,
        ThreadPoolExecutor(1) as threads,
        transaction(pool) as own,
    ):
        application.execute(
            """
            INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
            VALUES (%s, %s, 'Somewhere', %s::timestamptz AT TIME ZONE 'UTC')
            """,
            [user, other.venue_id, other.created_at],
        )
        saving = threads.submit(save_page, own, user, page, now=NOW)
        until_waiting(conn, own.info.backend_pid)
        application.commit()
        saved = saving.result()

    assert (saved.new, saved.changed) == (8, 1)
    assert conn.execute("SELECT count(*), count(foursquare_id) FROM checkins").fetchone() == (9, 9)


def until_waiting(conn: psycopg.Connection, pid: int) -> None:
    """Return as soon as a session waits for another one's lock."""
    while not conn.execute("SELECT cardinality(pg_blocking_pids(%s))", [pid]).fetchone()[0]:
        pass
