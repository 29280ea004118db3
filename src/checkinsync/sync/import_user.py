"""Users brought up to date: one, or several of one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from checkinsync.errors import DatabaseError, sentence
from checkinsync.model.user import User
from checkinsync.store import checkins, walks
from checkinsync.sync.grouped import Grouped
from checkinsync.sync.importing import Import
from checkinsync.sync.outcome import Imported
from checkinsync.sync.scope import Scope
from checkinsync.sync.session import Hooks, Services, Session, together
from checkinsync.sync.turns import Turns

NO_HOOKS = Hooks()

log = logging.getLogger(__name__)


def import_user(
    user: User,
    *,
    services: Services,
    scope: Scope,
    hooks: Hooks = NO_HOOKS,
    run_id: int | None = None,
) -> Imported:
    """Walk the user's list as far as `scope` says and store what it shows.

    `run_id`: the nightly run that this import belongs to; None: an operator's.
    Raises NoToken, TokenUnreadable, TokenRejected, AtWork, LeaseLost, RateLimited, QuotaExceeded,
    FoursquareAway, RequestRefused, DatabaseError, UserRemoved, UserFailed, and what
    `hooks.check_stop` raises; what was committed stays.
    """
    return Imports(services, scope, in_run=run_id is not None)(user, run_id=run_id, hooks=hooks)


class Imports:
    """Imports of one process: those that coincide are begun together, and those that find nothing
    new are finished together."""

    def __init__(
        self, services: Services, scope: Scope, *, in_run: bool, turns: Turns | None = None
    ) -> None:
        """`in_run`: other users' imports may show how tokens are to be sent; `turns`: for those
        who may ask Foursquare at a time; None: no limit."""
        self._now = services.now
        self._scope = scope
        self._turns = turns or Turns(now=services.now)
        begin = partial(services.open, for_import=True, defer_retry=in_run)
        self._open = Grouped(begin, patience=lambda: self._turns.patience)
        self._finish = Grouped(finish_unchanged, patience=lambda: self._turns.patience)

    def __call__(self, user: User, *, run_id: int | None, hooks: Hooks) -> Imported:
        """Import a user; see `import_user`."""
        started = self._now()
        opened = self._open(user)
        if not isinstance(opened, Session):
            fields = {"run_id": run_id, "user_id": user.id, "reason": sentence(opened)}
            log.info("import_failed", extra={**fields, "requests": 0})
            raise opened
        work = Import(opened, self._scope, hooks, run_id, started)
        try:
            with self._turns:
                work.ask()
            self._finish(work)
            with self._turns if work.goes_on else nullcontext():
                return work.run()
        finally:
            opened.close()
            self._turns.note_end()


def finish_unchanged(imports: Sequence[Import]) -> Sequence[None]:
    """Finish, in one transaction, the imports whose only page is stored as it is shown: those of
    users who have nothing new. The others, and all if that fails, are for `run`."""
    candidates = {each.user_id: each for each in imports if each.candidate is not None}
    if candidates:
        _finish(candidates)
    return [None] * len(imports)


def _finish(candidates: Mapping[int, Import]) -> None:
    try:
        with together([each.session for each in candidates.values()]) as (conn, held):
            chosen = [candidates[user] for user in sorted(held) if held[user]]
            pages = [each.candidate for each in chosen if each.candidate is not None]
            unchanged = checkins.as_stored(conn, pages)
            done = [each for each in chosen if each.user_id in unchanged]
            if done:
                walks.finish(conn, [each.unchanged_end() for each in done])
    except DatabaseError:  # each of them meets it again, and says so
        return
    for each in done:
        each.take_unchanged()
