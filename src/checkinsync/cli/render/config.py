"""Settings as text and as JSON values."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import Any

from checkinsync.cli.render.table import fitted, many, table
from checkinsync.cli.terminal import is_terminal
from checkinsync.config.file import usual_places
from checkinsync.config.in_force import InForce, in_force
from checkinsync.config.settings import Examined

HEAD = ("setting", "value", "from")


def in_force_text(examined: Examined) -> str:
    """The settings file, then a line for each setting."""
    rows = [(each.name, _value(each), _origin(each)) for each in in_force(examined)]
    if not is_terminal(sys.stdout):
        return f"{_file(examined)}\n\n{table(HEAD, rows)}"
    width = shutil.get_terminal_size().columns
    return f"{_file(examined)}\n\n{fitted(HEAD, rows, width=width, flexible=(1, 2))}"


def _value(each: InForce) -> str | None:
    """Return it as text, numbers too, so that the column is on the left."""
    return None if each.value is None else str(each.value)


def _origin(each: InForce) -> str:
    return "not usable" if each.broken else each.origin or "default"


def in_force_json(examined: Examined) -> dict[str, Any]:
    """The same for programs."""
    return {
        **check_json(examined),
        "settings": [
            {
                "name": each.name,
                "value": each.value,
                "origin": each.origin,
                "default": each.origin is None and not each.broken,
                "secret": each.secret,
                "usable": not each.broken,
            }
            for each in in_force(examined)
        ],
    }


def check_text(examined: Examined) -> str:
    """The settings file, then each problem and each notice, then how many problems there are."""
    return "\n".join(_check_lines(examined))


def _check_lines(examined: Examined) -> Iterator[str]:
    yield _file(examined)
    yield from (f"problem  {problem}" for problem in examined.problems)
    yield from (f"notice   {notice}" for notice in examined.settings.notices)
    yield many(len(examined.problems), "problem") if examined.problems else "no problem"


def check_json(examined: Examined) -> dict[str, Any]:
    """The same for programs."""
    return {
        "file": None if examined.config is None else str(examined.config),
        "problems": list(examined.problems),
        "notices": list(examined.settings.notices),
    }


def _file(examined: Examined) -> str:
    if examined.config is not None:
        return f"settings file: {examined.config}"
    return f"settings file: none ({', '.join(map(str, usual_places()))})"
