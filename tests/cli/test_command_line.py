"""The command line as a whole: global options, habits of other programs, slips of the pen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from checkinsync import __version__
from checkinsync.cli import COMMANDS, checkinsync
from checkinsync.cli.context import Context

NOBODY_LISTENS = {"CHECKINSYNC_DATABASE_URL": "postgresql://u@127.0.0.1:1/none"}


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command with nothing in its environment but this."""
    return subprocess.run(
        [sys.executable, "-m", "checkinsync", *words],
        env={"PYTHONPATH": ":".join(sys.path), "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def invoke(*words: str) -> Result:
    return CliRunner().invoke(checkinsync, words)


# --- global options -------------------------------------------------------------------------------


@pytest.fixture
def context_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    """The global options with which a command would be run, instead of running it."""
    seen: list[Context] = []
    status = checkinsync.get_command(click.Context(checkinsync), "status")
    users = checkinsync.get_command(click.Context(checkinsync), "users")
    for command in (status, users.commands["list"]):
        noting = click.pass_obj(lambda context, **_: seen.append(context))
        monkeypatch.setattr(command, "callback", noting)

    def typed(*words: str) -> Context:
        result = invoke(*words)
        assert result.exit_code == 0, result.output
        return seen.pop()

    return typed


@pytest.mark.parametrize("words", ["status {}", "{} status", "users list {}", "users {} list"])
def test_global_options_are_taken_before_and_after_the_command(words: str, context_of) -> None:
    given = "-v --log-format json --log-file x.log"

    assert context_of(*words.format(given).split()) == Context(1, "json", "x.log")
    assert context_of(*words.format("-q").split()) == Context(-1, None, None)
    assert context_of(*words.format("-vv").split()) == Context(2, None, None)


def test_the_last_one_counts_and_verbosity_adds_up(context_of) -> None:
    assert context_of("-v", "users", "-v", "list", "-v").verbosity == 3
    assert context_of("-q", "status", "-v").verbosity == 1
    assert context_of("--log-file", "a", "status", "--log-file", "b").log_file == "b"


def test_the_format_of_the_log_is_a_setting_and_the_option_wins(tmp_path: Path) -> None:
    given = NOBODY_LISTENS | {"CHECKINSYNC_LOG_FORMAT": "json", "CHECKINSYNC_STAGER": "2m"}
    log = tmp_path / "log"

    run("migrate", "--status", "--log-file", str(log), **given)
    run("migrate", "--status", "--log-file", str(log), "--log-format", "text", **given)

    by_setting, by_option = log.read_text().splitlines()
    assert by_setting.startswith('{"ts": ')
    assert " INFO CHECKINSYNC_STAGER is set, but there is no such setting" in by_option
    wrong = run("status", CHECKINSYNC_LOG_FORMAT="xml")
    assert (wrong.returncode, wrong.stdout) == (78, "")
    assert "CHECKINSYNC_LOG_FORMAT: 'xml' is none of text, json" in wrong.stderr


def test_a_log_file_that_would_have_to_be_waited_for_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    told = run("status", CHECKINSYNC_LOG_FILE=str(tmp_path / "fifo"), **NOBODY_LISTENS)

    assert told.returncode == 78
    assert "not a regular file" in told.stderr
    assert len(told.stderr.splitlines()) == 1


# --- habits and slips -----------------------------------------------------------------------------


def test_help_and_version_are_commands_too() -> None:
    assert invoke("version").output == invoke("--version").output
    assert invoke("version").output.endswith(f"{__version__}\n")
    assert invoke("help").output == invoke("--help").output
    assert invoke("help", "users", "add").output == invoke("users", "add", "--help").output
    assert "No such command 'usrs'. Did you mean 'users'?" in invoke("help", "usrs").output
    assert not {"help", "version"} & {*COMMANDS}


@pytest.mark.parametrize(
    ("typed", "meant"), [("stauts", "status"), ("orchestrat", "orchestrate"), ("user", "users")]
)
def test_a_mistyped_command_is_told_which_one_is_meant(typed: str, meant: str) -> None:
    told = invoke(typed)

    assert told.exit_code == 2
    assert f"No such command {typed!r}. Did you mean {meant!r}?" in told.output
    assert "Did you mean" not in invoke("xyzzy").output


@pytest.mark.parametrize("option", ["--max-age", "--deadline", "--window"])
def test_a_bare_number_of_seconds_is_not_taken_for_hours(option: str) -> None:
    told = invoke("orchestrate", option, "20")

    assert told.exit_code == 2
    assert "'20' would be 20 seconds; write 20h, 20m or 20s" in told.output


# --- surroundings ---------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "environ",
    [ASCII, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "xx_YY.KOI8-R"}, {"TZ": "Mars/Phobos"}],
)
def test_any_locale_and_any_time_zone_will_do(environ: dict[str, str]) -> None:
    shown = run("--help", **environ)
    status = run("migrate", "--status", **environ, **NOBODY_LISTENS)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Settings come from the environment (CHECKINSYNC_" in shown.stdout
    assert status.returncode == 69
    assert len(status.stderr.splitlines()) == 1


def test_what_a_locale_can_not_print_is_printed_as_json_escapes_it() -> None:
    printing = r"""
import click
from checkinsync.cli import checkinsync

checkinsync.main(["version"], standalone_mode=False)
click.echo("\u00e9 \u2026 \U0001f600 \udcff")
"""

    told = subprocess.run(
        [sys.executable, "-c", printing],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        encoding="latin-1",
        check=True,
    )

    assert told.stdout.splitlines()[-1] == r"é \u2026 \ud83d\ude00 \udcff"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_user_without_a_name_and_a_home_gets_sentences() -> None:
    """As containers are run: a number that no line of /etc/passwd has."""
    reading = "+dac_read_search"  # Python may lie in a home that is closed to others
    become = ("--reuid=54321", "--regid=54321", "--clear-groups")
    become += (f"--inh-caps={reading}", f"--ambient-caps={reading}")
    for words, code in (("status", 78), ("migrate", 78), ("demo", 78), ("doctor", 69)):
        told = subprocess.run(
            ["setpriv", *become, sys.executable, "-m", "checkinsync", *words.split()],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert told.returncode == code, told.stderr
        assert "Traceback" not in told.stderr
        assert len(told.stderr.splitlines()) <= 1
