"""One attempt at one user's import, in a worker thread; any way it ends is an outcome."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from checkinsync.errors import CheckinsyncError, Interrupted
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.schedule import Entry
from checkinsync.store.jobs import Progress
from checkinsync.sync.outcome import Imported, Outcome, attempted, ended_with
from checkinsync.sync.session import Hooks

log = logging.getLogger(__name__)


class ImportOne(Protocol):
    """Imports one user: `import_user` in this process, or another way to run it."""

    def __call__(self, user: User, *, run_id: int, hooks: Hooks) -> Imported:
        """Import the user. Raises what `import_user` raises."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished attempt."""

    entry: Entry
    outcome: Outcome
    saved: Saved
    """Stored by its pages, whatever the outcome."""
    interrupted: Interrupted | None = None
    """The reason if it stopped between two pages."""
    last: bool = True
    """Its worker has no other user in hand."""


Tried = Sequence[tuple[User, Hooks]]

Results = Iterator[tuple[int, Imported | Exception]]


class ImportEach(Protocol):
    """Imports several users: `Imports.each`, or another way to run it."""

    def __call__(self, users: Tried, *, run_id: int) -> Results:
        """Yield how that went for each, by their number, in any order."""


def attempt(entry: Entry, import_one: ImportOne, *, run_id: int, hooks: Hooks) -> Ended:
    """Import the user; never raises, so that one user's failure affects no other."""
    [ended] = attempts([(entry, hooks)], one_by_one(import_one), run_id=run_id)
    return ended


def attempts(
    tried: Sequence[tuple[Entry, Hooks]], import_each: ImportEach, *, run_id: int
) -> Iterator[Ended]:
    """Import the users; never raises, and yields how it ended for each."""
    stored = [[Saved()] for _ in tried]
    users = [
        (entry.user, replace(hooks, on_page=partial(_note, saved)))
        for (entry, hooks), saved in zip(tried, stored, strict=True)
    ]
    left = dict(enumerate(tried))
    try:
        for _, hooks in users[:1]:
            hooks.check_stop()
        for number, result in import_each(users, run_id=run_id):
            yield _ended(left.pop(number)[0], result, stored[number][-1], run_id=run_id)
    except Exception as error:  # noqa: BLE001 - nobody is left without an end
        for number, (entry, _) in left.items():
            yield _ended(entry, error, stored[number][-1], run_id=run_id)


def one_by_one(import_one: ImportOne) -> ImportEach:
    """Return what imports several users by importing one after the other."""

    def import_each(users: Tried, *, run_id: int) -> Results:
        for number, (user, hooks) in enumerate(users):
            yield number, attempted(partial(import_one, user, run_id=run_id, hooks=hooks))

    return import_each


def _note(stored: list[Saved], progress: Progress) -> None:
    stored.append(progress.saved)


def _ended(entry: Entry, result: Imported | Exception, saved: Saved, *, run_id: int) -> Ended:
    if isinstance(result, Imported):
        return Ended(entry, result, result.saved)
    if not isinstance(result, CheckinsyncError):
        extra = {"run_id": run_id, "user_id": entry.user.id}
        log.error("import_crashed", extra=extra, exc_info=result)
    interrupted = result if isinstance(result, Interrupted) else None
    return Ended(entry, ended_with(result), saved, interrupted)
