"""Removing a user: all of their rows, in batches, and no row of another user."""

from __future__ import annotations

import signal

import psycopg
import pytest

from checkinsync.errors import AtWork, UserFailed
from checkinsync.model.user import User
from checkinsync.store.pool import Pool
from checkinsync.users import accounts, queries, removal
from support.environment import add_users
from support.factories import NOW
from support.stories import QUIET, Story

OF_A_USER = """
    SELECT u.id, (SELECT count(*) FROM checkins WHERE user_id = u.id),
           (SELECT count(*) FROM checkin_photos AS p JOIN checkins AS c ON c.id = p.checkin_id
             WHERE c.user_id = u.id),
           (SELECT count(*) FROM import_jobs WHERE user_id = u.id),
           (SELECT count(*) FROM quarantined_checkins WHERE user_id = u.id),
           (SELECT count(*) FROM sync_state WHERE user_id = u.id)
      FROM users AS u ORDER BY u.id
    """


@pytest.fixture
def two(conn: psycopg.Connection, pool: Pool) -> tuple[User, User]:
    """Two users with the same number of rows."""
    numbers = add_users(conn, 2)
    conn.execute(
        """
        INSERT INTO checkins (user_id, venue_name, checkin_date, foursquare_id)
        SELECT u.id, 'somewhere', timestamp '2020-01-01' + n * interval '1 hour', lpad(n::text, 24)
          FROM users AS u, generate_series(1, 25) AS n
        """
    )
    conn.execute(
        """
        INSERT INTO checkin_photos (checkin_id, photo_url)
        SELECT id, 'https://example.org/' || n FROM checkins, generate_series(1, 2) AS n
         WHERE checkin_date < '2020-01-01 12:00'
        """
    )
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, data_source)
        SELECT id, 'completed', s FROM users, unnest(ARRAY['foursquare', 'strava', NULL]) AS s
        """
    )
    conn.execute(
        """
        INSERT INTO quarantined_checkins
        SELECT id, n::text, '{}', 'odd', now(), now() FROM users, generate_series(1, 4) AS n
        """
    )
    conn.execute("INSERT INTO sync_state (user_id) SELECT id FROM users")
    conn.execute(
        """
        INSERT INTO checkin_revisions (checkin_id, user_id, what, old_values, new_values, seen_at)
        SELECT id, user_id, '{shout}', '{}', '{}', now()
          FROM checkins WHERE checkin_date < '2020-01-01 03:00'
        """
    )
    conn.execute(
        """
        INSERT INTO verified_spans (user_id, newest, verified_at) SELECT id, now(), now() FROM users
        """
    )
    conn.execute(
        """
        INSERT INTO verifications (user_id, started_at, repairs) SELECT id, now(), false FROM users
        """
    )
    conn.execute(
        """
        INSERT INTO verification_items (user_id, foursquare_id, finding, detail, seen_at)
        SELECT id, 'a', 'same', '', now() FROM users
        """
    )
    one, other = (accounts.find(str(number), pool=pool) for number in numbers)
    return one, other


@pytest.mark.parametrize("batch", [1, 5, 10, 1000])
def test_everything_goes_and_is_told_in_numbers(
    conn: psycopg.Connection, pool: Pool, two: tuple[User, User], batch: int
) -> None:
    one, other = two

    removed = removal.remove(one, pool=pool, now=NOW, batch=batch)

    assert removed == {
        "photos": 22,
        "revisions": 2,
        "check-ins": 25,
        "jobs": 3,
        "items in quarantine": 4,
        "verified stretches": 1,
        "items of a verification": 1,
    }
    assert conn.execute(OF_A_USER).fetchall() == [(other.id, 25, 22, 3, 4, 1)]
    left = conn.execute("SELECT user_id FROM import_leases").fetchall()
    assert left == []


def test_a_batch_that_is_committed_stays_and_the_next_removal_goes_on(
    conn: psycopg.Connection, db: str, pool: Pool, two: tuple[User, User]
) -> None:
    one, _ = two
    with psycopg.connect(db) as application:
        application.execute(
            """
            SELECT FROM checkins WHERE user_id = %s ORDER BY checkin_date DESC LIMIT 1 FOR UPDATE
            """,
            [one.id],
        )
        with pytest.raises(AtWork, match="another program is at work on rows of user"):
            removal.remove(one, pool=pool, now=NOW, batch=10)

        [(_, checkins, photos, jobs, _, _), _] = conn.execute(OF_A_USER).fetchall()
        assert (checkins, photos, jobs) == (5, 0, 3)
        stands = conn.execute(
            "SELECT state, next_action, reason FROM sync_status(now(), 30) WHERE id = %s", [one.id]
        ).fetchone()
        assert stands is not None
        assert stands[0] == "paused"
        assert stands[2] == f"is being removed; `checkinsync users remove {one.id}` ends it"

    assert removal.remove(one, pool=pool, now=NOW, batch=10)["check-ins"] == 5


def test_an_import_at_work_is_respected(
    conn: psycopg.Connection, pool: Pool, two: tuple[User, User]
) -> None:
    one, other = two
    before = conn.execute(OF_A_USER).fetchall()
    conn.execute("INSERT INTO import_leases VALUES (%s, 'elsewhere', 1, now() + '90 s')", [one.id])
    conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, created_at)
        VALUES (%s, 'running', now() AT TIME ZONE 'UTC')
        """,
        [other.id],
    )

    for user in two:
        with pytest.raises(AtWork, match="is being imported now"):
            removal.remove(user, pool=pool, now=NOW)

    conn.execute("DELETE FROM import_jobs WHERE status = 'running'")
    assert conn.execute(OF_A_USER).fetchall() == before
    assert accounts.find(str(one.id), pool=pool).encrypted_token is not None


