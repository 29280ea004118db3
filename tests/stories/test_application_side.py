"""The web application beside us: its writes are respected, and what it reads makes sense."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from checkinsync.simulator.faults import Fault
from support.stories import QUIET, utc_now

CHECKINS = "users/self/checkins"


@pytest.mark.parametrize(("status", "source"), [("pending", "foursquare"), ("running", None)])
def test_the_application_s_own_import_is_respected_for_an_hour(story, status, source):
    ada, ben = story.people(20, 10)
    job = began(story, ada, status, source, minutes=58)
    log = story.folder / "night.log"

    assert story.run("--log-file", str(log), "orchestrate") == QUIET

    assert story.complete(ben)
    assert not story.requests(ada)
    assert f"user_skipped run_id=1 user_id={ada.id} reason=" in log.read_text()
    by_hand = story.run("import-user", str(ada.id))
    assert by_hand.code == 75
    assert "application" in by_hand.err

    story.conn.execute(
        "UPDATE import_jobs SET created_at = %(at)s, started_at = %(at)s WHERE id = %(job)s",
        {"job": job, "at": utc_now() - timedelta(minutes=61)},
    )
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)
    [(closed, message)] = story.rows(
        "SELECT status, error_message FROM import_jobs WHERE id = %s", job
    )
    assert closed == "failed"
    assert "taken over" in message


def test_an_import_of_another_source_is_none_of_our_business(story):
    ada = story.person("Ada", 20)
    job = began(story, ada, "running", "strava", minutes=1)

    assert story.run("orchestrate") == QUIET

    assert story.complete(ada)
    assert story.rows("SELECT status FROM import_jobs WHERE id = %s", job) == [("running",)]


def test_the_application_s_page_sees_an_import_grow(story):
    story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, times=None, seconds=0.4))
    by_hand = story.start("import-user", "Ada")
    seen = []
    while by_hand.popen.poll() is None:
        seen += story.rows(
            """
            SELECT status, data_source, total_imported, total_expected, current_batch, started_at
              FROM import_jobs
            """
        )
        time.sleep(0.02)
    assert by_hand.ended().code == 0

    running = [row for row in seen if row[0] == "running"]
    imported = [row[2] for row in running]
    assert {row[1] for row in seen} == {"foursquare"}
    assert imported == sorted(imported)
    assert len(set(imported)) >= 4
    assert all(row[2] <= row[3] for row in running if row[3] is not None)
    assert {row[3] for row in running if row[4]} == {900}
    assert [row[4] for row in running] == sorted(row[4] for row in running)
    assert all(abs(utc_now() - row[5]) < timedelta(minutes=2) for row in running)
    [last] = story.rows(
        "SELECT status, total_imported, total_expected, error_message FROM import_jobs"
    )
    assert last == ("completed", 900, 900, None)


def test_the_application_s_cursor_is_the_time_the_import_began(story):
    ada = story.person("Ada", 520)
    story.simulator.fail(Fault("slow", path=CHECKINS, times=None, seconds=0.3))
    before = utc_now()

    assert story.run("orchestrate") == QUIET

    first = story.requests(ada)[0].at
    [(cursor,)] = story.rows("SELECT last_sync_at FROM users WHERE id = %s", ada.id)
    assert before <= cursor
    assert (cursor - before).total_seconds() <= first - time.time() + (
        utc_now() - before
    ).total_seconds()


def test_who_has_not_been_here_for_a_month_is_left_out_until_he_comes_back(story):
    ada, ben = story.people(10, 10)
    away = utc_now() - timedelta(days=31)
    story.conn.execute("UPDATE users SET last_login_at = %s WHERE id = %s", [away, ben.id])

    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)
    assert not story.requests(ben)
    assert "no login" in story.run("why", str(ben.id)).out

    story.conn.execute(
        "UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC' WHERE id = %s", [ben.id]
    )
    assert story.run("orchestrate") == QUIET
    assert story.complete(ben)


def test_a_user_removed_by_the_application_in_mid_import_spoils_nothing(story):
    ada, ben = story.people(900, 300)

    def remove() -> None:
        story.conn.execute("DELETE FROM users WHERE id = %s", [ada.id])

    story.at_request(2, remove)
    night = story.run("orchestrate", "--workers", "1")

    assert night == QUIET
    assert story.complete(ben)
    assert not story.rows("SELECT FROM checkins WHERE user_id = %s", ada.id)
    assert not story.rows("SELECT FROM import_leases WHERE expires_at > now()")
    story.simulator.on_request = None
    assert story.run("orchestrate") == QUIET


def test_a_user_removed_by_the_application_before_his_slot_spoils_nothing(story):
    ada, ben = story.people(300, 30)

    def remove() -> None:
        story.conn.execute("DELETE FROM users WHERE id = %s", [ben.id])

    story.at_request(1, remove)

    assert story.run("orchestrate", "--workers", "1") == QUIET
    assert story.complete(ada)


def test_a_user_who_reconnects_before_his_slot_is_imported_with_his_new_token(story):
    ada, ben = story.people(300, 30)
    renewed = []

    def reconnect() -> None:
        story.simulator.revoke(ben.token)
        world = story.simulator.world
        renewed.append(world.grant(world.accounts[ben.token]))
        story.conn.execute(
            "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
            [story.keyring.encrypt(renewed[0]), ben.id],
        )

    story.at_request(1, reconnect)

    assert story.run("orchestrate", "--workers", "1") == QUIET
    story.secrets.add(renewed[0])
    assert story.complete(ada)
    assert story.stored(ben) == sorted(story.simulator.shown_ids(renewed[0]))


def began(story, person, status: str, source: str | None, *, minutes: int) -> int:
    """Add a job of the application of some minutes ago; return its id."""
    at = utc_now() - timedelta(minutes=minutes)
    [(job,)] = story.rows(
        """
        INSERT INTO import_jobs (user_id, status, data_source, created_at, started_at)
        VALUES (%s, %s, %s, %s, %s) RETURNING id
        """,
        *(person.id, status, source, at, at if status == "running" else None),
    )
    return job
