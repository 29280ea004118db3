"""`checkinsync status`: for a person at a terminal, for a pipe, for a monitor."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from checkinsync.simulator.faults import Fault
from support.schemas import check
from support.stories import QUIET, Story
from support.terminal import on_terminal, shown

WIDE = "山田太郎とても長い名前の人です \U0001f600 und noch viel mehr"


def add_rows(story: Story, count: int, *, state: str = "ok") -> None:
    """Users by the hundred, imported three hours ago."""
    story.conn.execute(
        """
        WITH made AS (
            INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted,
                               secret_token)
            SELECT 'f' || n, 'user number ' || n, 'sealed', 's' || n
              FROM generate_series(1, %(count)s) AS n
            RETURNING id)
        INSERT INTO sync_state (user_id, state, last_checked_at)
        SELECT id, %(state)s, now() - interval '3 hours 5 minutes' FROM made
        """,
        {"count": count, "state": state},
    )


def table_of(text: str) -> list[str]:
    """The lines about users."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("user "))
    return [line for line in lines[start + 1 :] if line[:1] == " " or line[:1].isdigit()]


@pytest.fixture
def everyone(story: Story) -> dict[str, int]:
    """A user in each state, by the state; made in one order, shown in another."""
    people = {
        name: story.person(WIDE if name == "failing" else name, 2).id
        for name in ("ok", "inactive", "paused", "stale", "failing", "needs_reauth", "rate_limited")
    }
    story.conn.execute(
        """
        INSERT INTO sync_state (user_id, last_checked_at)
        SELECT id, now() - interval '3 hours 5 minutes' FROM users
        """
    )
    changes = {
        "paused": "paused_at = now()",
        "stale": "last_checked_at = now() - interval '50 hours'",
        "failing": "state = 'failing', reason = 'odd'",
        "rate_limited": "state = 'rate_limited', reason = 'x', retry_at = now() + '1 h'",
    }
    for name, change in changes.items():
        story.conn.execute(
            f"UPDATE sync_state SET {change} WHERE user_id = {people[name]}".encode()
        )
    story.conn.execute("UPDATE users SET last_login_at = '2020-01-01' WHERE id = %s",
                       [people["inactive"]])  # fmt: skip
    story.conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s",
                       [people["needs_reauth"]])  # fmt: skip
    people["new"] = story.person("new", 2).id
    return people


COUNTS = (
    "8 users: 1 ok, 1 new, 1 stale, 1 must log in again, 1 failing, 1 rate-limited, 1 paused, "
    "1 inactive"
)
TROUBLE_FIRST = [
    "needs_reauth", "failing", "rate_limited", "stale", "new", "ok", "paused", "inactive",
]  # fmt: skip


# --- on a terminal --------------------------------------------------------------------------------


def test_eighty_columns_are_enough_and_trouble_comes_first(story: Story, everyone):
    story.conn.execute(
        """
        INSERT INTO sync_runs (started_at, host, due, synced, failed, new, requests, outcome)
        VALUES (now(), 'here', 10000, 9999, 1, 123456, 98765, 'rate_limited')
        """
    )

    screen = on_terminal(story, "status", columns=80)

    assert screen.ended() == 0
    assert screen.width <= 80
    states = [line[33:].split() for line in table_of(screen.text)]
    assert len(states) == len(everyone)
    assert "last checked" in screen.text
    assert all(name in screen.text for name in ("山田太郎", "users set-token"))


def test_the_order_and_the_counts_say_who_needs_a_look(story: Story, everyone):
    screen = on_terminal(story, "status", columns=100)

    ids = [int(line.split()[0]) for line in table_of(screen.text)]
    assert ids == [everyone[name] for name in TROUBLE_FIRST]
    assert " ".join(screen.text.split("\n\n")[0].split()) == COUNTS
    assert [line for line in screen.lines if " 3 h ago " in line]
    assert [line for line in screen.lines if " 2 d ago " in line]
    assert [line for line in screen.lines if " never " in line]


