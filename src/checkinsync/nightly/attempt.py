"""One attempt at one user's import, in a worker thread; any way it ends is an outcome."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Protocol

from checkinsync.errors import CheckinsyncError, Interrupted
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.schedule import Entry
from checkinsync.sync.outcome import Imported, Outcome, ended_with
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


def attempt(entry: Entry, import_one: ImportOne, *, run_id: int, hooks: Hooks) -> Ended:
    """Import the user; never raises, so that one user's failure affects no other."""
    stored = [Saved()]
    interrupted = None
    outcome: Outcome
    hooks = replace(hooks, on_page=lambda progress: stored.append(progress.saved))
    try:
        hooks.check_stop()
        outcome = imported = import_one(entry.user, run_id=run_id, hooks=hooks)
        stored.append(imported.saved)
    except Exception as error:
        if not isinstance(error, CheckinsyncError):
            extra = {"run_id": run_id, "user_id": entry.user.id}
            log.exception("import_crashed", extra=extra)
        outcome = ended_with(error)
        interrupted = error if isinstance(error, Interrupted) else None
    return Ended(entry, outcome, stored[-1], interrupted)
