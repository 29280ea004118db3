"""The time that the program takes to start."""

from __future__ import annotations

import subprocess
import sys

from bench.measure import Table, Way, in_turns, ms, times

ROUNDS = 15

EAGER = (
    "from checkinsync.__main__ import main; from checkinsync.cli import COMMANDS, checkinsync; "
    "[checkinsync.get_command(None, name) for name in COMMANDS]; "
    "import sys; sys.argv = ['checkinsync', '--help']; main()"
)


def overview() -> Table:
    """Measure `checkinsync --help`, for which the command group loads its commands lazily."""
    bare, click, lazy, eager = in_turns(
        Way("`python -c pass`", lambda _: _run("-c", "pass")),
        Way("`python -c 'import click'`", lambda _: _run("-c", "import click")),
        Way("`checkinsync --help`", lambda _: _run("-m", "checkinsync", "--help")),
        Way("the same, every command loaded first", lambda _: _run("-c", EAGER)),
        rounds=ROUNDS,
    )
    return Table(
        "`checkinsync --help`",
        "A process from its start to its end. Baseline: Python itself, which does nothing.",
        ("process", "time", "of the baseline"),
        [
            (way.name, ms(way.seconds), times(way.seconds, bare.seconds))
            for way in (bare, click, lazy, eager)
        ],
    )


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
