"""Rows as an aligned table; columns are measured in the cells that a terminal shows."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from checkinsync.model.standing import CLOCK_TOLERANCE
from checkinsync.model.user import one_line

GAP = "  "
"""Between two columns."""

SEPARATOR = "\t"
"""Between two cells while they are kept; no cell has it, since each is one line of text."""

NARROWEST = 6
"""Cells that a column keeps when it is cut."""

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}
"""Of an age, the largest first; each is used from two of it on."""


COLOURS = {
    "ok": "green", "imported": "green",
    "running": "cyan", "new": "cyan",
    "warning": "yellow", "stale": "yellow", "rate_limited": "yellow", "partial": "yellow",
    "quota": "yellow", "interrupted": "yellow",
    "needs_reauth": "red", "failing": "red", "failed": "red", "problem": "red", "away": "red",
    "suspect": "red", "killed": "red",
    "paused": "bright_black", "inactive": "bright_black", "skipped": "bright_black",
}  # fmt: skip
"""Of the words for states, wherever they stand; numbers have none."""


def coloured(text: str) -> str:
    """Return a text in the colour of the state that it begins with, if any."""
    colour = COLOURS.get(text.strip().partition(":")[0])
    return click.style(text, fg=colour) if colour else text


class Streamed(list[Any]):
    """A list for JSON whose items are made while they are written."""

    def __init__(self, items: Iterable[Any], *, count: int) -> None:
        super().__init__([...] if count else [])  # the encoder only looks whether it is empty
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, states: int | None = None
) -> str:
    """A heading, and a line per row; numbers are on the right of their column.

    `states`: the column whose words get a colour.
    """
    return "\n".join(table_lines(head, rows, states=states))


def table_lines(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, states: int | None = None
) -> Iterator[str]:
    """The same line by line, for any number of rows: each is kept as one text until all are
    measured."""
    widths, right = list(map(_width, head)), [True] * len(head)
    lines = [SEPARATOR.join(head)]
    for row in rows:
        texts = [cell(value) for value in row]
        widths = list(map(max, widths, map(_width, texts)))
        right = [number and isinstance(v, int) for number, v in zip(right, row, strict=True)]
        lines.append(SEPARATOR.join(texts))
    texts_of = (line.split(SEPARATOR) for line in lines)
    yield _line(next(texts_of), widths, right, measure=_width)
    yield from (_line(line, widths, right, measure=_width, states=states) for line in texts_of)


def fitted(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    width: int,
    flexible: Sequence[int],
    states: int | None = None,
) -> str:
    """The same for a terminal of this width: the `flexible` columns are cut until a line fits."""
    from rich.cells import cell_len

    lines, right = _cells(head, rows)
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    room = width - len(GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    for line in lines:
        for i in flexible:
            line[i] = cut(line[i], widths[i])
    return _aligned(lines, right, measure=cell_len, states=states)


def cut(text: str, width: int) -> str:
    """A text of at most so many cells on a terminal."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _cells(
    head: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[list[list[str]], list[bool]]:
    """Return all lines as texts, and which columns are numbers."""
    body = [list(row) for row in rows]
    right = [all(isinstance(row[i], int) for row in body) for i in range(len(head))]
    return [list(head), *([cell(value) for value in row] for row in body)], right


def _aligned(
    lines: Sequence[Sequence[str]],
    right: Sequence[bool],
    *,
    measure: Callable[[str], int],
    states: int | None,
) -> str:
    widths = [max(map(measure, column)) for column in zip(*lines, strict=True)]
    first, *others = lines
    made = [_line(first, widths, right, measure=measure)]
    made += [_line(line, widths, right, measure=measure, states=states) for line in others]
    return "\n".join(made)


def _line(
    texts: Sequence[str],
    widths: Sequence[int],
    right: Sequence[bool],
    *,
    measure: Callable[[str], int],
    states: int | None = None,
) -> str:
    blanks = (" " * (width - measure(text)) for text, width in zip(texts, widths, strict=True))
    shown = [coloured(text) if n == states else text for n, text in enumerate(texts)]
    return GAP.join(
        blank + text if number else text + blank
        for text, number, blank in zip(shown, right, blanks, strict=True)
    ).rstrip()


def _width(text: str) -> int:
    """Return nearly the cells that a text takes: East Asian letters two, accents none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) == "Mn" for letter in text)


def many(count: int, what: str) -> str:
    """`1 check-in`, `1,234 check-ins`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def cell(value: object) -> str:
    """A value as one line of text: nothing as `-`, times in UTC to the second."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return moment(value)
    return one_line(str(value))


def moment(value: datetime | None) -> str:
    """`2026-11-24 02:00:00`, in UTC."""
    return "-" if value is None else value.astimezone(UTC).isoformat(" ", "seconds")[:19]


def ago(value: datetime | None, *, at: datetime) -> str:
    """`3 h ago`, `never`, or `in the future`."""
    if value is None:
        return "never"
    age = at - value
    if age < -CLOCK_TOLERANCE:
        return "in the future"
    for unit, size in UNITS.items():
        if age >= 2 * size:
            return f"{age // size} {unit} ago"
    return "just now"