def test_nobody_can_import_him_meanwhile(
    conn: psycopg.Connection, pool: Pool, two: tuple[User, User]
) -> None:
    one, _ = two
    conn.execute(
        """
        CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT FROM import_leases WHERE expires_at > now() + '80 s')
               OR EXISTS (SELECT FROM users WHERE id = OLD.user_id
                                              AND access_token_encrypted IS NOT NULL) THEN
                RAISE 'an import could start now';
            END IF;
            RETURN OLD;
        END
        $$;
        CREATE TRIGGER busy BEFORE DELETE ON checkins FOR EACH ROW EXECUTE FUNCTION busy()
        """
    )

    assert removal.remove(one, pool=pool, now=NOW, batch=10)["check-ins"] == 25


@pytest.mark.parametrize("checked", ["IMMEDIATE", "DEFERRED"])
def test_a_table_of_the_application_that_holds_on_to_him_is_named(
    conn: psycopg.Connection, pool: Pool, two: tuple[User, User], checked: str
) -> None:
    one, other = two
    conn.execute(
        """
        CREATE TABLE strava_rides (user_id INTEGER REFERENCES users (id) DEFERRABLE);
        CREATE TABLE strava_bikes (user_id INTEGER REFERENCES users (id) ON DELETE CASCADE);
        """
    )
    conn.execute(
        f"ALTER TABLE strava_rides ALTER CONSTRAINT strava_rides_user_id_fkey INITIALLY {checked}"
    )
    conn.execute("INSERT INTO strava_rides SELECT id FROM users")
    conn.execute("INSERT INTO strava_bikes SELECT id FROM users")

    with pytest.raises(UserFailed, match="table strava_rides refer to them"):
        removal.remove(one, pool=pool, now=NOW)

    conn.execute("DELETE FROM strava_rides")
    removal.remove(one, pool=pool, now=NOW)
    assert conn.execute("SELECT user_id FROM strava_bikes").fetchall() == [(other.id,)]


ONE_ROW = {"sync_state", "verifications"}
"""Tables with one row for each user, which cascades from `users` and is not counted."""


def test_no_table_of_ours_is_left_out(conn: psycopg.Connection) -> None:
    """Every table that refers to users or check-ins is deleted from, and counted."""
    rows = conn.execute(
        """
        SELECT conrelid::regclass::text, confdeltype = 'c' FROM pg_constraint
         WHERE contype = 'f' AND confrelid IN ('users'::regclass, 'checkins'::regclass)
        """
    ).fetchall()
    deleting = "".join(queries.REMOVAL.values())

    assert all(cascades for _, cascades in rows)
    assert {table for table, _ in rows if f"DELETE FROM {table} " not in deleting} == ONE_ROW


# --- by the command -------------------------------------------------------------------------------


def kept(story: Story, user: int) -> int:
    return int(story.rows("SELECT count(*) FROM checkins WHERE user_id = %s", user)[0][0])


def test_killed_half_way_he_is_not_imported_and_the_next_removal_ends_it(story: Story) -> None:
    ada, ben = story.people(1200, 20)
    assert story.run("orchestrate") == QUIET
    with psycopg.connect(story.url) as application:
        application.execute(
            """
            SELECT FROM checkins WHERE user_id = %s ORDER BY checkin_date DESC LIMIT 1 FOR UPDATE
            """,
            [ada.id],
        )
        removing = story.start("users", "remove", str(ada.id), "--yes")
        story.until(lambda: kept(story, ada.id) == 200)
        removing.signal(signal.SIGKILL)
        assert removing.ended().code == -signal.SIGKILL

    asked = len(story.requests(ada))
    assert story.run("orchestrate") == QUIET
    assert story.run("import-user", str(ada.id)).code == 4
    assert len(story.requests(ada)) == asked
    assert kept(story, ada.id) == 200

    again = story.run("users", "remove", str(ada.id), "--yes")

    assert again.code == 0
    assert "200 check-ins" in again.out
    assert story.rows("SELECT id FROM users") == [(ben.id,)]
    assert story.complete(ben)


def test_others_are_imported_while_somebody_is_removed(story: Story) -> None:
    ada, ben = story.people(1200, 300)
    assert story.run("import-user", str(ada.id)).code == 0
    story.at_request(2, lambda: story.start("users", "remove", str(ada.id), "--yes"))
    assert story.run("import-user", str(ben.id)).code == 0

    assert [process.ended().code for process in story.processes] == [0, 0, 0]
    assert story.complete(ben)
    assert story.rows("SELECT id FROM users") == [(ben.id,)]
