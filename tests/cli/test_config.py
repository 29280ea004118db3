"""`checkinsync config`: the file it writes, what it shows, the mistakes it finds."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from checkinsync.cli import checkinsync
from checkinsync.config import settings
from checkinsync.errors import CheckinsyncError

Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A command in this process, with no other environment than this."""

    def run(*words: str, **environ: str) -> Result:
        path = str(tmp_path / "etc" / "our.toml")
        surroundings = dict.fromkeys(settings.CERTIFICATES) | {"CHECKINSYNC_CONFIG": path}
        env = surroundings | {f"CHECKINSYNC_{k.upper()}": v for k, v in environ.items()}
        return CliRunner().invoke(checkinsync, ["config", *words], env=env)

    return run


def test_init_makes_the_file_where_it_is_looked_for_and_replaces_none(
    typed: Typed, tmp_path: Path
) -> None:
    path = tmp_path / "etc" / "our.toml"

    made = typed("init")
    again = typed("init")

    assert made.output == f"wrote {path}\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert isinstance(again.exception, CheckinsyncError)
    assert again.exception.exit_code == 2
    assert f"{path} already exists" in str(again.exception)
    assert typed("init", "-o", "-").output == path.read_text()


def test_init_with_force_explains_a_file_and_keeps_what_it_sets(
    typed: Typed, tmp_path: Path
) -> None:
    path = tmp_path / "etc" / "our.toml"
    path.parent.mkdir()
    path.write_text('workers = 8\nclient_id = "X"\n')
    path.chmod(0o640)

    assert typed("init", "--force").exit_code == 0

    assert tomllib.loads(path.read_text()) == {"workers": 8, "client_id": "X"}
    assert "# Imports at once, at most.\nworkers = 8\n" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_show_tells_value_and_origin_and_what_can_not_be_used(typed: Typed) -> None:
    typed("init")

    shown = typed("show", workers="8", stagger="soon", encryption_key="s3cret phrase")
    machine = typed("show", "--json", workers="8", encryption_key="s3cret phrase")

    assert shown.exit_code == 78
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["workers", "8", "CHECKINSYNC_WORKERS"] in lines
    assert ["stagger", "-", "not", "usable"] in lines
    assert ["deadline", "6h", "default"] in lines
    assert "checkinsync: CHECKINSYNC_STAGGER: 'soon' is not a duration" in shown.output
    assert machine.exit_code == 0
    told = {each["name"]: each for each in json.loads(machine.output)["settings"]}
    assert list(told) == [*settings.SETTINGS]
    assert told["encryption_key"] == {
        "name": "encryption_key",
        "value": "********",
        "origin": "CHECKINSYNC_ENCRYPTION_KEY",
        "default": False,
        "secret": True,
        "usable": True,
    }
    assert "s3cret" not in shown.output + machine.output


def test_check_tells_all_problems_at_once(typed: Typed) -> None:
    typed("init")
    wrong = {"workers": "99", "stagger": "soon", "log_file": "/nonexistent/log", "stager": "2m"}

    good, bad, machine = typed("check"), typed("check", **wrong), typed("check", "--json", **wrong)

    assert good.exit_code == 0
    assert good.output.splitlines()[-1] == "no problem"
    assert bad.exit_code == machine.exit_code == 78
    problems = json.loads(machine.output)["problems"]
    assert [problem.split(":")[0] for problem in problems[:2]] == [
        "CHECKINSYNC_STAGGER",
        "CHECKINSYNC_WORKERS",
    ]
    assert "the log file /nonexistent/log can't be written" in problems[2]
    assert [f"problem  {problem}" for problem in problems] == [
        line for line in bad.output.splitlines() if line.startswith("problem")
    ]
    assert "notice   CHECKINSYNC_STAGER is set, but there is no such setting" in bad.output
    assert bad.output.splitlines()[-1] == "3 problems"


def test_a_file_that_is_named_and_not_there_is_a_problem(typed: Typed, tmp_path: Path) -> None:
    told = typed("check")

    assert told.exit_code == 78
    assert f"CHECKINSYNC_CONFIG names {tmp_path}/etc/our.toml, which does not exist" in told.output
