"""Standard input and output: pasted lines, tokens, questions, JSON and files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO

import click

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from checkinsync.errors import CheckinsyncError

CHUNK = 4096

PIECES = 1000
"""Lines, or pieces of JSON, that are written at once."""


def lines(*, within: timedelta) -> Iterator[str]:
    """Yield the lines of standard input as they come. Raises LoginFailed when the time is up.

    Reads past Python's own buffer, since `select` doesn't see what that holds.
    """
    import time

    stdin: TextIO | None = sys.stdin
    if stdin is None:  # it was closed before we started
        return
    deadline = time.monotonic() + within.total_seconds()
    held = b""
    while chunk := _chunk(stdin.fileno(), deadline, within):
        *whole, held = (held + chunk).split(b"\n")
        yield from map(_text, whole)
    yield _text(held)


def _chunk(number: int, deadline: float, within: timedelta) -> bytes:
    """Read what is there; empty at the end."""
    import select
    import time

    from checkinsync.users.loopback import time_is_up

    ready, _, _ = select.select([number], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise time_is_up(within)
    return os.read(number, CHUNK)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip()


def on_terminal() -> bool:
    """Return True if standard output and error are a terminal."""
    return is_terminal(sys.stdout) and is_terminal(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: it was closed before we started


def has_colours() -> bool:
    """Return True if standard output is a terminal that shows colours, and may (no-color.org)."""
    return is_terminal(sys.stdout) and not (os.environ.get("NO_COLOR") or is_dumb())


def is_dumb() -> bool:
    """Return True if the terminal can't do more than print one line after the other."""
    return os.environ.get("TERM") == "dumb"


def iso(value: datetime | None) -> str | None:
    """Return a time as JSON has it, in UTC whatever the session's time zone."""
    from datetime import UTC

    return None if value is None else value.astimezone(UTC).isoformat()


def say_json(value: object) -> None:
    """Print a result for programs; in ASCII where the locale is not UTF-8.

    An iterator in it becomes a list, item by item.
    """
    import json

    stdout: TextIO | None = sys.stdout
    is_utf8 = stdout is not None and stdout.encoding.lower() in {"utf-8", "utf8"}
    _say(json.JSONEncoder(ensure_ascii=not is_utf8, indent=2, default=_items).iterencode(value))
    click.echo()


class _Items(list[Any]):
    """A list whose items are made while the encoder asks for them."""

    def __init__(self, items: Iterator[Any]) -> None:
        first = list(islice(items, 1))  # the encoder looks whether a list is empty
        super().__init__(first)
        self._items = chain(first, items)

    def __iter__(self) -> Iterator[Any]:
        return self._items


def _items(value: object) -> _Items:
    if isinstance(value, Iterator):
        return _Items(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def say_lines(lines: Iterable[str]) -> None:
    """Print lines as they come; there may be a million of them."""
    _say(f"{line}\n" for line in lines)


def _say(pieces: Iterable[str]) -> None:
    pieces = iter(pieces)
    while text := "".join(islice(pieces, PIECES)):
        click.echo(text, nl=False)


def end_with(error: CheckinsyncError) -> NoReturn:
    """End with an error after a result that tells of it, so that no second JSON is printed."""
    click.echo(f"checkinsync: {error}", err=True)
    click.get_current_context().exit(error.exit_code)


@contextmanager
def stdout_at_once() -> Iterator[BinaryIO]:
    """Collect bytes for standard output, written at the block's end, or on an error not at all."""
    import tempfile

    if is_terminal(sys.stdout):
        raise click.UsageError("a terminal can't show this; redirect the output, or name a file")
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        while chunk := file.read(2**16):
            click.echo(chunk, nl=False)


def token_from_stdin(command: str) -> str:
    """Read a Foursquare token for `command`; never from argv, which others can read."""
    from checkinsync.config.validators import is_word

    stdin: TextIO | None = sys.stdin
    if is_terminal(stdin):
        token = click.prompt("Foursquare token", hide_input=True, err=True)
    else:
        token = "" if stdin is None else stdin.readline()
    token = str(token).strip()
    if not is_word(token):
        raise click.UsageError(
            "the Foursquare token is read from standard input, on one line: "
            f"`checkinsync {command} < token.txt`"
        )
    return token


def confirm(question: str) -> None:
    """Ask before something that can't be undone. Raises Abort on a no."""
    if not is_terminal(sys.stdin):
        raise click.UsageError(f"no terminal to ask: {question} If so, use --yes")
    click.confirm(question, abort=True, err=True)
