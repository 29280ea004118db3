"""The locks that a migration declares on tables that others use, and who waits for them; pure.

Each file of `sql/` declares them in its head. A test compares that with the locks that the server
says are held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from checkinsync.errors import MigrationRefused
from checkinsync.migrations.files import Migration

PACE = 50_000_000
"""Bytes of a table that are read in a second, for the estimate; three times as many were measured
on a small machine."""


class Mode(Enum):
    """A table lock by its name in PostgreSQL; the weakest first."""

    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def waits(self) -> str:
        """The sessions that wait for it: `nobody`, `writers`, or `readers and writers`."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "readers and writers"
        return "writers" if self.strength >= Mode.SHARE.strength else "nobody"

    @property
    def strength(self) -> int:
        """The rank: a stronger lock makes more sessions wait."""
        return list(Mode).index(self)


@dataclass(frozen=True, slots=True)
class Lock:
    """A table, and the strongest lock that a migration takes on it."""

    table: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Footprint:
    """The effects of a migration on the tables that are there already."""

    locks: tuple[Lock, ...]
    """In the order in which they are taken; with a transaction, all are held until its end."""
    reads: tuple[str, ...]
    """The tables that are read from end to end meanwhile, each as often as it is read."""
    no_transaction: bool
    """Each statement runs for itself, and its locks end with it."""

    def seconds(self, sizes: Mapping[str, int]) -> float:
        """Return the duration by order of magnitude; `sizes` of the tables in bytes."""
        return sum(sizes.get(table, 0) for table in self.reads) / PACE


def of(file: Migration, *, there: Collection[str] | None) -> Footprint:
    """Return what this file declares for the tables that are `there` before any file is applied.

    `there`: None for all tables. Raises MigrationRefused for a declaration that can't be read.
    """
    try:
        locks = [_lock(item) for item in file.declared("locks")]
        reads = [table for item in file.declared("reads") for table in _reads(item)]
    except ValueError as error:
        raise MigrationRefused(f"{file.name}: its head can't be read: {error}") from None
    return Footprint(
        locks=tuple(lock for lock in locks if there is None or lock.table in there),
        reads=tuple(table for table in reads if there is None or table in there),
        no_transaction=file.no_transaction,
    )


def altered(files: Iterable[Migration]) -> set[str]:
    """Return the tables that these files alter or index, which only their owners may."""
    found = [lock for file in files for lock in of(file, there=None).locks]
    return {lock.table for lock in found if lock.mode is not Mode.SHARE_ROW_EXCLUSIVE}


def _lock(item: str) -> Lock:
    """Parse `checkins ACCESS EXCLUSIVE`."""
    table, _, mode = item.partition(" ")
    return Lock(table, Mode(mode))


def _reads(item: str) -> list[str]:
    """Parse `checkins`, or `checkins 3 times`."""
    table, _, times = item.partition(" ")
    return [table] * int(times.removesuffix(" times") or 1)