@pytest.mark.parametrize("columns", [80, 130])
def test_more_room_shows_the_whole_next_action_and_wide_every_column(
    story: Story, everyone, columns: int
):
    screen = on_terminal(story, "status", columns=columns)
    wide = on_terminal(story, "status", "--wide", columns=columns)

    resume = f"nothing until `checkinsync users resume {everyone['paused']}`"
    assert (resume in screen.text) is (columns == 130)
    assert screen.width <= columns
    assert resume in wide.text
    assert "oldest comparison" in wide.text
    assert WIDE in wide.text


def test_a_hundred_users_are_shown_and_the_others_counted(story: Story):
    add_rows(story, 123)
    add_rows_failing(story)

    screen = on_terminal(story, "status")
    few = on_terminal(story, "status", "--limit", "2")
    all_ = on_terminal(story, "status", "--limit", "124")

    assert screen.lines[0] == "124 users: 123 ok, 1 failing"
    assert len(table_of(screen.text)) == 100
    assert "and 24 more users (--limit 124 shows all)" in screen.text
    assert "failing" in table_of(screen.text)[0]
    assert len(table_of(few.text)) == 2
    assert len(table_of(all_.text)) == 124
    assert "more users" not in all_.text


def add_rows_failing(story: Story) -> None:
    story.conn.execute(
        """
        WITH made AS (
            INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted,
                               secret_token)
            VALUES ('last', 'Last', 'sealed', 'last') RETURNING id)
        INSERT INTO sync_state (user_id, state, reason) SELECT id, 'failing', 'odd' FROM made
        """
    )


# --- in a pipe ------------------------------------------------------------------------------------


def test_a_pipe_gets_everything_uncut_and_loads_no_rich(story: Story, everyone):
    add_rows(story, 120)
    program = (
        "import sys; from checkinsync.__main__ import _run; sys.argv = ['checkinsync', 'status']; "
        "_run(); print(*(m for m in sys.modules if m.partition('.')[0] == 'rich'), file=sys.stderr)"
    )

    piped = subprocess.run([sys.executable, "-c", program], env=story.environ, capture_output=True,
                           text=True, check=True)  # fmt: skip

    assert piped.stderr.strip() == ""
    assert len(table_of(piped.stdout)) == 128
    assert WIDE in piped.stdout
    assert "…" not in piped.stdout
    assert "\x1b" not in piped.stdout
    assert len(table_of(story.run("status", "--limit", "3").out)) == 3


def test_states_can_be_chosen(story: Story, everyone):
    def chosen(*words: str) -> list[int]:
        users = json.loads(story.run("status", "--json", *words).out)["users"]
        return [user["id"] for user in users]

    assert chosen("--state", "stale") == [everyone["stale"]]
    assert chosen("--state", "paused", "--state", "inactive") == sorted(
        [everyone["paused"], everyone["inactive"]]
    )
    assert chosen("--state", "ok", "--limit", "1") == [everyone["ok"]]
    assert chosen() == sorted(everyone.values())
    none = story.run("status", "--state", "failing", "--limit", "1")
    assert len(table_of(none.out)) == 1
    assert none.out.startswith(COUNTS + "\n"), "all are counted"
    assert story.run("status", "--state", "odd").code == 2


def test_programs_get_the_counts_and_the_state_new(story: Story, everyone):
    told = json.loads(story.run("status", "--json").out)

    assert told["counts"] == dict.fromkeys(
        ("ok", "new", "stale", "needs_reauth", "failing", "rate_limited", "paused", "inactive"), 1
    )
    states = {user["id"]: user["state"] for user in told["users"]}
    assert states[everyone["new"]] == "new"
    assert states[everyone["stale"]] == "ok"
    assert states[everyone["inactive"]] == "ok"
    assert told["run_at_work"] is False


def test_without_users_it_says_how_to_add_one(story: Story):
    assert story.run("status").out.startswith("no users yet; `checkinsync users add` adds one\n")


# --- a run at work --------------------------------------------------------------------------------


