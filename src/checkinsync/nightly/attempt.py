"""One attempt at one user's import, in a worker's thread: whatever becomes of it is an outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from checkinsync.errors import CheckinsyncError, Interrupted
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.schedule import Entry
from checkinsync.store.jobs import Progress
from checkinsync.sync.outcome import Imported, Outcome, ended_with

log = logging.getLogger(__name__)

OnPage = Callable[[Progress], None]


class ImportOne(Protocol):
    """Imports one user: `import_user` in this process, or whatever reaches it elsewhere."""

    def __call__(
        self,
        user: User,
        *,
        run_id: int,
        check_stop: Callable[[], None],
        on_page: OnPage,
        may_scrub: Callable[[], bool],
    ) -> Imported:
        """Raises what `import_user` raises. `spare`: whether there is time for more than the
        window."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that came back from its worker."""

    entry: Entry
    outcome: Outcome
    saved: Saved
    """What its pages stored, to whichever end."""
    interrupted: Interrupted | None = None
    """Why it stopped between two pages, where it did."""


def attempt(
    entry: Entry,
    import_one: ImportOne,
    *,
    run_id: int,
    check_stop: Callable[[], None],
    may_scrub: Callable[[], bool],
) -> Ended:
    """Never raises, so that one user's failure stays his own."""
    stored = [Saved()]
    interrupted = None
    outcome: Outcome
    try:
        check_stop()
        outcome = imported = import_one(
            entry.user,
            run_id=run_id,
            check_stop=check_stop,
            on_page=lambda progress: stored.append(progress.saved),
            may_scrub=may_scrub,
        )
        stored.append(imported.saved)
    except Exception as error:
        if not isinstance(error, CheckinsyncError):
            extra = {"run_id": run_id, "user_id": entry.user.id}
            log.exception("import_crashed", extra=extra)
        outcome = ended_with(error)
        interrupted = error if isinstance(error, Interrupted) else None
    return Ended(entry, outcome, stored[-1], interrupted)
