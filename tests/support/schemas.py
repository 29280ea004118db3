"""The JSON Schemas of every `--json`: read, made strict, listed name by name, and described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).parents[2] / "schemas"
Schema = dict[str, Any]


def read() -> dict[str, Schema]:
    """Return each schema by its name: `status`, `users-list`, …"""
    paths = sorted(FOLDER.glob("*.schema.json"))
    return {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in paths}


SCHEMAS = read()


def check(name: str, value: object) -> None:
    """Assert that a value is as described; a name that is not described is an error, too."""
    validator = Draft202012Validator(_closed(SCHEMAS[name]), format_checker=FormatChecker())
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert errors == [], name


def _closed(node: Any) -> Any:
    """Return the schema without room for names to come: what is shipped leaves it."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "properties" in node and "required" in node:
        closed["additionalProperties"] = False
    return closed


def names(schema: Schema) -> Iterator[str]:
    """Yield every name of an answer, from the top: `runs[].id`."""
    yield from _names(schema, schema, "")


def _names(node: Schema, root: Schema, path: str) -> Iterator[str]:
    node = resolved(node, root)
    if "items" in node:
        yield from _names(node["items"], root, f"{path}[]")
    for name, below in node.get("properties", {}).items():
        at = f"{path}.{name}".removeprefix(".")
        yield at
        yield from _names(below, root, at)


def resolved(node: Schema, root: Schema) -> Schema:
    """Return what a reference, or one that may be null, leads to."""
    for choice in node.get("anyOf", ()):
        if "$ref" in choice:
            node = choice
    if "$ref" in node:
        found: Schema = root["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node