def test_a_run_at_work_is_shown_with_its_progress_and_a_dead_one_as_killed(story: Story):
    story.people(3, 2)
    night = story.start("orchestrate", "--stagger", "1h")
    story.until(lambda: story.rows("SELECT FROM sync_state WHERE last_checked_at IS NOT NULL"))

    working = story.run("status")
    night.popen.kill()
    night.popen.wait()
    dead = story.run("status")

    assert "run 1 at work since " in working.out
    assert "1 of 2 users imported" in working.out
    assert "at work" not in dead.out
    assert "killed" in dead.out
    assert json.loads(story.run("status", "--json").out)["runs"][0]["outcome"] == "killed"


def test_an_import_at_work_is_shown_by_name(story: Story):
    story.person("Ada", 600)
    story.asleep("import-user", "Ada", at_request=2)

    told = story.run("status")

    assert "\nat work: user 1 (Ada), page 1, 250 of 600 check-ins, since 20" in told.out
    assert "run " not in told.out.partition("\n\n")[0]
    assert "being imported or verified now" in told.out


def test_watching_ends_with_the_run(story: Story):
    story.people(3, 2)
    night = story.start("orchestrate", "--stagger", "3s")
    story.until(lambda: story.rows("SELECT FROM sync_runs"))

    with shown(story, "status", "--watch") as screen:
        code = screen.ended()

    assert night.ended() == QUIET
    assert code == 0
    assert "run 1 at work since " in screen.text
    assert screen.text.count("2 users: ") >= 2
    assert screen.raw.count("\x1b[2J") >= 2
    last = screen.raw.rpartition("\x1b[2J")[2]
    assert "at work" not in last
    assert "2 users: 2 ok" in last


def test_watching_ends_when_asked_to_and_without_a_run_at_once(story: Story):
    story.people(3, 2)
    without = on_terminal(story, "status", "--watch")
    story.start("orchestrate", "--stagger", "1h")
    story.until(lambda: story.rows("SELECT FROM sync_runs"))

    with shown(story, "status", "--watch") as screen:
        story.until(lambda: "at work since" in screen.text)
        screen.popen.send_signal(signal.SIGINT)
        code = screen.ended()

    assert without.ended() == 0
    assert "2 users: 2 new" in without.text
    assert code == 130
    assert "interrupted" not in screen.text, "nothing was"


@pytest.mark.parametrize("words", [(), ("--json",), ("--max-age", "26h")])
def test_only_a_terminal_can_be_watched(story: Story, words):
    assert story.run("status", "--watch", *words).code == 2


# --- a monitor ------------------------------------------------------------------------------------


def monitored(story: Story, *words: str) -> tuple[int, list[str]]:
    """The exit code and who is stale; a mail about them ends with the section of the runbook."""
    done = story.run("status", "--max-age", "26h", *words)
    *lines, last = [*done.err.splitlines(), ""] if done.code == 0 else done.err.splitlines()
    assert last == ('help: docs/runbook.md, "Exit code 7"' if done.code else "")
    return done.code, lines


def test_one_who_must_log_in_again_is_stale_only_if_asked_for_strictly(story: Story):
    _, ben = story.people(3, 2)
    assert story.run("orchestrate") == QUIET
    assert monitored(story, "--strict") == (0, [])
    story.simulator.revoke(ben.token)
    assert story.run("orchestrate").code == 3

    assert monitored(story) == (0, [])
    code, [line] = monitored(story, "--strict")
    assert code == 7
    assert line.startswith(f"checkinsync: stale: user {ben.id} (Ben): not imported: ")
    assert f"checkinsync login {ben.id}" in line
    assert story.run("status", "--strict").code == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE sync_state SET paused_at = now(), last_checked_at = now() - interval '3 days'",
            "no user is fresh (2 users: 2 paused)",
        ),
        (
            "UPDATE users SET last_login_at = '2020-01-01'",
            "no user is active (2 users: 2 inactive)",
        ),
        (
            "UPDATE users SET access_token_encrypted = NULL; DELETE FROM sync_state",
            "no user is fresh (2 users: 2 must log in again)",
        ),
    ],
)
def test_if_nobody_is_served_a_monitor_hears_of_it_whatever_the_reason(story, change, reason):
    story.people(3, 2)
    assert story.run("orchestrate") == QUIET
    assert monitored(story) == (0, [])
    for statement in change.split("; "):
        story.conn.execute(statement)

    assert monitored(story) == (7, [f"checkinsync: stale: {reason}"])
    assert f"no user is served: {reason.partition(' (')[0]}" in story.run("status").out


