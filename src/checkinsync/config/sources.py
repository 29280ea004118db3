"""The places a setting may be given in: read by name, all problems kept together.

Knows how a setting is found and nothing of what settings there are. A parser takes text and
returns a value, or raises ValueError with what is allowed; it never repeats a secret.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "CHECKINSYNC_"

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable that names systemd's folder of credentials: a file each, for this service only."""

LARGEST = 2**20
"""Bytes that a file with settings or a secret may have."""

QUOTES = frozenset("\"'`“”„«»")
"""Characters that may stand around a value that was copied from somewhere else."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A parser's value, and what an operator should know of it."""

    value: Any
    notes: tuple[str, ...]


Parser = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class _Given:
    """The text of a setting, or the path of a file that holds it."""

    label: str
    """Its origin: a variable, a key of which file, a credential."""
    text: str
    is_path: bool = False


class Sources:
    """The environment and the settings file; the environment wins, and empty text is not given."""

    def __init__(
        self, environ: Mapping[str, str], file: Mapping[str, Any], *, path: Path | None = None
    ) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.broken: set[str] = set()
        """Settings that were given, but can't be used as they are."""
        self.labels: dict[str, str] = {}
        """The origin of each value, by the setting's name."""
        self.secret_files: list[Path] = []
        """Files that hold a secret, in the order in which they were read."""
        self._environ = environ
        self._file = file
        self._path = path or "the file"

    def read(
        self, parsers: Mapping[str, Parser], *, secrets: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the values of those that were given.

        One of `secrets` may be given as `NAME_FILE`, too, or as a credential of systemd.
        """
        values: dict[str, Any] = {}
        for name, parser in parsers.items():
            with self._about(name):
                self._parse(values, name, parser, self._find(name, secret=name in secrets))
        return values

    def fall_back(self, values: dict[str, Any], name: str, variable: str, parser: Parser) -> None:
        """Let another program's variable, a secret, stand in for a setting that was not given."""
        if name in values:
            return
        with self._about(name):
            found = self._one(
                self._variable(variable), self._variable(f"{variable}_FILE", is_path=True)
            )
            self._parse(values, name, parser, found)

    def borrow(
        self, values: dict[str, Any], name: str, variables: Collection[str], parser: Parser
    ) -> None:
        """Let the first usable of the variables that many programs share stand in for a setting.

        One that can't be used is noted, and is not a problem: it is not ours.
        """
        for given in filter(None, map(self._variable, variables)):
            if name in values or name in self.broken:
                return
            try:
                values[name], self.labels[name] = parser(given.text), given.label
            except ValueError as problem:
                self.notes.append(f"{given.label}: {problem}; it is ignored")

    def refuse(self, name: str, problem: str) -> None:
        """Add a problem of a setting that was read."""
        self.problems.append(f"{self.labels[name]}: {problem}")
        self.broken.add(name)

    def refuse_unknown_keys(self, known: Collection[str]) -> None:
        """Add a problem for each key of the file that is not a setting."""
        for key in self._file:
            if key not in known:
                self.problems.append(f"{self._in_file(key)} is not a setting{_meant(key, known)}")

    def unknown_variables(self, known: Collection[str]) -> list[str]:
        """Return a notice for each variable with our prefix that is unknown: a newer version's?"""
        names = {PREFIX + name.upper() for name in known}
        strange = sorted(set(self._environ) - names)
        return [
            f"{name} is set, but there is no such setting{_meant(name, names)}"
            for name in strange
            if name.startswith(PREFIX)
        ]

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """Count a problem within the block as this setting's."""
        told = len(self.problems)
        yield
        if len(self.problems) > told:
            self.broken.add(name)

    def _parse(
        self, values: dict[str, Any], name: str, parser: Parser, found: _Given | None
    ) -> None:
        if found is not None and found.is_path:
            found = self._content(found)
        if found is None:
            return
        try:
            value = parser(found.text)
        except ValueError as problem:
            self.problems.append(f"{found.label}: {problem}")
            return
        if isinstance(value, Noted):
            self.notes.extend(f"{found.label}: {note}" for note in value.notes)
            value = value.value
        values[name], self.labels[name] = value, found.label

    def _find(self, name: str, *, secret: bool) -> _Given | None:
        """Return what was given for a setting: by the environment, the file, or systemd."""
        variable, told = PREFIX + name.upper(), len(self.problems)
        found = self._one(
            self._variable(variable),
            self._variable(f"{variable}_FILE", is_path=True) if secret else None,
        ) or self._one(self._key(name), self._key(f"{name}_file", is_path=True) if secret else None)
        if found is None and secret and len(self.problems) == told:
            return self._credential(name)
        return found

    def _variable(self, name: str, *, is_path: bool = False) -> _Given | None:
        text = self._environ.get(name)
        return _Given(name, text, is_path) if text else None

    def _key(self, key: str, *, is_path: bool = False) -> _Given | None:
        value = self._file.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | str | None):
            self.problems.append(f"{self._in_file(key)} must be text or a number")
            return None
        return None if value in {None, ""} else _Given(self._in_file(key), str(value), is_path)

    def _in_file(self, key: str) -> str:
        return f"{key} in {self._path}"

    def _credential(self, name: str) -> _Given | None:
        """Return what systemd's LoadCredential= hands to the service under the setting's name."""
        folder = self._environ.get(CREDENTIALS)
        if not folder or not os.path.lexists(Path(folder) / name):
            return None
        return _Given(f"the credential {name}", str(Path(folder) / name), is_path=True)

    def _one(self, *candidates: _Given | None) -> _Given | None:
        present = [given for given in candidates if given]
        if len(present) > 1:
            labels = " and ".join(given.label for given in present)
            self.problems.append(f"{labels} are both given; keep one of them")
        return present[0] if present else None

    def _content(self, given: _Given) -> _Given | None:
        """Return a secret from its own file, without the newline that editors put at the end.

        A problem shows the path only where it looks like one: it may be the secret itself.
        """
        path, label = given.text, given.label
        named = path if path.startswith(("/", "~", ".")) else "the file it names"
        try:
            file = Path(path).expanduser()
            text = read_text(file)
        except (OSError, RuntimeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a path of text in UTF-8"
            self.problems.append(f"{label}: {named} can't be read ({why})")
            return None
        self.secret_files.append(file)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            self.problems.append(f"{label}: {named} is empty")
            return None
        return _Given(f"{label} ({file})", text)


def read_text(path: Path) -> str:
    """Return a file's text without a byte order mark. Raises OSError, and ValueError for no text.

    A FIFO without a writer is empty, instead of waited for.
    """
    with open(path, "rb", opener=_at_once) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    return content.decode("utf-8-sig")


def _at_once(path: str, flags: int) -> int:
    number = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(number, True)
    return number


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (is {near[0]} meant?)" if near else ""
