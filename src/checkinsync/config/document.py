"""The settings file as text: every setting with its meaning and default, and values set in it.

A file of ours has no tables and no value of several lines, so a setting is one line of it. A file
that was written otherwise is noticed, since the changed text is read again.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from checkinsync.config.durations import written
from checkinsync.config.meanings import SECTIONS
from checkinsync.config.settings import SECRETS, SETTINGS, Settings
from checkinsync.errors import SettingsError

WIDTH = 96

HEAD = """\
# Settings of checkinsync. A line without # in front of it is set; the others show the defaults.
#
# A variable of the environment wins over this file: CHECKINSYNC_WORKERS over workers. Durations are
# written 90s, 2m, 1h30m, 14d. `checkinsync config check` finds mistakes, `checkinsync config show`
# prints what is in force.
"""

Values = Mapping[str, str | int | None]
"""Keys of the file and what to set them to; None: as if the key were not there."""


def commented(values: Values | None = None) -> str:
    """Return a settings file with every setting, those of `values` set, the rest commented out."""
    explained = {name for section in SECTIONS.values() for name in section}
    more = {name: "" for name in SETTINGS if name not in explained}
    parts = [HEAD, *(_section(*each) for each in (*SECTIONS.items(), ("More", more)))]
    return with_values("\n".join(filter(None, parts)), values or {})


def _section(title: str, meanings: Mapping[str, str]) -> str:
    """Return the settings of a section that there are; empty if there are none."""
    there = {name: meaning for name, meaning in meanings.items() if name in SETTINGS}
    if not there:
        return ""
    entries = "\n".join("\n".join(_entry(*each)) for each in there.items())
    return f"\n# --- {title} {'-' * (WIDTH - len(title) - 7)}\n\n{entries}"


def _entry(name: str, meaning: str) -> Iterator[str]:
    """Yield the lines of one setting; of a secret, the name of a file that holds it first."""
    yield from (f"# {line}" for line in textwrap.wrap(meaning, WIDTH - 2))
    if name in SECRETS:
        yield "# Either the path of a file that holds it, or the value itself."
        yield f'#{name}_file = ""'
    yield f"#{name} = {_toml(default(name))}"
    yield ""


def default(name: str) -> str | int:
    """Return a setting's default as the file has it; empty where it depends on other things."""
    usual = {field.name: field.default for field in fields(Settings)}
    return as_written(usual.get(name)) or ""


def as_written(value: Any) -> str | int | None:
    """Return a setting's value as the file has it; None for what is nothing there."""
    match value:
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return written(value)
        case Path():
            return str(value)
        case int() | str():
            return value
    return None


def with_values(text: str, values: Values) -> str:
    """Return the file's text with these values; all other lines stay as they are.

    Raises SettingsError if the text does not say the same otherwise afterwards.
    """
    changed = text
    for key, value in values.items():
        changed = _with_value(changed, key, value)
    wanted = {**tomllib.loads(text), **values}
    if _read(changed) != {key: value for key, value in wanted.items() if value is not None}:
        raise SettingsError(
            f"{', '.join(values)} can't be set in the settings file without changing more of it; "
            "set them by hand"
        )
    return changed


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _with_value(text: str, key: str, value: str | int | None) -> str:
    """Replace the line that sets the key, else the one that is commented out, else append one."""
    in_force = re.compile(rf"^[ \t]*{key}[ \t]*=.*$", re.MULTILINE)
    if value is None:
        return in_force.sub(lambda found: f"#{found[0].strip()}", text)
    line = f"{key} = {_toml(value)}"
    commented_out = re.compile(rf"^#[ \t]*{key}[ \t]*=.*$", re.MULTILINE)
    for place in (in_force, commented_out):
        changed, count = place.subn(lambda _: line, text, count=1)
        if count:
            return changed
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"


def _toml(value: str | int) -> str:
    """Return a value as TOML has it, whose texts are written as in JSON."""
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
