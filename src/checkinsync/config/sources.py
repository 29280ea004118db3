"""What was given, by the environment or by the file: read by name, all problems kept together.

Knows how a setting is found and nothing of what settings there are. A parser takes text and
returns a value, or raises ValueError with what is allowed; it never repeats a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "CHECKINSYNC_"

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the credentials of a service: a file each, which only the service reads."""

Parser = Callable[[str], Any]


class Sources:
    """The environment and the file; the environment wins, and empty text counts as nothing."""

    def __init__(self, environ: Mapping[str, str], file: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self.broken: set[str] = set()
        """Settings that were given, but not so that they can be used."""
        self.secret_files: list[Path] = []
        """Files that hold a secret, in the order in which they were read."""
        self._environ = environ
        self._file = file

    def read(
        self, parsers: Mapping[str, Parser], *, secrets: Collection[str] = ()
    ) -> dict[str, Any]:
        """The values of those that were given; `secrets` may be given as `NAME_FILE`, too, or as
        a credential of systemd."""
        values: dict[str, Any] = {}
        for name, parser in parsers.items():
            with self._about(name):
                secret = name in secrets
                found = self._find(name, secret=secret) or (
                    self._credential(name) if secret and name not in self.broken else None
                )
                if found is not None:
                    self._parse(values, name, parser, *found)
        return values

    def fall_back(self, values: dict[str, Any], name: str, variable: str, parser: Parser) -> None:
        """Another program's variable stands in for a setting that was not given; it is a secret."""
        if name in values:
            return
        path_variable = f"{variable}_FILE"
        with self._about(name):
            found = self._one(
                (variable, self._environ.get(variable)),
                (path_variable, self._environ.get(path_variable)),
            )
            if found is not None and found[0] == path_variable:
                found = self._content(*found)
            if found is not None:
                self._parse(values, name, parser, *found)

    def refuse_unknown_keys(self, known: Collection[str]) -> None:
        """A key of the file that no setting has is a slip of the pen."""
        for key in self._file:
            if key not in known:
                self.problems.append(f"{key} in the file is no setting{_meant(key, known)}")

    def unknown_variables(self, known: Collection[str]) -> list[str]:
        """Ours by their prefix, yet unknown: maybe a newer version's."""
        names = {PREFIX + name.upper() for name in known}
        strange = sorted(set(self._environ) - names)
        return [
            f"{name} is set, but there is no such setting{_meant(name, names)}"
            for name in strange
            if name.startswith(PREFIX)
        ]

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """A problem told within the block is this setting's."""
        told = len(self.problems)
        yield
        if len(self.problems) > told:
            self.broken.add(name)

    def _parse(
        self, values: dict[str, Any], name: str, parser: Parser, label: str, text: str
    ) -> None:
        try:
            values[name] = parser(text)
        except ValueError as problem:
            self.problems.append(f"{label}: {problem}")

    def _find(self, name: str, *, secret: bool) -> tuple[str, str] | None:
        """Where a setting stands and its text; None where nobody gave it, or not readably."""
        variable = PREFIX + name.upper()
        path_variable, path_key = f"{variable}_FILE", f"{name}_file"
        found = self._one(
            (variable, self._environ.get(variable)),
            (path_variable, self._environ.get(path_variable) if secret else None),
        ) or self._one(
            (name, self._from_file(name)),
            (path_key, self._from_file(path_key) if secret else None),
        )
        if found is None:
            return None
        label, text = found
        if secret and label in {path_variable, path_key}:
            return self._content(label, text)
        return label, text

    def _credential(self, name: str) -> tuple[str, str] | None:
        """What systemd's LoadCredential= hands to the service under the setting's name."""
        folder = self._environ.get(CREDENTIALS)
        if not folder or not (Path(folder) / name).exists():
            return None
        return self._content(f"the credential {name}", str(Path(folder) / name))

    def _one(self, *candidates: tuple[str, str | None]) -> tuple[str, str] | None:
        present = [(label, text) for label, text in candidates if text]
        if len(present) > 1:
            labels = " and ".join(label for label, _ in present)
            self.problems.append(f"{labels} are both given; keep one of them")
        return present[0] if present else None

    def _from_file(self, key: str) -> str | None:
        value = self._file.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problems.append(f"{key} in the file must be text or a number")
            return None
        return str(value)

    def _content(self, label: str, path: str) -> tuple[str, str] | None:
        """A secret from its own file, without the newline that editors put at the end.

        A problem shows the path only where it looks like one: it may be the secret itself.
        """
        named = path if path.startswith(("/", "~", ".")) else "the file it names"
        try:
            file = Path(path).expanduser()
            text = file.read_text(encoding="utf-8")
        except (OSError, RuntimeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "no path of a text in UTF-8"
            self.problems.append(f"{label}: {named} can't be read ({why})")
            return None
        self.secret_files.append(file)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            self.problems.append(f"{label}: {named} is empty")
            return None
        return label, text


def _meant(name: str, known: Collection[str]) -> str:
    import difflib  # noqa: PLC0415 - for a slip of the pen only

    near = difflib.get_close_matches(name, known, n=1)
    return f" (is {near[0]} meant?)" if near else ""
