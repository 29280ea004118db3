"""A good night, from an empty database to complete histories, as an operator sees it."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise

import pytest

from checkinsync.foursquare.client import ALWAYS
from support.stories import QUIET, Done, Person

EVENTS = {
    "run_started": {"run_id"},
    "users_found": {"run_id"},
    "user_scheduled": {"run_id", "user_id", "start"},
    "import_started": {"run_id", "user_id"},
    "page_stored": {"run_id", "user_id"},
    "import_finished": {"run_id", "user_id", "new", "changed", "gone", "requests", "seconds"},
    "run_finished": {"run_id"},
}
"""The promised events of a night without trouble, with the fields of each."""


def test_three_added_users_are_imported_two_seconds_apart_and_nobody_is_told(story):
    people = []
    for name, count in (("Ada", 620), ("Ben", 1), ("Chloé", 260)):
        token = story.account(name, count)
        added = story.run("users", "add", given=f"{token}\n")
        assert added == Done(0, f"{len(people) + 1}\n")
        people.append(Person(int(added.out), name, token))
    log = story.folder / "night.log"

    night = story.run(
        "--log-format", "json", "--log-file", str(log), "orchestrate", "--stagger", "2s"
    )

    assert night == QUIET
    assert story.complete(*people)
    starts = [first_page(story, person) for person in people]
    assert [b - a for a, b in pairwise(starts)] == pytest.approx([2, 2], abs=0.7)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"ts", "level", "event"} <= line.keys() for line in lines)
    for event, needed in EVENTS.items():
        told = [line for line in lines if line["event"] == event]
        assert told, event
        assert all(needed <= line.keys() for line in told), event
    assert {line["run_id"] for line in lines} == {1}
    assert lines[0]["event"] == "run_started"
    assert lines[-1]["event"] == "run_finished"
    finished = {x["user_id"]: x["new"] for x in lines if x["event"] == "import_finished"}
    assert finished == {1: 620, 2: 1, 3: 260}
    assert all(datetime.fromisoformat(line["ts"]).tzinfo for line in lines)


def first_page(story, person) -> float:
    return next(x.at for x in story.requests(person) if x.path.endswith("checkins"))


def test_a_night_of_nothing_new_writes_no_check_in_and_asks_once_per_user(story):
    people = story.people(40, 300)
    assert story.run("orchestrate") == QUIET
    before = story.rows("SELECT c::text FROM checkins AS c ORDER BY id")
    asked = len(story.requests())

    assert story.run("orchestrate") == QUIET

    assert story.rows("SELECT c::text FROM checkins AS c ORDER BY id") == before
    assert len(story.requests()) - asked <= 2 * len(people)
    assert {x.params["v"] for x in story.requests()} == {ALWAYS["v"]}


def test_a_night_with_nobody_due_is_a_good_night(story):
    assert story.run("orchestrate") == QUIET
    story.people(10)
    assert story.run("orchestrate") == QUIET
    asked = len(story.requests())

    assert story.run("orchestrate", "--max-age", "20h") == QUIET

    assert len(story.requests()) == asked


def test_verbose_text_goes_to_standard_error_and_json_of_the_run_to_standard_output(story):
    story.people(10)

    night = story.run("-v", "orchestrate", "--json")

    assert night.code == 0
    summary = json.loads(night.out)
    promised = {"id", "started_at", "finished_at", "host", "due", "synced", "failed", "skipped"}
    promised |= {"requests", "new", "changed", "gone", "outcome"}
    assert promised <= summary.keys()
    assert (summary["due"], summary["synced"], summary["new"]) == (1, 1, 10)
    assert " INFO import_finished " in night.err


def test_a_dry_run_tells_who_starts_when_and_writes_nothing(story):
    ada, ben = story.people(10, 20)
    paused = story.person("Paula", 5)
    story.run("users", "pause", str(paused.id))
    before = story.contents()

    plan = story.run("orchestrate", "--dry-run", "--stagger", "90s")
    machine = story.run("orchestrate", "--dry-run", "--stagger", "90s", "--json")

    assert plan.code == machine.code == 0
    assert story.contents() == before
    assert not story.requests()
    assert "2 due, 90 s apart" in plan.out
    assert f"not due: user {paused.id} (Paula): paused by an operator" in plan.out
    users = json.loads(machine.out)["users"]
    assert [user["id"] for user in users] == [ada.id, ben.id]
    first, second = (datetime.fromisoformat(user["start"]) for user in users)
    assert (second - first).total_seconds() == 90


def test_a_plain_log_on_standard_error_is_one_line_per_event(story):
    story.people(10)

    night = story.run("--log-format", "json", "-v", "orchestrate")

    assert night.out == ""
    events = [json.loads(line)["event"] for line in night.err.splitlines()]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"


def test_a_setting_of_ours_that_is_none_is_told_in_the_log_and_disturbs_no_good_night(story):
    person = story.person("Ada", 3)
    log = story.folder / "night.log"

    night = story.run("--log-file", str(log), "orchestrate", stager="2m")
    plain = story.run("orchestrate", stager="2m")

    assert (night, plain) == (QUIET, QUIET)
    assert story.complete(person)
    assert "CHECKINSYNC_STAGGER" in log.read_text()
