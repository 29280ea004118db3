"""The pages that are made from the program: `make docs` writes them, a test holds them current."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click_man.core import generate_man_page

from checkinsync import __version__
from checkinsync.cli import checkinsync
from support.schemas import SCHEMAS, Schema

ROOT = Path(__file__).parents[2]
MAN = ROOT / "contrib" / "man"
README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference.md"
MARK = "<!-- From here on made by `make docs` from the files in schemas/. -->\n"
HELP = "<!-- Made by `make docs` from the commands' help. -->\n"
END = "<!-- End of what is made. -->\n"


def main() -> None:
    """Write every page as it should be, and remove manual pages of commands that are gone."""
    for path in {*MAN.glob("*.1")} - {*pages()}:
        path.unlink()
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Return the pages by path, as they should be."""
    return {
        ROOT / "docs" / "json.md": _json_page(),
        README: _between_marks(README, "\n".join(_overview())),
        REFERENCE: _between_marks(REFERENCE, "\n".join(_reference())),
        **dict(_manual(checkinsync, None)),
    }


# --- contrib/man ----------------------------------------------------------------------------------


def _manual(command: click.Command, parent: click.Context | None) -> Iterator[tuple[Path, str]]:
    """Yield the page of a command, then those of the commands below it."""
    command = copy.copy(command)
    command.short_help = (command.help or "").splitlines()[0].rstrip(".")
    context = click.Context(command, info_name=command.name, parent=parent)
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        below = {name: command.get_command(context, name) for name in names}
        command.commands = {name: _shortened(each) for name, each in below.items() if each}
    page = generate_man_page(context, version=__version__, date="checkinsync")
    yield MAN / f"{context.command_path.replace(' ', '-')}.1", _as_troff(page)
    for each in getattr(command, "commands", {}).values():
        yield from _manual(each, context)


def _shortened(command: click.Command) -> click.Command:
    command = copy.copy(command)
    command.short_help = (command.help or "").splitlines()[0].rstrip(".")
    return command


def _as_troff(page: str) -> str:
    """Return the page with lines kept that click keeps, and without what troff would misread."""
    page = re.sub(r"^\x08\n(.*?)(?=^\.|\Z)", r".nf\n\1.fi\n", page, flags=re.M | re.S)
    page = page.replace("`", "\\(ga").replace("…", "...")
    return re.sub(r"^'", r"\\(aq", page, flags=re.M)


# --- README.md and docs/reference.md --------------------------------------------------------------


def _between_marks(path: Path, made: str) -> str:
    before, _, rest = path.read_text(encoding="utf-8").partition(HELP)
    return f"{before}{HELP}\n{made.rstrip()}\n\n{END}{rest.partition(END)[2]}"


def commands(
    group: click.Group = checkinsync, parent: click.Context | None = None
) -> Iterator[tuple[click.Context, click.Command]]:
    """Yield every command that does something, with the context that knows its path."""
    context = click.Context(group, info_name=group.name, parent=parent)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, context)
        elif command is not None:
            yield click.Context(command, info_name=name, parent=context), command


def _overview() -> Iterator[str]:
    """Yield a table with a line for each command."""
    yield from ("| command | what it does |", "|---|---|")
    for context, command in commands():
        typed = _usage(context, command).replace(" [OPTIONS]", "")
        yield f"| `{typed}` | {_paragraphs(command)[0]} |"


def _reference() -> Iterator[str]:
    """Yield a section for each command: what its help says, then its options."""
    for context, command in commands():
        yield f"### {context.command_path}\n\n`{_usage(context, command)}`\n"
        yield "\n\n".join(_paragraphs(command)) + "\n"
        options = [option for option in command.params if isinstance(option, click.Option)]
        shown = [record for option in options if (record := option.get_help_record(context))]
        if shown:
            yield "\n".join(f"- `{names}`: {text}" for names, text in shown) + "\n"


def _usage(context: click.Context, command: click.Command) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _paragraphs(command: click.Command) -> list[str]:
    """Return those of the help, each on one line; a block that click keeps as it is, in a fence."""
    found = inspect.cleandoc(command.help or "").split("\n\n")
    return [
        f"```text\n{text[2:]}\n```" if text.startswith("\b\n") else " ".join(text.split())
        for text in found
    ]


# --- docs/json.md ---------------------------------------------------------------------------------


def _json_page() -> str:
    """The introduction as it stands, then a section per answer, then what several share."""
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    sections = [_section(name, schema) for name, schema in SCHEMAS.items()]
    shared = {name: node for schema in SCHEMAS.values() for name, node in _shared(schema)}
    parts = [_table(f"### {name}", node) for name, node in sorted(shared.items())]
    return "\n".join([page.partition(MARK)[0] + MARK, *sections, "## Shared objects\n", *parts])


def _section(name: str, schema: Schema) -> str:
    about = f"`{schema['title']}`" if name != "error" else schema["title"].capitalize()
    about = f"{about}: `schemas/{name}.schema.json`."
    return _table(f"## {name}\n\n{about}", schema)


def _shared(schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield from schema.get("$defs", {}).items()


def _table(head: str, node: Schema) -> str:
    kind = f" {_kind(node).capitalize()}." if "properties" not in node else ""
    text = node.get("description", "")
    lines = [f"{head}\n\n{text[:1].upper()}{text[1:].rstrip('.')}.{kind}\n"]
    rows = list(_rows(node, ""))
    if rows:
        lines += ["| name | type | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _rows(node: Schema, path: str) -> Iterator[str]:
    required = node.get("required", ())
    for name, below in node.get("properties", {}).items():
        may_lack = "" if name in required else ", may be absent"
        yield f"| `{path}{name}` | {_kind(below)}{may_lack} | {_meaning(below)} |"
        yield from _rows(below, f"{path}{name}.")
        yield from _rows(below.get("items", {}), f"{path}{name}[].")


def _meaning(node: Schema) -> str:
    known = node.get("enum") or node.get("propertyNames", {}).get("enum", ())
    words = ", ".join(f"`{word}`" for word in known if word is not None)
    return f"{node.get('description', '')}{f' ({words})' if words else ''}"


def _kind(node: Schema) -> str:
    """`integer`, `time or null`, `array of run`, …"""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in node:
        return " or ".join(_kind(each) for each in node["anyOf"])
    types: Any = node.get("type", "any")
    types = [types] if isinstance(types, str) else types
    words = ["time" if node.get("format") == "date-time" and t == "string" else t for t in types]
    if "array" in words:
        words[words.index("array")] = f"array of {_kind(node['items'])}"
    return " or ".join(words)


if __name__ == "__main__":
    main()
