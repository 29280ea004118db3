"""Notices: what a run reports besides its outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checkinsync.errors import AtWork, TokenRejected
from checkinsync.model.changes import Saved
from support.environment import add_users
from support.factories import NOW
from support.nightly import DONE

DAY = timedelta(days=1)


@pytest.fixture
def said(conn, run, clock):
    """Return the notices of a run, except the one about clocks: that of the test stands still."""

    def said(**changes) -> list[str]:
        return [n for n in run(**changes).notices if "clock" not in n]

    return said


def test_a_good_night_says_nothing(conn, said):
    add_users(conn, 2)

    assert said() == []


def test_a_night_without_anybody_connected_says_nothing(said):
    assert said() == []


def test_users_who_are_connected_and_none_active_are_told(conn, said):
    add_users(conn, 3, at=NOW - 31 * DAY)

    [notice] = said()

    assert notice.startswith("no user was imported: 3 users connected, but none")
    assert "CHECKINSYNC_ACTIVE_DAYS" in notice


def test_a_night_in_which_everybody_is_skipped_is_told_with_the_reasons(conn, imports, said):
    one, two = add_users(conn, 2)
    conn.execute("INSERT INTO sync_state (user_id, paused_at) VALUES (%s, now())", [one])
    imports.endings[two] = [AtWork("the web application is importing user 2 itself")]

    [notice] = said()

    assert "1 (paused by an operator)" in notice
    assert "1 (the web application is importing user 2 itself)" in notice


def test_users_imported_just_before_are_served(conn, said):
    add_users(conn, 2)
    conn.execute(
        "INSERT INTO sync_state (user_id, last_checked_at) SELECT id, %s FROM users", [NOW]
    )

    assert said(max_age=timedelta(hours=20)) == []


def test_a_dead_token_is_told_once_and_reminded_of_each_week_in_one_line(
    conn, imports, said, clock
):
    users = add_users(conn, 5)
    for user in users[:2]:
        imports.endings[user] = [TokenRejected("no longer accepted")]

    nights = []
    for _ in range(16):
        nights.append(said())
        clock.at += DAY

    reminders = [number for number, notices in enumerate(nights) if notices]
    assert reminders == [7, 14]
    [line] = nights[7]
    assert line.startswith("2 users must log in to Foursquare again: user 1 (user 1), user 2")
    assert "checkinsync login USER" in line


def test_a_reminder_from_the_future_silences_none(conn, imports, said, clock):
    one, _ = add_users(conn, 2)
    imports.endings[one] = [TokenRejected("no longer accepted")]
    said()
    conn.execute("UPDATE sync_runs SET started_at = %s", [NOW + 400 * DAY])

    assert len(said()) == 1
    assert said() == []


def test_clocks_that_are_apart_are_told(conn, run):
    """The handed-in clock stands in June 2025."""
    add_users(conn, 1)

    [notice] = run().notices

    assert notice.startswith("this machine's clock and the database's are")
    assert f"{NOW:%Y-%m-%d}" in notice


def test_at_most_twenty_are_named(conn, imports, said, clock):
    users = add_users(conn, 60)
    for user in users[:25]:
        imports.endings[user] = [TokenRejected("no longer accepted")]
    said()
    clock.at += 8 * DAY

    [notice] = said()

    assert "user 20 (user 20) and 5 more" in notice


def test_items_newly_in_quarantine_are_told_with_whose_they_are(conn, imports, said):
    one, _ = add_users(conn, 2)
    odd = Saved(quarantined=3, newly_quarantined=2)
    imports.endings[one] = [replace(DONE, saved=odd), replace(DONE, saved=Saved(quarantined=3))]

    [notice] = said()

    assert notice.startswith("2 items from Foursquare could not be read or stored")
    assert "(user 1 (user 1)); `checkinsync quarantine`" in notice
    assert said() == []
