"""SQL stands in the function that runs it: nothing puts a statement together from pieces."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src" / "checkinsync"
RUNS_FILES = {"migrations/runner.py": "statement.text.encode()"}
"""The one place that sends what it was given: the files of `sql/`."""


def test_every_statement_that_is_executed_is_a_literal() -> None:
    found = [
        (path.relative_to(SOURCES).as_posix(), node.args[0])
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"execute", "executemany", "copy", "stream"}
        and node.args
    ]
    strange = [
        (path, ast.unparse(query))
        for path, query in found
        if not (isinstance(query, ast.Constant) and isinstance(query.value, str))
    ]

    assert len(found) > len(strange)
    assert strange == list(RUNS_FILES.items())