@pytest.mark.parametrize("column", ["sync_state SET last_checked_at", "users SET created_at"])
def test_an_instant_in_the_future_is_never_fresh(story: Story, column: str):
    ada, ben = story.people(3, 2)
    assert story.run("import-user", str(ben.id)).code == 0
    assert monitored(story) == (0, [])
    story.conn.execute(
        "INSERT INTO sync_state (user_id) VALUES (%s) ON CONFLICT DO NOTHING", [ada.id]
    )
    where = "user_id" if column.startswith("sync") else "id"
    story.conn.execute(f"UPDATE {column} = '2999-01-01' WHERE {where} = {ada.id}".encode())

    code, [line] = monitored(story)

    assert code == 7
    assert "user 1 (Ada)" in line
    assert json.loads(story.run("status", "--json").out)["users"][0]["fresh"] is False


def test_without_users_nobody_is_stale(story: Story):
    assert monitored(story, "--strict") == (0, [])


def test_twenty_stale_users_are_named_and_the_others_counted(story: Story):
    add_rows(story, 45)
    story.conn.execute("UPDATE sync_state SET last_checked_at = '2020-01-01'")

    code, lines = monitored(story)

    assert code == 7
    assert len(lines) == 21
    assert lines[-1] == "checkinsync: stale: and 25 more users"


def test_watching_tells_who_now_who_next_until_when_and_who_is_tried_again_and_why(story: Story):
    ada, *_ = story.people(3, 3, 3, 3)
    story.simulator.fail(Fault("rate_limit_exceeded", token=ada.token, seconds=600))
    night = story.start("orchestrate", "--stagger", "10m", "--deadline", "3h")
    story.until(lambda: story.rows("SELECT FROM sync_runs WHERE progress->'again'->0 IS NOT NULL"))

    with shown(story, "status", "--watch") as screen:
        story.until(lambda: "again: " in screen.text and "page" not in screen.text)
        screen.popen.send_signal(signal.SIGINT)
        screen.ended()
    told = json.loads(story.run("status", "--json").out)
    night.signal(signal.SIGTERM)
    night.ended()

    assert screen.width <= 80
    [run] = told["runs"]
    clock = datetime.fromisoformat(run["started_at"])
    lines = screen.text.splitlines()
    assert (
        f"it ends at {clock + timedelta(hours=3):%H:%M:%S} UTC at the latest; 4 users"
        in screen.text
    )
    assert f"next: user 2 (Ben) at {clock + timedelta(minutes=10):%H:%M:%S}" in lines
    [again] = {line for line in lines if line.startswith("again: ")}
    assert re.match(
        r"again: user 1 \(Ada\) at \d\d:\d\d:\d\d: this user.s requests for the hour are used up",
        again,
    )
    check("status", told)
    assert story.rows("SELECT count(*) FROM sync_runs WHERE progress IS NOT NULL") == [(0,)]


def test_a_pause_is_told_with_its_reason_and_the_next_question(story: Story):
    story.people(3, 3, 3)
    story.simulator.fail(*[Fault("reset", nth=n) for n in range(1, 40)])
    night = story.start("orchestrate", retries="0")
    story.until(lambda: story.rows("SELECT FROM sync_runs WHERE progress->>'paused' IS NOT NULL"))

    told = story.run("status")
    night.signal(signal.SIGTERM)

    assert re.search(
        r"^paused since \d\d:\d\d:\d\d: Foursquare does not answer; asked again at \d\d:", told.out,
        re.MULTILINE,
    )  # fmt: skip
    assert night.ended().code == 143
