"""`prune` deletes old records, and nothing that a promise rests on."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from checkinsync.nightly.prune import Ages, Pruned, preview, prune
from checkinsync.store import jobs
from checkinsync.store.pool import Pool, transaction
from support.environment import add_users
from support.factories import NOW

KEPT_FOREVER = (
    "users", "checkins", "checkin_photos", "checkin_revisions", "verified_spans", "sync_state",
    "import_leases", "checkinsync_migrations", "quarantined_checkins",
)  # fmt: skip
"""Tables that no night deletes from."""


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def add_job(conn, user: int, status: str, at: datetime, token: int | None = 1) -> int:
    """An import that ended then; without a token the application's."""
    [number] = conn.execute(
        """
        INSERT INTO import_jobs (user_id, status, started_at, completed_at, lease_token)
        VALUES (%(user)s, %(status)s::text, %(at)s::timestamptz AT TIME ZONE 'UTC',
                CASE WHEN %(status)s::text <> 'running'
                     THEN %(at)s::timestamptz AT TIME ZONE 'UTC' END,
                %(token)s)
        RETURNING id
        """,
        {"user": user, "status": status, "at": at, "token": token},
    ).fetchone()
    return number


def add_run(conn: psycopg.Connection, at: datetime, outcome: str = "ok") -> int:
    [number] = conn.execute(
        "INSERT INTO sync_runs (started_at, host, outcome) VALUES (%s, 'here', %s) RETURNING id",
        [at, outcome],
    ).fetchone()
    return number


def ids(conn: psycopg.Connection, table: str) -> list[int]:
    return [row[0] for row in conn.execute(f"SELECT id FROM {table} ORDER BY id".encode())]


@pytest.fixture
def user(conn: psycopg.Connection) -> int:
    return add_users(conn, 1)[0]


def test_old_runs_go_but_never_the_last_or_one_at_work(conn, pool: Pool):
    add_run(conn, ago(500))
    working, young = add_run(conn, ago(450), "running"), add_run(conn, ago(399))

    assert prune(pool=pool, now=NOW, ages=Ages()).runs == 1
    assert ids(conn, "sync_runs") == [working, young]

    add_run(conn, ago(600))  # by a clock that went wrong
    assert prune(pool=pool, now=NOW, ages=Ages(runs=timedelta())).runs == 1
    assert len(ids(conn, "sync_runs")) == 2


def test_old_imports_go_but_each_users_last_and_last_completed_stay(conn, pool: Pool, user: int):
    add_job(conn, user, "completed", ago(200))
    completed = add_job(conn, user, "completed", ago(190))
    add_job(conn, user, "failed", ago(180))
    last = add_job(conn, user, "failed", ago(170))

    assert prune(pool=pool, now=NOW, ages=Ages()).jobs == 2
    assert ids(conn, "import_jobs") == [completed, last]
    with transaction(pool) as ours:
        assert jobs.latest(ours, user).id == last


def test_young_imports_those_at_work_and_the_applications_stay(conn, pool: Pool, user: int):
    kept = [
        add_job(conn, user, "completed", ago(200), token=None),
        add_job(conn, user, "running", ago(200)),
        add_job(conn, user, "completed", ago(89)),
        add_job(conn, user, "completed", ago(1)),
    ]

    assert not prune(pool=pool, now=NOW, ages=Ages())
    assert ids(conn, "import_jobs") == kept


def test_it_goes_batch_by_batch(conn, pool: Pool, user: int):
    for days in range(120, 100, -1):
        add_job(conn, user, "completed", ago(days))
        add_run(conn, ago(days + 400))

    assert prune(pool=pool, now=NOW, ages=Ages(), batch=3) == Pruned(19, 19, 0, 0)


def test_what_proves_completeness_stays_whatever_its_age(conn, pool: Pool, user: int):
    old = ago(4000)
    conn.execute(
        """
        WITH c AS (
            INSERT INTO checkins (user_id, foursquare_id, venue_name, checkin_date, deleted_at)
            VALUES (%(user)s, 'a', 'there', now(), %(old)s) RETURNING id),
        r AS (
            INSERT INTO checkin_revisions (checkin_id, user_id, what, old_values, new_values,
                                           seen_at)
            SELECT id, %(user)s, '{shout}', '{}', '{}', %(old)s FROM c),
        s AS (
            INSERT INTO verified_spans VALUES (%(user)s, %(old)s, NULL, %(old)s)),
        q AS (
            INSERT INTO quarantined_checkins VALUES (%(user)s, 'a', '', 'odd', %(old)s, %(old)s)),
        l AS (
            INSERT INTO import_leases VALUES (%(user)s, 'gone', 1, '-infinity'))
        INSERT INTO sync_state (user_id, cursor, last_checked_at)
        VALUES (%(user)s, %(old)s, %(old)s)
        """,
        {"user": user, "old": old},
    )
    before = {name: contents(conn, name) for name in KEPT_FOREVER}

    prune(pool=pool, now=NOW, ages=Ages(runs=timedelta(), jobs=timedelta()))

    assert {name: contents(conn, name) for name in KEPT_FOREVER} == before
    assert all(before[name] for name in KEPT_FOREVER if name != "checkin_photos")


def contents(conn: psycopg.Connection, table: str) -> list[str]:
    return sorted(row[0] for row in conn.execute(f"SELECT t::text FROM {table} AS t".encode()))


def test_a_preview_tells_what_would_go_and_deletes_nothing(conn, pool: Pool, user: int):
    for days in (500, 450, 1):
        add_run(conn, ago(days))
        add_job(conn, user, "completed", ago(days))
    before = ids(conn, "sync_runs"), ids(conn, "import_jobs")

    expected = preview(pool=pool, now=NOW, ages=Ages())

    assert (expected.runs, expected.jobs) == (2, 2)
    assert (ids(conn, "sync_runs"), ids(conn, "import_jobs")) == before
    assert prune(pool=pool, now=NOW, ages=Ages(), batch=1) == expected


def test_quarantine_is_pruned_only_where_an_operator_gives_an_age(conn, pool: Pool, user: int):
    for name, days in (("old", 500), ("young", 300)):
        conn.execute(
            "INSERT INTO quarantined_checkins VALUES (%s, %s, '', 'odd', %s, %s)",
            [user, name, ago(days), NOW],
        )

    assert prune(pool=pool, now=NOW, ages=Ages()).quarantine == 0
    assert prune(pool=pool, now=NOW, ages=Ages(quarantine=timedelta(days=400))).quarantine == 1
    [left] = conn.execute("SELECT foursquare_id FROM quarantined_checkins").fetchall()
    assert left == ("young",)


def test_lists_of_verifications_that_are_not_resumed_go(conn, pool: Pool, user: int):
    conn.execute("INSERT INTO verifications VALUES (%s, %s, false)", [user, ago(8)])
    conn.execute(
        "INSERT INTO verification_items VALUES (%s, 'a', 'same', NULL, '', NULL, false, %s)",
        [user, NOW],
    )

    assert prune(pool=pool, now=NOW, ages=Ages()).verifications == 1
    assert conn.execute("SELECT count(*) FROM verification_items").fetchone() == (0,)
