"""A result as a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A benchmark's result."""

    title: str
    about: str
    """One paragraph on what is compared."""
    head: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the table as Markdown."""
        lines = [f"## {self.title}", "", self.about, ""]
        lines += [_line(self.head), _line(["---", *["---:"] * (len(self.head) - 1)])]
        return "\n".join([*lines, *map(_line, self.rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
