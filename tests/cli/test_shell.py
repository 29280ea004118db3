"""The shell: completion of commands, options and users; manual pages; colours and none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkinsync.cli.render.table import COLOURS, fitted, table
from checkinsync.model.standing import GROUPS
from support import made
from support.stories import Done, Story
from support.terminal import on_terminal

SGR = re.compile(r"\x1b\[[0-9;]*m")


# --- completion -----------------------------------------------------------------------------------


def completed(story: Story, typed: str, **settings: str) -> Done:
    """What bash is told may follow, without the kind of each."""
    words = typed.split(" ")
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    own = {f"CHECKINSYNC_{name.upper()}": value for name, value in settings.items()}
    environ = {**story.environ, **own, **asked, "_CHECKINSYNC_COMPLETE": "bash_complete"}
    done = story.start_program([sys.executable, "-c", MAIN], env=environ).ended()
    return Done(done.code, done.out.replace("plain,", "").strip(), done.err)


def test_users_are_completed_by_id_and_by_a_name_that_one_user_has(story: Story):
    story.people(1, 1, 1)
    for name in ("Zoe", "Zoe", "Ada Lovelace", "$(reboot)"):
        story.person(name, 1)

    assert completed(story, "checkinsync why ").out.split() == list("1234567")
    assert completed(story, "checkinsync users show A").out.split() == ["Ada", "6"]
    assert completed(story, "checkinsync verify B").out.split() == ["Ben"]
    assert completed(story, "checkinsync import-user Z").out.split() == ["4", "5"]
    assert completed(story, "checkinsync doctor --online --user $").out.split() == ["7"]


@pytest.mark.parametrize(
    "settings",
    [
        {"database_url": "postgresql://u@127.0.0.1:1/none"},
        {"database_url": "nonsense"},
        {"database_url": "", "home": "/nonexistent"},
    ],
)
def test_without_a_database_a_shell_hears_nothing(story: Story, settings: dict[str, str]):
    assert completed(story, "checkinsync why ", **settings) == Done(0)


def test_commands_and_options_are_completed(story: Story):
    assert completed(story, "checkinsync us").out == "users"
    assert completed(story, "checkinsync users sh").out == "show"
    assert completed(story, "checkinsync status --st").out.split() == ["--strict", "--state"]
    assert completed(story, "checkinsync --log-f").out.split() == ["--log-format", "--log-file"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_given_is_its_own_language(story: Story, shell: str, tmp_path: Path):
    done = story.run("completion", shell)

    assert (done.code, done.err) == (0, "")
    assert f"_CHECKINSYNC_COMPLETE={shell}_complete" in done.out
    if shutil.which(shell):
        (tmp_path / "it").write_text(done.out)
        subprocess.run([shell, "-n", tmp_path / "it"], check=True)


def test_bash_completes_with_it(story: Story):
    """As when Tab is pressed after `checkinsync quara`."""
    program = story.folder / "checkinsync"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{MAIN}" "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(checkinsync completion bash)"
        COMP_WORDS=(checkinsync quara) COMP_CWORD=1
        _checkinsync_completion checkinsync
        echo "${COMPREPLY[@]}"
        """
    environ = {**story.environ, "PATH": f"{story.folder}:{os.environ['PATH']}"}

    done = story.start_program(["bash", "-c", script], env=environ).ended()

    assert done == Done(0, "quarantine\n")


MAIN = "import sys; sys.argv[0] = 'checkinsync'; from checkinsync.__main__ import main; main()"


# --- manual pages ---------------------------------------------------------------------------------


def test_the_manual_pages_are_what_the_help_says():
    pages = {path: text for path, text in made.pages().items() if path.parent == made.MAN}

    assert {*made.MAN.iterdir()} == {*pages}, "run `make docs`"
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make docs`"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_finds_no_fault_in_them():
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", *made.MAN.iterdir()]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert not [line for line in done.stderr.splitlines() if "break" not in line]


# --- colours --------------------------------------------------------------------------------------


def test_states_have_colours_on_a_terminal_and_numbers_have_none(story: Story):
    story.people(1, 1)
    story.conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = 2")
    story.conn.execute(
        "INSERT INTO sync_runs (started_at, host, due, outcome) VALUES (now(), 'x', 12345, 'away')"
    )

    screen = on_terminal(story, "status")

    painted = re.findall(r"\x1b\[3\dm(.*?)\x1b\[0m", screen.raw)
    assert sorted(painted) == ["away", "needs_reauth", "new"]
    assert len(SGR.findall(screen.raw)) == 2 * len(painted)
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        story.environ |= more
        assert not SGR.findall(on_terminal(story, "status").raw), more
        del story.environ[next(iter(more))]
    assert "\x1b" not in story.run("status").out


def test_a_colour_takes_no_room():
    rows = [(1, "ok", "next"), (22, "needs_reauth", "next"), (3, "paused", "next")]

    plain = table(("user", "state", "then"), rows)
    painted = table(("user", "state", "then"), rows, states=1)
    narrow = fitted(("user", "state", "then"), rows, width=30, flexible=(2,), states=1)

    assert SGR.sub("", painted) == plain == SGR.sub("", narrow)
    assert len(SGR.findall(painted)) == 6
    assert {*GROUPS} <= {*COLOURS}
