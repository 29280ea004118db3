"""A migration's text -> which locks it takes on tables that others use, and who waits; pure.

It knows the statements that `sql/` is made of, not all of SQL; a test compares it with the locks
that the server says are held.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from checkinsync.migrations.files import Migration

PACE = 50_000_000
"""Bytes of a table that are read in a second, to be told beforehand; three times as many were
measured on a small machine."""


class Mode(Enum):
    """A lock's name in PostgreSQL, and who has to wait behind it; the weakest first."""

    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def waits(self) -> str:
        """Who: `nobody`, `writers`, or `readers and writers`."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "readers and writers"
        return "writers" if self.strength >= Mode.SHARE.strength else "nobody"

    @property
    def strength(self) -> int:
        """What is stronger makes more others wait."""
        return list(Mode).index(self)


@dataclass(frozen=True, slots=True)
class Lock:
    """A table of others, and the strongest lock that a migration takes on it."""

    table: str
    mode: Mode
    by: str
    """The kind of statement that takes it."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a migration does to the tables that are there already."""

    locks: tuple[Lock, ...]
    """In the order in which they are taken; held until the file is through, unless `beside`."""
    reads: tuple[str, ...]
    """The tables that are read from end to end meanwhile."""
    beside: bool
    """Each statement for itself, without transaction: its locks end with it."""

    def seconds(self, sizes: Mapping[str, int]) -> float:
        """How long it takes, by order of magnitude; `sizes` in bytes. Of what is not read: none."""
        return sum(sizes.get(table, 0) for table in self.reads) / PACE


class _Match(NamedTuple):
    place: int
    lock: Lock
    reads: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    by: str
    begins: str
    """A pattern; its first group is the table, its second, if any, what is done to it."""
    mode: Mode
    reads: bool = False
    reads_for: str | None = None
    """It reads only where what is done matches this."""

    def matches(self, text: str) -> Iterator[_Match]:
        for match in re.finditer(self.begins, text, re.I):
            reading = self.reads or bool(
                self.reads_for and re.search(self.reads_for, match[2], re.I)
            )
            yield _Match(match.start(), Lock(match[1].lower(), self.mode, self.by), reading)


_REWRITES = (
    r"\bTYPE\b|\bSET NOT NULL\b"
    r"|\bADD (?:CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN)\b(?!.*NOT VALID)"
)
_INDEX = r"\bCREATE (?:UNIQUE )?INDEX "
_NAMED = r"(?:IF NOT EXISTS )?\w+ ON (?:ONLY )?(\w+)"
_RULES = (
    _Rule(
        "ALTER TABLE",
        r"\bALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) (?!VALIDATE )([^;]*)",
        Mode.ACCESS_EXCLUSIVE,
        reads_for=_REWRITES,
    ),
    _Rule(
        "VALIDATE CONSTRAINT",
        r"\bALTER TABLE (?:IF EXISTS )?(\w+) VALIDATE ",
        Mode.SHARE_UPDATE_EXCLUSIVE,
        reads=True,
    ),
    _Rule("DROP TABLE", r"\bDROP TABLE (?:IF EXISTS )?(\w+)", Mode.ACCESS_EXCLUSIVE),
    _Rule("TRUNCATE", r"\bTRUNCATE (?:TABLE )?(\w+)", Mode.ACCESS_EXCLUSIVE),
    _Rule("DROP TRIGGER", r"\bDROP TRIGGER (?:IF EXISTS )?\w+ ON (\w+)", Mode.ACCESS_EXCLUSIVE),
    _Rule(
        "CREATE TRIGGER",
        r"\bCREATE TRIGGER \w+ [^;]*? ON (\w+) FOR EACH",
        Mode.SHARE_ROW_EXCLUSIVE,
    ),
    _Rule("REFERENCES", r"\bREFERENCES (\w+)", Mode.SHARE_ROW_EXCLUSIVE),
    _Rule("CREATE INDEX", _INDEX + r"(?!CONCURRENTLY)" + _NAMED, Mode.SHARE, reads=True),
    _Rule(
        "CREATE INDEX CONCURRENTLY",
        _INDEX + r"CONCURRENTLY " + _NAMED,
        Mode.SHARE_UPDATE_EXCLUSIVE,
        reads=True,
    ),
    _Rule("COMMENT", r"\bCOMMENT ON (?:TABLE|COLUMN) (\w+)", Mode.SHARE_UPDATE_EXCLUSIVE),
    _Rule("UPDATE", r"(?<!BEFORE )(?<!AFTER )\bUPDATE (\w+)", Mode.ROW_EXCLUSIVE, reads=True),
    _Rule("DELETE", r"\bDELETE FROM (\w+)", Mode.ROW_EXCLUSIVE, reads=True),
    _Rule("INSERT", r"\bINSERT INTO (\w+)", Mode.ROW_EXCLUSIVE),
)


def of(file: Migration, *, there: Collection[str]) -> Footprint:
    """What this file does to the tables that are `there` before any file is applied."""
    text = _plain(file.text, there)
    matches = [match for rule in _RULES for match in rule.matches(text)]
    found = sorted(
        (match for match in matches if match.lock.table in there), key=lambda match: match.place
    )
    strongest: dict[str, Lock] = {}
    for _, lock, _ in found:
        held = strongest.get(lock.table, lock)
        strongest[lock.table] = max(held, lock, key=lambda each: each.mode.strength)
    return Footprint(
        locks=tuple(strongest.values()),
        reads=tuple(match.lock.table for match in found if match.reads),
        beside=file.alone,
    )


def _plain(text: str, there: Collection[str]) -> str:
    """Without comments, function bodies, and the making of tables that are there already."""
    text = re.sub(r"--[^\n]*", "", text)
    text = re.sub(r"\bCREATE (?:OR REPLACE )?FUNCTION\b.*?\$\$.*?\$\$", "", text, flags=re.S | re.I)
    text = " ".join(text.split())

    def made(match: re.Match[str]) -> str:
        return "" if match[1].lower() in there else match[0]

    return re.sub(r"\bCREATE TABLE IF NOT EXISTS (\w+)[^;]*", made, text, flags=re.I)
