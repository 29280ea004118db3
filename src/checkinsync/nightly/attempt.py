"""One attempt at one user's import, in a worker thread; any way it ends is an outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from checkinsync.errors import CheckinsyncError, Interrupted
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.schedule import Entry
from checkinsync.store.jobs import Progress
from checkinsync.sync.import_user import End, Result, Submit
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


Tried = Sequence[tuple[User, Hooks]]


class ImportEach(Protocol):
    """Imports several users: `Imports.each`, or another way to run it."""

    def __call__(self, users: Tried, *, run_id: int, submit: Submit, end: End) -> None:
        """See `Imports.each`."""


def attempt(entry: Entry, import_one: ImportOne, *, run_id: int, hooks: Hooks) -> Ended:
    """Import the user; never raises, so that one user's failure affects no other."""
    ends: list[Ended] = []
    attempts(
        [(entry, hooks)],
        one_by_one(import_one),
        run_id=run_id,
        submit=lambda work: work(),
        end=ends.extend,
    )
    return ends[0]


def attempts(
    tried: Sequence[tuple[Entry, Hooks]],
    import_each: ImportEach,
    *,
    run_id: int,
    submit: Submit,
    end: Callable[[list[Ended]], None],
) -> None:
    """Import the users; never raises, and `end` is given how it ended once for each, by any
    thread."""
    left = {number: (entry, [Saved()]) for number, (entry, _) in enumerate(tried)}
    users = [
        (entry.user, replace(hooks, on_page=partial(_note, left[number][1])))
        for number, (entry, hooks) in enumerate(tried)
    ]

    def ended(results: Sequence[Result]) -> None:
        done = [(left.pop(number), result) for number, result in results]
        end([_ended(entry, result, saved[-1], run_id=run_id) for (entry, saved), result in done])

    def work() -> None:
        for _, hooks in users[:1]:
            hooks.check_stop()
        import_each(users, run_id=run_id, submit=submit, end=ended)

    problem = attempted(work)
    if problem is not None:  # nobody is left without an end
        ended([(number, problem) for number in list(left)])


def one_by_one(import_one: ImportOne) -> ImportEach:
    """Return what imports several users by importing each by themselves."""

    def import_each(users: Tried, *, run_id: int, submit: Submit, end: End) -> None:
        def do(number: int, user: User, hooks: Hooks) -> None:
            end([(number, attempted(partial(import_one, user, run_id=run_id, hooks=hooks)))])

        for number, (user, hooks) in enumerate(users):
            submit(partial(do, number, user, hooks))

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
