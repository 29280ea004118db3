"""The doctor on what came of the nights: nobody served, dead tokens, quarantine, odd instants."""

from __future__ import annotations

from support.stories import QUIET, Story


def lines(story: Story, check: str) -> list[str]:
    """The findings of one check, without what is in order."""
    out = story.run("doctor").out.splitlines()
    return [line for line in out if line.startswith((f"warning  {check}: ", f"problem  {check}: "))]


def test_users_of_whom_none_is_active_are_a_warning(story: Story):
    story.people(2, 2)
    assert story.run("orchestrate") == QUIET
    assert lines(story, "users") == []
    story.conn.execute("UPDATE users SET last_login_at = '2020-01-01'")

    done = story.run("doctor")

    assert done.code == 0
    assert done.out.startswith("2 users: 2 inactive\n")
    assert "warning  users: none of 2 users is active: no run imports anyone" in done.out
    assert "CHECKINSYNC_ACTIVE_DAYS" in done.out


def test_users_of_whom_none_was_imported_lately_are_a_warning(story: Story):
    story.people(2, 2)
    assert lines(story, "users") == [], "they have only just connected"
    assert story.run("orchestrate") == QUIET
    story.conn.execute("UPDATE sync_state SET last_checked_at = now() - interval '27 hours'")

    assert lines(story, "users") == ["warning  users: none of 2 users was imported within 26 h"]
    assert story.run("doctor").out.startswith("2 users: 2 stale\n")


def test_everybody_paused_is_a_warning_once_the_last_import_is_a_day_old(story: Story):
    story.people(2)
    story.conn.execute("UPDATE users SET created_at = '2020-01-01'")
    story.run("users", "pause", "Ada")

    assert lines(story, "users") == ["warning  users: none of 1 users was imported within 26 h"]


def test_who_must_log_in_again_is_told_by_name_with_the_command(story: Story):
    ada, ben = story.people(2, 2)
    assert story.run("orchestrate") == QUIET
    story.simulator.revoke(ben.token)
    assert story.run("orchestrate").code == 3

    done = story.run("doctor")

    assert done.out.startswith("2 users: 1 ok, 1 must log in again\n")
    assert f"warning  users: must log in again: user {ben.id} (Ben)\n" in done.out
    assert f"`checkinsync users set-token {ben.id}`" in done.out
    assert f"user {ada.id} " not in done.out


def test_ten_who_must_log_in_are_named_and_the_others_counted(story: Story):
    for number in range(12):
        story.person(f"P{number}", 1)
    story.conn.execute("UPDATE users SET access_token_encrypted = NULL")

    line = lines(story, "users")[-1]

    assert line.count("user ") == 10
    assert line.endswith(" and 2 more")


def test_what_is_in_quarantine_is_a_warning(story: Story):
    ada = story.person("Ada", 2)
    story.conn.execute(
        "INSERT INTO quarantined_checkins VALUES (%s, 'x', 'y', 'odd', now(), now())", [ada.id]
    )

    assert lines(story, "quarantine") == [
        "warning  quarantine: check-ins that can't be read or stored: 1"
    ]


def test_instants_in_the_future_are_told_with_their_rows(story: Story):
    ada, ben = story.people(2, 2)
    assert story.run("orchestrate") == QUIET
    story.conn.execute(
        """
        UPDATE sync_state SET last_checked_at = '2999-01-01 UTC', cursor = now() + interval '4 min'
         WHERE user_id = %s
        """,
        [ada.id],
    )
    story.conn.execute("UPDATE users SET created_at = '2999-01-02' WHERE id = %s", [ben.id])

    assert lines(story, "clock") == [
        "warning  clock: instants in the future: user 1 (Ada): sync_state.last_checked_at "
        "2999-01-01 00:00; user 2 (Ben): users.created_at 2999-01-02 00:00"
    ]
