"""`why`, and what happens next: true in every state, also of a user who is never due."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest

from checkinsync.config.settings import EVERYONE
from checkinsync.store import users
from support.environment import add_users
from support.factories import NOW
from support.stories import Story


def set_state(conn: psycopg.Connection, user: int, **values: object) -> None:
    """A row of `sync_state` with these values, in place of any other."""
    row = {"user_id": user, "last_checked_at": NOW - timedelta(hours=3), **values}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    conn.execute("DELETE FROM sync_state WHERE user_id = %s", [user])
    conn.execute(f"INSERT INTO sync_state ({names}) VALUES ({marks})".encode(), list(row.values()))


HASH = "sha256(convert_to(access_token_encrypted, 'UTF8'))"


@pytest.fixture
def user(conn: psycopg.Connection) -> int:
    [number] = add_users(conn, 1)
    return number


@pytest.fixture
def rejected(conn: psycopg.Connection, user: int) -> bytes:
    """The hash of the stored token, as it is kept with a rejection."""
    return conn.execute(f"SELECT {HASH} FROM users".encode()).fetchone()[0]


def told(conn: psycopg.Connection) -> tuple[str, str | None, str]:
    """State, reason, next action."""
    [status] = users.statuses(conn, at=NOW, days=30)
    assert users.standings(conn, at=NOW, days=30)[0].state == status.state
    return status.state, status.reason, status.next_action


def test_a_user_never_imported_is_new_and_due_in_any_run(conn, user):
    assert told(conn) == ("new", None, "imported in the next run")
    set_state(conn, user, last_checked_at=None)
    assert told(conn) == ("new", None, "imported in the next run")


def test_a_user_imported_is_ok_until_the_next_night(conn, user):
    set_state(conn, user, reason="an old one")
    assert told(conn) == ("ok", None, "imported in the next nightly run")


def test_a_failing_user_is_tried_again(conn, user):
    set_state(conn, user, state="failing", reason="odd", last_checked_at=None)
    assert told(conn) == ("failing", "odd", "tried again in the next nightly run")


@pytest.mark.parametrize(
    ("hours", "action"),
    [
        (1, "imported in the first run after 2026-03-01 03:00:00 UTC"),
        (-1, "imported in the next nightly run"),
    ],
)
def test_a_rate_limited_user_waits_for_the_reset_and_no_longer(conn, user, hours, action):
    at = NOW + timedelta(hours=hours)
    set_state(conn, user, state="rate_limited", reason="used up", retry_at=at)
    assert told(conn) == ("rate_limited", "used up", action)


def test_a_rejected_token_needs_a_login_as_long_as_it_is_stored(conn, user, rejected):
    set_state(conn, user, state="needs_reauth", reason="gone", rejected_token_sha256=rejected)
    state, reason, action = told(conn)
    assert (state, reason) == ("needs_reauth", "gone")
    assert f"`checkinsync login {user}`" in action
    assert f"`checkinsync users set-token {user}`" in action

    conn.execute("UPDATE users SET access_token_encrypted = 'another'")
    assert told(conn) == ("ok", None, "imported in the next nightly run")
    set_state(
        conn, user, state="needs_reauth", rejected_token_sha256=rejected, last_checked_at=None
    )
    assert told(conn) == ("new", None, "imported in the next run")


def test_a_token_that_no_key_decrypts_needs_the_key(conn, user, rejected):
    set_state(
        conn, user, state="needs_reauth", reason="no key", rejected_token_sha256=rejected,
        token_unreadable=True,
    )  # fmt: skip
    assert told(conn)[2].startswith("add the key that encrypted the token to CHECKINSYNC_ENCRYPT")


def test_a_user_without_a_token_must_connect_whatever_was_before(conn, user):
    set_state(conn, user, state="failing", reason="Foursquare did not answer")
    conn.execute("UPDATE users SET access_token_encrypted = NULL")

    state, reason, action = told(conn)

    assert (state, reason) == ("needs_reauth", "no Foursquare token is stored")
    assert action.startswith("must connect Foursquare: in the application, or ")


@pytest.mark.parametrize("state", ["ok", "failing", "rate_limited"])
def test_a_paused_user_has_nothing_to_wait_for(conn, user, state):
    set_state(conn, user, state=state, paused_at=NOW)
    assert told(conn)[0] == "paused"
    assert told(conn)[2] == f"nothing until `checkinsync users resume {user}`"


@pytest.mark.parametrize("state", ["ok", "failing", "rate_limited", None])
@pytest.mark.parametrize(
    ("login", "why"),
    [("2020-01-01", "no login for more than 30 days"), (None, "no login is recorded")],
)
def test_an_inactive_user_is_never_said_to_be_imported_by_a_run(conn, user, state, login, why):
    if state:
        set_state(conn, user, state=state, reason="x", retry_at=NOW + timedelta(hours=1))
    conn.execute("UPDATE users SET last_login_at = %s", [login])

    assert told(conn)[2] == (
        f"nothing: {why} (`checkinsync import-user {user}` imports them all the same)"
    )


def test_where_everyone_counts_somebody_without_a_login_is_active(conn, user):
    conn.execute("UPDATE users SET last_login_at = NULL")

    active = "SELECT id FROM active_users(%s, %s)"

    assert conn.execute(active, [NOW, EVERYONE]).fetchall() == [(user,)]
    assert conn.execute(active, [NOW, 365]).fetchall() == []
    status = "SELECT active, next_action FROM sync_status(%s, %s)"
    assert conn.execute(status, [NOW, EVERYONE]).fetchall() == [(True, "imported in the next run")]


def test_an_import_at_work_is_what_happens_next(conn, user):
    set_state(conn, user, state="failing", reason="x")
    conn.execute(
        "INSERT INTO import_leases VALUES (%s, 'h 1 1', 1, now() + interval '1 minute')", [user]
    )
    assert told(conn)[2] == "being imported or verified now"


def test_why_says_in_one_line_what_was_and_what_comes(story: Story):
    ada = story.person("Ada", 3)
    new = story.run("why", "Ada").out
    assert story.run("import-user", "Ada").code == 0
    fine = story.run("why").out
    story.conn.execute("UPDATE users SET access_token_encrypted = NULL")
    gone = story.run("why", str(ada.id)).out

    assert new == "user 1 (Ada): not imported yet. Next: imported in the next run\n"
    assert fine.startswith("user 1 (Ada): imported at 20")
    assert fine.endswith(" UTC, 3 check-ins stored. Next: imported in the next nightly run\n")
    assert gone.startswith("user 1 (Ada): not imported: no Foursquare token is stored (last at 20")
    [listed] = json.loads(story.run("users", "list", "--json").out)
    assert listed["state"] == "needs_reauth"
