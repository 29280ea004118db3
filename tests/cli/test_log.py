"""The log: its text, its JSON, and the files that it will not write to."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from checkinsync.cli import log
from checkinsync.errors import SettingsError


def record(event: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": event, "levelname": "INFO", "created": 1_795_000_000.0, **fields}
    )


def test_values_of_the_text_format_are_quoted_where_they_are_not_one_word() -> None:
    fields = {
        "user_id": 7,
        "user": "Zoë",
        "reason": "two words",
        "at": "2026-11-24T02:00:00Z",
        "query": "a=b",
        "said": 'a "quoted"\nline\x1b',
        "empty": "",
        "left_out": None,
    }

    line = log.TextFormatter().format(record("import_failed", **fields))

    assert line == (
        "2026-11-18T11:06:40Z INFO import_failed user_id=7 user=Zoë "
        'reason="two words" at=2026-11-24T02:00:00Z query="a=b" '
        'said="a \\"quoted\\"\\nline\\u001b" empty=""'
    )


def test_the_json_format_has_one_object_for_a_line() -> None:
    line = log.JsonFormatter().format(record("page_stored", user_id=7, said="two\nlines"))

    assert "\n" not in line
    told = json.loads(line)
    assert (told["event"], told["user_id"], told["said"]) == ("page_stored", 7, "two\nlines")


def link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (link, "a link to a file that does not exist"),
        (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_not_a_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    make(tmp_path / "log")

    with pytest.raises(SettingsError) as caught:
        log.configure(verbosity=0, style="text", path=str(tmp_path / "log"))

    assert f"the log file {tmp_path}/log can't be written ({why})" in str(caught.value)
    assert "CHECKINSYNC_LOG_FILE" in str(caught.value)


def test_a_name_in_no_encoding_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.configure(verbosity=0, style="json", path=str(path))

    logging.getLogger("checkinsync").info("skipped", extra={"reason": "a \udcff b"})

    assert "\\udcff" in path.read_text()


def crash(depth: int) -> None:
    if depth:
        crash(depth - 1)
    raise ValueError("a bug")


@pytest.mark.parametrize(("verbosity", "told", "longest"), [(0, 1, 20), (1, 3, 90)])
def test_a_bug_that_meets_every_user_fills_no_mail(
    capsys: pytest.CaptureFixture[str], verbosity: int, told: int, longest: int
) -> None:
    log.configure(verbosity=verbosity, style="text", path=None)
    for _ in range(3):
        try:
            crash(9)
        except ValueError:
            logging.getLogger("checkinsync").exception("import_crashed")

    err = capsys.readouterr().err

    assert err.count("Traceback") == err.count("ValueError: a bug") == told
    assert err.count("\n") <= longest
    assert err.count("in crash") >= 3
