"""Every `--json` against its schema, and the schemas against what was promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from checkinsync.cli import checkinsync
from checkinsync.simulator.faults import Fault
from support import made
from support.schemas import SCHEMAS, check, names
from support.stories import Story

PROMISED = Path(__file__).with_name("promised_names.txt")


# --- the schemas ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_a_schema_is_one_and_describes_every_name(name: str):
    Draft202012Validator.check_schema(SCHEMAS[name])
    for node in nodes(SCHEMAS[name]):
        if "properties" in node:
            assert node["type"] == "object" or "object" in node["type"]
            assert set(node["required"]) <= set(node["properties"])
            assert all("description" in below for below in node["properties"].values())


def nodes(node: object) -> Iterator[dict]:
    if isinstance(node, list):
        for below in node:
            yield from nodes(below)
    if isinstance(node, dict):
        yield node
        yield from (each for below in node.values() for each in nodes(below))


def test_what_several_answers_share_is_the_same_in_each():
    shared: dict[str, dict] = {}
    for schema in SCHEMAS.values():
        for name, node in schema.get("$defs", {}).items():
            assert shared.setdefault(name, node) == node, name


def test_no_name_that_was_promised_goes():
    """A new name is added to the list; a line that is there stays."""
    listed = PROMISED.read_text(encoding="utf-8").splitlines()
    known = [f"{answer} {name}" for answer, schema in SCHEMAS.items() for name in names(schema)]

    assert sorted(set(listed) - set(known)) == []
    assert sorted(set(known) - set(listed)) == [], "promise these, too"


def test_every_command_with_json_has_a_schema():
    told = {schema["title"] for schema in SCHEMAS.values()}

    missing = [
        path
        for path, command in walk(checkinsync, "checkinsync")
        if any("--json" in option.opts for option in command.params)
        if not any(title.startswith(path) and "--json" in title for title in told)
    ]

    assert missing == []


def walk(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_the_page_about_json_is_what_the_schemas_say():
    page = made.ROOT / "docs" / "json.md"

    assert page.read_text(encoding="utf-8") == made.pages()[page], "run `make docs`"


# --- the answers ----------------------------------------------------------------------------------

ANSWERS = {
    "status": "status --json",
    "users-list": "users list --json",
    "users-show": "users show Ada --json",
    "why": "why Ada --json",
    "quarantine": "quarantine --json",
    "orchestrate-dry-run": "orchestrate --dry-run --json",
    "migrate-plan": "migrate --plan --json",
    "migrate-status": "migrate --status --json",
    "doctor": "doctor --json",
    "rotate-keys": "rotate-keys --dry-run --json",
    "verify": "verify Ada --json",
}
"""Commands that only look, which can run beside each other."""


def test_every_answer_is_as_described(story: Story):
    ada = story.person("Ada", 300)
    ben = story.person("Ben", 3)
    story.simulator.revoke(ben.token)
    bad, edited = story.shown(ada)[7:9]
    story.conn.execute(
        f"ALTER TABLE checkins ADD CONSTRAINT picky CHECK (foursquare_id <> '{bad}')".encode()
    )

    check("orchestrate", json.loads(story.run("orchestrate", "--json").out))
    story.conn.execute("DELETE FROM checkins WHERE foursquare_id = %s", [edited])
    check("verify-all", json.loads(story.run("verify", "--json").out))
    check("import-user", json.loads(story.run("import-user", "Ada", "--json").out))
    started = {name: story.start(*line.split()) for name, line in ANSWERS.items()}
    for name, process in started.items():
        check(name, json.loads(process.ended().out))


def test_an_import_at_work_and_a_verification_without_a_verdict_are_as_described(story: Story):
    story.person("Ada", 600)
    importing = story.asleep("import-user", "Ada", at_request=2)

    told = json.loads(story.run("status", "--json").out)
    unverified = json.loads(story.run("verify", "Ada", "--json").out)

    check("status", told)
    check("verify", unverified)
    assert told["running"]
    assert unverified["verdict"] is None
    importing.popen.kill()


def test_a_plan_of_an_old_database_is_as_described(story: Story, empty_url: str):
    story.environ |= {"CHECKINSYNC_DATABASE_URL": empty_url}

    check("migrate-plan", json.loads(story.run("migrate", "--plan", "--json").out))
    check("migrate-status", json.loads(story.run("migrate", "--status", "--json").out))


# --- errors ---------------------------------------------------------------------------------------


def test_an_error_is_one_too_and_is_said_to_people_as_well(story: Story):
    story.person("Ada", 3)
    away = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/none"}
    started = [
        (story.start("why", "Nobody", "--json"), "UnknownUser", 2),
        (story.start("migrate", "--status", "--json", **away), "DatabaseAway", 69),
        (story.start("status", "--json", stagger="often"), "SettingsError", 78),
        (story.start("migrate", "--check", "--json"), "UsageError", 2),
    ]

    for process, kind, code in started:
        done = process.ended()
        told = json.loads(done.out)
        check("error", told)
        assert (done.code, told["error"]["exit_code"]) == (code, code)
        assert told["error"]["kind"] == kind
        assert told["error"]["message"] in done.err


def test_an_import_that_fails_is_one_result_and_no_error_besides(story: Story):
    ada = story.person("Ada", 3)
    story.simulator.fail(Fault("rate_limit_exceeded", token=ada.token, seconds=600))

    done = story.run("import-user", "Ada", "--json")

    told = json.loads(done.out)
    check("import-user", told)
    assert (done.code, told["outcome"]) == (5, "rate_limited")
    assert done.err.startswith("checkinsync: ")


def test_without_json_standard_output_stays_empty(story: Story):
    assert story.run("why", "Nobody").out == ""
