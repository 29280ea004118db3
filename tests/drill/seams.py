"""Seams at which a process can be struck: functions by name, watched without changing them."""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

Moment = Literal["call", "return"]
Need = Literal["failing", "revoked", "limited", "slow", "long", "gone", "edited"]
"""Conditions under which a seam is reached."""


@dataclass(frozen=True, slots=True)
class Seam:
    """A function at whose call or return a process may be struck."""

    where: str
    """`module:name`, below `checkinsync` if the module begins with a dot."""
    most: int = 1
    """One of the first so many calls of a night is struck."""
    need: Need | None = None

    @property
    def code(self) -> CodeType:
        """The code object; AttributeError if the function no longer exists."""
        module, _, name = self.where.partition(":")
        found: Any = importlib.import_module(f"checkinsync{module}" if module[0] == "." else module)
        for part in name.split("."):
            found = getattr(found, part)
        return found.__code__


SEAMS = {
    "users are begun with": Seam(".sync.session:Services.open", 5),
    "leases are claimed": Seam(".store.leases:acquire_all", 5),
    "leases are held": Seam(".store.leases:held", 12),
    "the leases are renewed": Seam(".store.leases:renew", 2, "slow"),
    "the lease is given back": Seam(".store.leases:release", 5),
    "the run begins": Seam(".nightly.queries:start"),
    "the run ends": Seam(".nightly.queries:finish"),
    "a page is asked for": Seam(".foursquare.client:UserClient.page", 6),
    "a page is taken": Seam(".sync.importing:Import._take", 6),
    "a page is asked for ahead": Seam(".sync.ahead:PagesAhead._ask", 2, "long"),
    "pages are compared": Seam(".store.checkins:as_stored", 6),
    "a page is saved": Seam(".sync.save_page:save_page", 6),
    "check-ins are added": Seam(".store.checkins:add", 4),
    "check-ins are rewritten": Seam(".store.checkins:rewrite", 4),
    "twins are merged": Seam(".store.checkins:merge", 4),
    "photos are saved": Seam(".store.photos:save", 3),
    "odd items are put aside": Seam(".store.quarantine:put", 6),
    "a job begins": Seam(".store.jobs:start", 4),
    "progress is noted": Seam(".store.walks:go_on", 6),
    "walks end": Seam(".store.walks:finish", 4),
    "those with nothing new are done": Seam(".sync.import_user:finish_unchanged", 4),
    "a job ends early": Seam(".store.jobs:end", 2, "failing"),
    "a failure is noted": Seam(".store.sync_state:record_failure", 1, "failing"),
    "a refused token is noted": Seam(".store.sync_state:record_needs_reauth", 1, "revoked"),
    "a rate limit is noted": Seam(".store.sync_state:record_rate_limit", 1, "limited"),
    "an edit is kept": Seam(".store.revisions:add", 1, "edited"),
    "a slice is taken": Seam(".sync.scrub:Scrub.take", 3),
    "the next slice is noted": Seam(".store.slices:store", 3),
    "a stretch is verified": Seam(".sync.coverage:covered", 3),
    "what is missing is looked for": Seam(".sync.scrub:Scrub._look_again", 1, "gone"),
    "missing ones are asked for": Seam(".sync.confirm_deletions:confirm_missing", 2),
    "a check-in is asked for": Seam(".foursquare.client:UserClient.checkin", 1, "gone"),
    "marks are noted": Seam(".store.deletions:note", 1, "gone"),
    "one is gone": Seam(".store.deletions:mark_deleted", 1, "gone"),
    "a commit": Seam("psycopg:Connection.commit", 25),
}
"""Seams by name. A drill fails at its start if a function was renamed."""


OF_WORKERS = {
    "users are handed over": Seam(".workers.handover:insert"),
    "more are queued": Seam(".workers.handover:queue_more", 2),
    "an attempt is admitted": Seam(".workers.shared:SharedRuns.admit", 5),
    "an attempt's end is told": Seam(".workers.shared:SharedRuns.end", 5),
    "a course is stored": Seam(".workers.loading:store", 5),
    "attempts are queued": Seam(".workers.queue:defer", 2),
    "a run is tended": Seam(".workers.shared:SharedRuns.tend", 3),
    "a run is claimed for its end": Seam(".store.shared_runs:claim_close", 5),
    "a run is closed": Seam(".store.shared_runs:close"),
    "the queue is asked": Seam(".workers.queries:answer", 25),
}
"""Seams of runs that workers share."""

ALL = SEAMS | OF_WORKERS


def check() -> None:
    """Raise if the function of a seam does not exist."""
    for seam in ALL.values():
        assert seam.code


def strike_at(name: str, moment: Moment, nth: int, *, sign: signal.Signals, hits: Path) -> None:
    """Send this process a signal at the nth call or return, after a note in `hits`.

    Watches this thread and those that are started later.
    """
    code = ALL[name].code
    passes = itertools.count(1)

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == moment and frame.f_code is code and next(passes) == nth:
            with hits.open("a") as file:
                file.write(f"{name}\n")
            os.kill(os.getpid(), sign)

    threading.setprofile(watch)
    sys.setprofile(watch)
