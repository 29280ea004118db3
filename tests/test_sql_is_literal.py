"""SQL stands in the module that runs it: no statement is put together from pieces."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "src" / "checkinsync"
PIECED = [
    ("migrations/runner.py", "statement.text.encode()"),
    ("store/pool.py", "message"),
    ("store/pool.py", "self.statement"),
    ("workers/queries.py", "query"),
    ("workers/queries.py", "text"),
]
"""What sends the files of `sql/`, the settings with which each transaction begins and the statement
that goes with them, and the queue's own statements and files."""


def executed(tree: ast.Module) -> list[ast.expr]:
    """The first argument of each call that sends a statement."""
    return [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"execute", "executemany", "copy", "stream"}
        and node.args
    ]


def is_literal(query: ast.expr | None) -> bool:
    return isinstance(query, ast.Constant) and isinstance(query.value, str)


def taken_from(query: ast.expr) -> str | None:
    """The name in `NAME[…]`, as it is read."""
    if isinstance(query, ast.Subscript) and isinstance(query.ctx, ast.Load):
        return query.value.id if isinstance(query.value, ast.Name) else None
    return None


def tables(tree: ast.Module) -> set[str]:
    """Module-level dicts of literal texts, bound once and else only read by `NAME[…]`."""
    nodes = list(ast.walk(tree))
    mentioned = [node.id for node in nodes if isinstance(node, ast.Name)]
    mentioned += [node.arg for node in nodes if isinstance(node, ast.arg)]
    read = [taken_from(node) for node in nodes if isinstance(node, ast.expr)]
    return {
        target.id
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict)
        and None not in statement.value.keys and all(map(is_literal, statement.value.values))
        for target in statement.targets
        if isinstance(target, ast.Name)
        and mentioned.count(target.id) == read.count(target.id) + 1
    }  # fmt: skip


def pieced(source: str) -> list[str]:
    """Statements that are neither a literal nor taken from a table of literals."""
    tree = ast.parse(source)
    known = tables(tree)
    return [
        ast.unparse(query)
        for query in executed(tree)
        if not is_literal(query) and taken_from(query) not in known
    ]


def test_every_statement_that_is_executed_is_a_literal() -> None:
    sources = {
        path.relative_to(SOURCES).as_posix(): path.read_text(encoding="utf-8")
        for path in SOURCES.rglob("*.py")
    }
    found = [(path, query) for path, text in sources.items() for query in pieced(text)]

    assert sum(len(executed(ast.parse(text))) for text in sources.values()) > len(found)
    assert sorted(found) == sorted(PIECED)


@pytest.mark.parametrize(
    "source",
    [
        "c.execute('SELECT 1')",
        "Q = {'a': 'SELECT 1', 'b': '''SELECT 2'''}\ndef f(c, kind): c.execute(Q[kind])",
    ],
)
def test_a_literal_and_one_of_a_table_of_literals_are_accepted(source: str) -> None:
    assert pieced(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "c.execute('SELECT ' + x)",
        "c.execute(f'SELECT {x}')",
        "c.execute(q)",
        "c.execute(q[kind])",
        "Q = 'SELECT 1'\nc.execute(Q)",
        "Q = {'a': f'SELECT {x}'}\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1' + x}\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1', **more}\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1'}\nc.execute(Q)",
        "Q = {'a': 'SELECT 1'}\nc.execute(Q['a'] + x)",
        "Q = {'a': 'SELECT 1'}\nc.execute(o.Q['a'])",
        "Q = {'a': 'SELECT 1'}\nQ['a'] = x\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1'}\nQ.update(x)\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1'}\nQ |= x\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1'}\nQ = x\nc.execute(Q['a'])",
        "Q = {'a': 'SELECT 1'}\ndef f(c, Q): c.execute(Q['a'])",
        "def f(c):\n    Q = {'a': 'SELECT 1'}\n    c.execute(Q['a'])",
    ],
)
def test_anything_else_is_not(source: str) -> None:
    assert len(pieced(source)) == 1
