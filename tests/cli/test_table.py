"""Tables on terminals and in pipes, and the ages in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rich.cells import cell_len

from checkinsync.cli.render.table import ago, fitted, table
from support.factories import NOW

HEAD = ("user", "name", "state", "next")
ROWS = [
    (1, "山田太郎 (Tarō Yamada)", "ok", "imported in the next nightly run"),
    (22, "Zoë \U0001f44d\U0001f3fd", "failing", "x"),
    (333, None, "paused", "nothing until `checkinsync users resume 333`"),
]


def columns_of(lines: list[str], word: str) -> set[int]:
    """The cells at which the states stand, in each line."""
    return {cell_len(line[: line.index(state)]) for line, state in zip(lines, word, strict=True)}


STATES = ("state", "ok", "failing", "paused")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_columns_are_aligned(width):
    lines = fitted(HEAD, ROWS, width=width, flexible=(1, 3)).splitlines()

    assert max(map(cell_len, lines)) <= width
    assert len(columns_of(lines, STATES)) == 1
    assert [line.split()[0] for line in lines] == ["user", "1", "22", "333"]


def test_what_fits_is_not_cut():
    assert "…" not in fitted(HEAD, ROWS, width=100, flexible=(1, 3))
    assert "…" in fitted(HEAD, ROWS, width=60, flexible=(1, 3))


def test_in_a_pipe_wide_letters_count_as_two_and_nothing_is_cut():
    lines = table(HEAD, [row for row in ROWS if row[0] != 22]).splitlines()

    assert len(columns_of(lines, ("state", "ok", "paused"))) == 1
    assert "nothing until `checkinsync users resume 333`" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (-60, "just now"),
        (119, "just now"),
        (120, "2 min ago"),
        (2 * 3600 - 1, "119 min ago"),
        (3 * 3600 + 5, "3 h ago"),
        (47 * 3600, "47 h ago"),
        (3 * 86400, "3 d ago"),
        (-301, "in the future"),
    ],
)
def test_an_age_is_told_in_one_unit(seconds, text):
    assert ago(NOW - timedelta(seconds=seconds), at=NOW) == text


def test_without_an_instant_it_never_was():
    assert ago(None, at=NOW) == "never"
