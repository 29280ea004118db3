"""Rows as an aligned table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from checkinsync.model.user import one_line


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A heading, and a line per row; numbers stand right, everything else left."""
    body = [list(row) for row in rows]
    right = [all(isinstance(row[i], int) for row in body) for i in range(len(head))]
    lines = [list(head), *([cell(value) for value in row] for row in body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(_line(line, widths, right) for line in lines)


def _line(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = (
        text.rjust(width) if to_the_right else text.ljust(width)
        for text, width, to_the_right in zip(line, widths, right, strict=True)
    )
    return "  ".join(cells).rstrip()


def cell(value: object) -> str:
    """A value as one line of text: nothing as `-`, times in UTC to the second."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return moment(value)
    return one_line(str(value))


def moment(value: datetime | None) -> str:
    """`2026-11-24 02:00:00`, in UTC."""
    return "-" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
