"""The files of `sql/`, and their state by the ledger; pure but for reading the files.

A file's name is `NNN_what_it_adds.sql`; names are the order. The ledger knows the text by its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import pairwise, takewhile
from pathlib import Path

from checkinsync.errors import MigrationRefused

_NAME = re.compile(r"([0-9]{3})_[a-z0-9_]+\.sql")
_NO_TRANSACTION = "-- no transaction"

_HEADS = {
    "001_application_tables.sql": """\
-- locks: users ACCESS EXCLUSIVE, import_jobs ACCESS EXCLUSIVE, checkins ACCESS EXCLUSIVE
""",
    "002_add_last_login_at.sql": """\
-- locks: users ACCESS EXCLUSIVE
-- reads: users 2 times
""",
}
"""Declarations for the files that were applied before files had a head, and can't get one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL that is sent at once, and the line of its file where it begins (from 1)."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration. Raises MigrationRefused for a name without a number."""

    name: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a file that can't be put in order, or can't be split into statements."""
        if not _NAME.fullmatch(self.name):
            raise MigrationRefused(f"{self.name} is not named like NNN_what_it_adds.sql")
        if self.no_transaction and "$$" in self.text:
            raise MigrationRefused(
                f"{self.name}: a file without transaction can't have function bodies"
            )

    @property
    def number(self) -> int:
        """The place in the order."""
        return int(self.name[:3])

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def no_transaction(self) -> bool:
        """True if each statement runs for itself, as CONCURRENTLY demands; it can be run again."""
        return self.text.split("\n", 1)[0].strip() == _NO_TRANSACTION

    def declared(self, what: str) -> list[str]:
        """Return the items of `-- what: one, another` in the comments that begin the file."""
        lines = f"{_HEADS.get(self.name, '')}{self.text}".splitlines()
        head = takewhile(lambda line: line.startswith("--"), lines)
        begin = f"-- {what}:"
        return [
            item.strip()
            for line in head
            if line.startswith(begin)
            for item in line.removeprefix(begin).split(",")
        ]

    @property
    def statements(self) -> list[Statement]:
        """The whole text; without transaction, each part that ends in `;` at the end of a line."""
        if not self.no_transaction:
            return [Statement(self.text, 1)]
        found, begin = [], 1
        lines = self.text.split("\n")
        for number, line in enumerate(lines, start=1):
            if line.rstrip().endswith(";") and not line.lstrip().startswith("--"):
                found.append(Statement("\n".join(lines[begin - 1 : number]), begin))
                begin = number + 1
        rest = "\n".join(lines[begin - 1 :])
        if any(line.strip() and not line.lstrip().startswith("--") for line in lines[begin - 1 :]):
            found.append(Statement(rest, begin))
        return found


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of the ledger."""

    name: str
    sha256: str
    applied_at: datetime
    baseline: bool
    """Recorded as applied without having been run."""


class State(Enum):
    """The state of a migration."""

    APPLIED = "applied"
    BASELINE = "baseline"
    PENDING = "pending"
    CHANGED = "changed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration, its state, and when it was applied (None: it was not)."""

    name: str
    state: State
    applied_at: datetime | None


def standings(files: Sequence[Migration], ledger: Sequence[Applied]) -> list[MigrationStatus]:
    """Return the state of every file and of every row of the ledger, in order."""
    known = {file.name: file for file in files}
    rows = {row.name: row for row in ledger}
    return [_standing(name, known.get(name), rows.get(name)) for name in sorted({*known, *rows})]


def undone(files: Sequence[Migration], ledger: Sequence[Applied]) -> list[Migration]:
    """Return the pending files, in order. Raises MigrationRefused where the ledger disagrees."""
    stand = standings(files, ledger)
    problems = [_PROBLEMS[s.state].format(s.name) for s in stand if s.state in _PROBLEMS]
    last = max((row.name for row in ledger), default="")
    pending = {s.name for s in stand if s.state is State.PENDING}
    problems += [
        f"{name} comes out of order: {last} is applied already"
        for name in sorted(pending)
        if name < last
    ]
    if problems:
        raise MigrationRefused("; ".join(problems))
    return [file for file in in_order(files) if file.name in pending]


def pending_text(names: Sequence[str]) -> str:
    """Return `10 migrations are pending (001 to 010)`, short whatever their number."""
    first, last = names[0][:3], names[-1][:3]
    match len(names):
        case 1:
            return f"1 migration is pending ({first})"
        case 2:
            return f"2 migrations are pending ({first} and {last})"
        case many:
            return f"{many} migrations are pending ({first} to {last})"


def up_to(files: Sequence[Migration], number: int) -> list[Migration]:
    """Return the files up to this number. Raises MigrationRefused where no file has it."""
    ordered = in_order(files)
    if number not in {file.number for file in ordered}:
        there = ", ".join(f"{file.number:03}" for file in ordered)
        raise MigrationRefused(f"there is no migration {number:03}; there are {there}")
    return [file for file in ordered if file.number <= number]


def in_order(files: Sequence[Migration]) -> list[Migration]:
    """Return them sorted. Raises MigrationRefused where two files have the same number."""
    ordered = sorted(files, key=lambda file: file.name)
    for one, other in pairwise(ordered):
        if one.number == other.number:
            raise MigrationRefused(f"{one.name} and {other.name} have the same number")
    return ordered


def _standing(name: str, file: Migration | None, row: Applied | None) -> MigrationStatus:
    if row is None:
        return MigrationStatus(name, State.PENDING, None)
    if file is None:
        return MigrationStatus(name, State.MISSING, row.applied_at)
    if file.sha256 != row.sha256:
        return MigrationStatus(name, State.CHANGED, row.applied_at)
    return MigrationStatus(name, State.BASELINE if row.baseline else State.APPLIED, row.applied_at)


_PROBLEMS = {
    State.CHANGED: "{} was changed after it was applied: restore it, and add a new file instead",
    State.MISSING: "{} was applied and is missing here: install the newer version of checkinsync",
}


def directory() -> Path:
    """Return the folder in the installed package, else the one beside the sources."""
    package = Path(__file__).parents[1]
    packaged = package / "sql"
    return packaged if packaged.is_dir() else package.parents[1] / "sql"


def read(folder: Path | None = None) -> list[Migration]:
    """Return all migrations, in order; `folder`: instead of ours. Raises MigrationRefused."""
    folder = folder or directory()
    found = in_order([_file(path) for path in folder.glob("*.sql")])
    if not found:
        raise MigrationRefused(f"{folder} has no migrations: install checkinsync again")
    return found


def names() -> list[str]:
    """Return the names alone, in order; fast enough for every command."""
    return sorted(path.name for path in directory().glob("*.sql"))


def _file(path: Path) -> Migration:
    """Read a file; the line ends and the byte order mark of another system are no part of it."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return Migration(path.name, text)
    except (OSError, UnicodeDecodeError):
        raise MigrationRefused(f"{path} can't be read as UTF-8 text") from None
