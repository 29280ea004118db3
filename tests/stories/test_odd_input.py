"""Odd input, closed pipes and full disks: a command prints a sentence, never a traceback."""

from __future__ import annotations

import shlex
import sys

import pytest

from support.stories import Started

TWICE = "Zoë \U0001f600\n\x1b[31mred"


def shell(story, script: str) -> Started:
    """Run a line of shell; `CS` is the program."""
    program = shlex.join([sys.executable, "-m", "checkinsync"])
    command = script.replace("CS", program)
    return story.start_program(["bash", "-o", "pipefail", "-c", command])


REFUSED = [
    "CS import-user 99999999999999999999999999",
    "CS import-user $'\\xff\\xfe'",
    "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 CS why $'Chlo\\xc3'",
    "CS import-user 1 --full --since 2024-01-01",
    "CS orchestrate --stagger -1",
    "CS orchestrate --stagger 99999999999999999d",
    "CS orchestrate --deadline 9999999d",
    "CS orchestrate --workers 99999",
    "CS status --max-age 0s",
    "CS users add <&-",
    "printf 'to ken\\n' | CS users add",
    "printf 'tok\\0en\\n' | CS users add",
    "echo token | CS users add --foursquare-id ''",
    "echo token | CS users add --foursquare-id $(printf '9%.0s' {1..300})",
    "CS users remove nobody --yes",
]


def test_odd_words_are_refused_with_a_sentence(story):
    story.person("Ada", 3)
    before = story.contents()

    started = {line: shell(story, line) for line in REFUSED}

    for line, process in started.items():
        told = process.ended()
        assert told.code == 2, line
        assert told.out == "", line
        assert 1 <= len(told.err.splitlines()) <= 4, line
        assert "Traceback" not in told.err, line
    assert story.contents() == before
    assert not story.requests()


def test_a_name_is_found_in_whatever_locale_and_shown_on_one_line(story):
    story.person("Chloé", 3)
    odd = story.person(TWICE, 3)

    anywhere = "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"
    found = shell(story, f"{anywhere} CS import-user Chloé").ended()
    seen = [
        story.run("why", str(odd.id)),
        story.run("import-user", str(odd.id)),
        story.run("users", "pause", str(odd.id)),
    ]
    tables = [story.run("users", "list"), story.run("status"), story.run("users", "show", TWICE)]

    assert found.code == 0
    assert all(told.code == 0 for told in [*seen, *tables])
    assert all(len(told.out.splitlines()) == 1 for told in seen)
    assert not any("\x1b" in told.out for told in [*seen, *tables])
    assert all("Zoë \U0001f600 [31mred" in told.out for told in [*seen, *tables])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("CS status --json | head -1", 0),
        ("CS orchestrate --json | true", 0),
        ("CS orchestrate --json >&-", 0),
        ("CS import-user 1 >&-", 0),
        ("CS orchestrate >&- 2>&- <&-", 0),
        ("CS status > /dev/full", 1),
        ("CS orchestrate --json > /dev/full", 1),
    ],
)
def test_an_output_that_takes_nothing_spoils_no_work(story, line, code):
    ada = story.person("Ada", 3)

    told = shell(story, line).ended()

    assert told.code == code
    assert len(told.err.splitlines()) <= (1 if code else 0)
    if "status" not in line:
        assert story.complete(ada)


def test_a_log_whose_disk_is_full_is_told_once_and_the_night_goes_on(story):
    ada = story.person("Ada", 3)

    log = story.folder / "small.log"
    log.write_bytes(b"x" * 1000)  # of 1024 or 512 bytes that the shell's limit allows a file

    night = shell(story, f"ulimit -f 1; CS --log-file {log} orchestrate").ended()

    assert night.code == 0
    assert story.complete(ada)
    assert f"cannot write to the log file {log} any more (File too large)" in night.err
    assert len(night.err.splitlines()) == 1
