"""The mail of a bad night: short whatever the number of users, grouped, with what to do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from checkinsync.cli.orchestrate import _print
from checkinsync.cli.render import trouble
from checkinsync.errors import (
    DatabaseAway,
    Exit,
    FoursquareAway,
    NoToken,
    PrivilegeMissing,
    TokenRejected,
    TokenUnreadable,
    UnsteadyList,
)
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.summary import RunRecord, RunSummary
from checkinsync.simulator.faults import Fault
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped, UserReport
from support.factories import NOW
from support.stories import QUIET, WRONG_KEY, Story
from support.terminal import on_terminal

AWAY = FoursquareAway("Foursquare did not answer")
REJECTED = TokenRejected("the token is no longer accepted; the user must log in again")
FINE = Imported(Saved(new=3), 2, 1.0, NOW)
CHECKINS = "users/self/checkins"


def user(number: int, name: str | None = None) -> User:
    return User(number, f"f{number}", name or f"P{number}", None)


def summary(*outcomes: Outcome, outcome: str = "partial", run_id: int = 7) -> RunSummary:
    """A run whose users, numbered from 1 on, fared like this."""
    reports = tuple(
        UserReport(user(number), each, 1, Saved()) for number, each in enumerate(outcomes, 1)
    )
    finished = NOW + timedelta(hours=1)
    return RunSummary(run_id, NOW, finished, "web1", reports, (), 9, outcome, 3)


def before(run: RunSummary, **changes: object) -> tuple[RunRecord, dict[str, int]]:
    """What the run before left, had it been this one."""
    record = RunRecord(6, NOW, NOW, "web1", 0, 0, 0, 0, 0, 0, 0, 0, run.outcome)
    return replace(record, **changes), trouble.digest(trouble.groups(run))


# --- its size and its order -----------------------------------------------------------------------


def test_a_night_of_thousands_is_a_page_with_its_cause_first():
    many = summary(*[Failed(AWAY)] * 2003, Failed(REJECTED), Failed(REJECTED), FINE)

    lines = trouble.mail(many, log_file="/var/log/checkinsync.log")

    assert len(lines) <= 40
    assert lines[0].startswith("run 7: partial; 2,006 due, 1 synced, 2,005 failed")
    assert lines[1] == "cause: Foursquare did not answer"
    assert "2,003 users: Foursquare did not answer" in lines
    named = lines[lines.index("2,003 users: Foursquare did not answer") + 1]
    assert named.endswith(" and 1,985 more")
    rejected = f"2 users: {REJECTED}"
    assert lines[lines.index(rejected) + 1] == "  user 2004 (P2004), user 2005 (P2005)"
    names = sum(len(re.findall(r"user \d+ \(", line)) for line in lines if line.startswith("  u"))
    assert names == 20
    assert lines[-1] == (
        'host: web1; log: /var/log/checkinsync.log; help: docs/runbook.md, "Exit code 3"'
    )


def test_as_many_reasons_as_users_are_no_longer_mail():
    letters = [f"{a}{b}{c}" for a in "abcde" for b in "abcde" for c in "abcde"]
    odd = summary(*(Failed(UnsteadyList(f"odd in the manner of {word}")) for word in letters))

    lines = trouble.mail(odd, log_file=None)

    assert len(lines) <= 40
    assert "117 users: 117 other reasons" in lines
    assert lines[1] == "cause: 125 different reasons"
    assert "no log file (set CHECKINSYNC_LOG_FILE)" in lines[-1]


def test_long_names_and_reasons_are_cut_and_stay_on_their_line():
    long = summary(Failed(UnsteadyList("x" * 5000)), Failed(UnsteadyList("\n\x1b[31mred")))
    long = replace(
        long,
        reports=(replace(long.reports[0], user=user(1, "N" * 255)), long.reports[1]),
    )

    lines = trouble.mail(long, log_file=None)

    assert max(map(len, lines)) <= 400
    assert not any("\n" in line or "\x1b" in line for line in lines)


@pytest.mark.parametrize("code", [*Exit, 129, 143])
def test_the_runbook_has_a_section_for_every_exit_code(code: int):
    page, title = re.fullmatch(r'(docs/\S+), "(.+)"', trouble.runbook(code)).groups()

    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")

    assert f"\n## {title}\n" in text


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reasons",
    [
        ("no answer within 30 s (offset 250)", "no answer within 60 s (offset 1,500)"),
        ("back at 02:35:12 UTC", "back at 2026-11-28 03:01 UTC"),
        ("check-in 5f3c0000000000000000000a is odd", "check-in 4e0fe8ddaeb7ea10b4a4e37b is odd"),
        ("no key decrypts the token of user 1 (P1): add it", "no key decrypts the token of "
         "user 2 (P2): add it"),
        ("HTTP 502, try later", "HTTP 503, try later"),
    ],
)  # fmt: skip
def test_reasons_that_differ_in_numbers_ids_times_or_users_are_one(reasons):
    run = summary(*(Failed(UnsteadyList(reason)) for reason in reasons))

    [group] = trouble.groups(run)

    assert group.size == 2
    assert "…" in group.text
    assert not re.search(r"\d", group.text)


def test_the_same_reason_is_told_as_it_was_said():
    [group] = trouble.groups(summary(*[Failed(UnsteadyList("HTTP 502"))] * 2))

    assert group.text == "HTTP 502"


def test_other_reasons_are_other_groups_the_largest_first():
    run = summary(Failed(REJECTED), FINE, Skipped("away"), Skipped("away"), RetryAt(NOW, "full"))

    assert [group.text for group in trouble.groups(run)] == ["away", str(REJECTED), "full"]
    assert [group.size for group in trouble.groups(run)] == [2, 1, 1]


# --- the cause, and what to do --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "reports", "cause"),
    [
        ("away", [Skipped("Foursquare stayed away for 30 minutes")], "Foursquare did not answer"),
        ("away", [Failed(AWAY)], "Foursquare did not answer"),
        ("away", [Failed(DatabaseAway("x"))], "the database could not be reached"),
        ("away", [Skipped("the database stayed away for 2 minutes")], "the database could not be"),
        ("suspect", [Failed(REJECTED)] * 3, "Foursquare rejected more than half of the tokens"),
        ("quota", [RetryAt(NOW, "x")], "the application's daily quota at Foursquare is used up"),
        ("rate_limited", [RetryAt(NOW, "x")], "the hourly rate limit of some users is used up"),
        ("interrupted", [Skipped("interrupted by SIGTERM")], "the run was asked to stop"),
        ("partial", [Failed(REJECTED)], str(REJECTED)),
    ],
)
def test_the_cause_follows_the_run(outcome, reports, cause):
    lines = trouble.mail(summary(*reports, outcome=outcome), log_file=None)

    assert lines[1].startswith(f"cause: {cause}")


@pytest.mark.parametrize(
    ("reports", "action"),
    [
        ([Failed(REJECTED)], "`checkinsync login 1` or `checkinsync users set-token 1`"),
        ([Failed(NoToken("x"))] * 3, "3 users must log in again: in the application, or each by"),
        ([Failed(TokenUnreadable("x"))], "add the key that encrypted the tokens"),
        ([Failed(PrivilegeMissing("x"))], "look at the database: `checkinsync doctor`"),
        ([Failed(AWAY)], "ask whether Foursquare answers now: `checkinsync doctor --online`"),
        ([Skipped("x")], "the next run goes on where this one stopped"),
        ([Failed(UnsteadyList("x"))], "`checkinsync why 1`; `checkinsync -v import-user 1`"),
        ([Failed(KeyError("secret"))], "report the unexpected error, with its traceback"),
    ],
)
def test_each_kind_of_trouble_says_what_to_do(reports, action):
    lines = trouble.mail(summary(*reports), log_file=None)

    actions = lines[lines.index("what to do:") + 1 : -1]
    assert any(action in line for line in actions)
    assert len(actions) <= 2
    assert "secret" not in "\n".join(lines)


def test_if_checkinsync_is_suspected_nobody_is_sent_to_log_in():
    lines = trouble.mail(summary(*[Failed(REJECTED)] * 5, outcome="suspect"), log_file=None)

    assert not any("set-token" in line for line in lines)
    assert any("CHECKINSYNC_TOKEN_IN" in line for line in lines)


# --- the same trouble again -----------------------------------------------------------------------


def test_the_same_trouble_with_no_more_users_is_known():
    first = summary(*[Failed(AWAY)] * 5, outcome="away")
    fewer = summary(*[Failed(AWAY)] * 3, outcome="away", run_id=8)

    assert trouble.is_known(fewer, before(first))
    assert trouble.again(fewer, before(first)[0]) == (
        "run 8 on web1: away, the same trouble as in run 6 (2026-03-01 02:00:00 UTC): 3 users: "
        'Foursquare did not answer; help: docs/runbook.md, "Exit code 3"'
    )


@pytest.mark.parametrize(
    "now",
    [
        summary(*[Failed(AWAY)] * 6, outcome="away"),  # more users
        summary(*[Failed(AWAY)] * 5, outcome="interrupted"),
        summary(Failed(AWAY), Failed(UnsteadyList("odd")), outcome="away"),  # another reason
        summary(Failed(REJECTED), outcome="away"),
    ],
)
def test_anything_new_is_told_at_length(now):
    first = summary(*[Failed(AWAY)] * 5, outcome="away")

    assert not trouble.is_known(now, before(first))
    assert not trouble.is_known(first, None)


def test_another_rejected_token_is_news_unless_checkinsync_is_suspected():
    one = summary(Failed(REJECTED))
    suspect = summary(*[Failed(REJECTED)] * 3, outcome="suspect")

    assert not trouble.is_known(one, before(one))
    assert trouble.is_known(suspect, before(suspect))


# --- notices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_notices_are_printed_whatever_came_of_the_run(capsys, as_json: bool):
    quiet = replace(summary(FINE, outcome="ok"), exit_code=0, notices=("no user is active",) * 2)

    _print(quiet, [], as_json=as_json)

    told = capsys.readouterr()
    assert told.err == "checkinsync: no user is active\n" * 2
    assert bool(told.out) is as_json
    assert not as_json or json.loads(told.out)["notices"] == ["no user is active"] * 2


# --- in a real process ----------------------------------------------------------------------------


def test_cron_gets_the_cause_who_and_what_to_do(story: Story):
    ada, ben = story.people(20, 10)
    story.simulator.revoke(ben.token)
    log = str(story.folder / "night.log")

    night = story.run("--log-file", log, "orchestrate")

    assert night.code == 3
    assert night.out == ""
    lines = night.err.splitlines()
    assert lines[0].startswith("checkinsync: run 1: partial; 2 due, 1 synced, 1 failed")
    assert lines[1].startswith("cause: ")
    assert lines[2].startswith(f"user {ben.id} (Ben): ")
    assert lines[2].endswith("must log in again")
    assert f"`checkinsync login {ben.id}` or `checkinsync users set-token {ben.id}`" in lines[4]
    assert f"log: {log}" in lines[-1]
    assert lines[-1].endswith('help: docs/runbook.md, "Exit code 3"')
    assert ada.name not in night.err


def test_a_run_that_cannot_begin_names_the_section_of_the_runbook_too(story: Story):
    story.people(3)

    night = story.run("orchestrate", encryption_key=WRONG_KEY)
    typed = on_terminal(story, "orchestrate", encryption_key=WRONG_KEY)

    assert (night.code, typed.ended()) == (78, 78)
    assert night.err.splitlines()[-1] == 'help: docs/runbook.md, "Exit code 78"'
    assert "runbook" not in typed.text


def test_runs_that_meet_the_same_trouble_say_it_in_one_line_for_a_day(story: Story):
    ada, ben = story.people(20, 10)
    story.simulator.fail(Fault("user_suspended", token=ben.token, path=CHECKINS, times=None))

    first = story.run("orchestrate", retries="0")
    second = story.run("orchestrate", retries="0")
    third = story.run("orchestrate", retries="0")
    story.conn.execute("UPDATE sync_runs SET started_at = started_at - interval '25 hours'")
    next_day = story.run("orchestrate", retries="0")
    story.simulator.revoke(ada.token)
    news = story.run("orchestrate", retries="0")

    assert [each.code for each in (first, second, third, next_day, news)] == [3] * 5
    assert len(first.err.splitlines()) > 4
    assert re.fullmatch(
        r"checkinsync: run 2 on \S+: partial, the same trouble as in run 1 \(\S+ \S+ UTC\): "
        r"user 2 \(Ben\): .+\n",
        second.err,
    )
    assert "the same trouble as in run 2" in third.err
    assert len(third.err.splitlines()) == 1
    assert len(next_day.err.splitlines()) > 4
    assert "user 1 (Ada)" in news.err
    assert len(news.err.splitlines()) > 4


def test_a_good_run_in_between_is_the_end_of_the_trouble(story: Story):
    [ada] = story.people(20)
    story.simulator.fail(Fault("html", token=ada.token, path=CHECKINS, times=1))
    first = story.run("orchestrate", retries="0")
    assert story.run("orchestrate", retries="0") == QUIET
    story.simulator.fail(Fault("html", token=ada.token, path=CHECKINS, times=1))

    again = story.run("orchestrate", retries="0")

    assert first.err.replace("run 1", "run 3").splitlines()[1:] == again.err.splitlines()[1:]


def test_on_a_terminal_the_trouble_stands_below_the_table_each_time(story: Story):
    [ada] = story.people(20)
    story.simulator.revoke(ada.token)
    story.run("orchestrate")
    story.conn.execute("UPDATE sync_state SET state = 'ok'")

    screen = on_terminal(story, "orchestrate", columns=100)

    assert screen.ended() == 3
    assert "the same trouble" not in screen.text
    after = screen.text.rpartition("run 2: partial;")[2]
    assert "cause: " in after
    assert f"`checkinsync login {ada.id}`" in after
