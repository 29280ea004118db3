"""Users brought up to date: one, or several of one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from checkinsync.errors import CheckinsyncError, DatabaseError, sentence
from checkinsync.model.user import User
from checkinsync.store import checkins, walks
from checkinsync.sync.importing import Import
from checkinsync.sync.outcome import Imported, attempted
from checkinsync.sync.scope import Scope
from checkinsync.sync.session import Hooks, Services, Session, together

NO_HOOKS = Hooks()

AT_MOST = timedelta(seconds=1)
"""After so long those who are there are finished, and no longer wait for others."""

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
    """Imports of one process: of one user, or of several, one after the other, who are begun
    together, and finished together where they have nothing new."""

    def __init__(self, services: Services, scope: Scope, *, in_run: bool) -> None:
        """`in_run`: other users' imports may show how tokens are to be sent."""
        self._now = services.now
        self._scope = scope
        self._open = partial(services.open, for_import=True, defer_retry=in_run)

    def __call__(self, user: User, *, run_id: int | None, hooks: Hooks) -> Imported:
        """Import a user; see `import_user`."""
        [(_, result)] = self.each([(user, hooks)], run_id=run_id)
        if isinstance(result, Exception):
            raise result
        return result

    def each(
        self, users: Sequence[tuple[User, Hooks]], *, run_id: int | None
    ) -> Iterator[tuple[int, Imported | Exception]]:
        """Import these users; yield how that went for each, by their number, in any order."""
        started, asked, since = self._now(), dict[int, Import](), self._now()
        opened = self._open([user for user, _ in users])
        try:
            for number, ((user, hooks), session) in enumerate(zip(users, opened, strict=True)):
                work = self._asked(user, session, hooks, run_id, started)
                if isinstance(work, Exception):
                    yield number, work
                elif work.candidate is None:
                    yield number, _result(work)
                else:
                    asked[number] = work
                if self._now() - since >= AT_MOST:
                    yield from _finished(asked)
                    asked, since = {}, self._now()
            yield from _finished(asked)
        finally:
            for session in opened:
                if isinstance(session, Session):
                    session.close()

    def _asked(
        self,
        user: User,
        session: Session | CheckinsyncError,
        hooks: Hooks,
        run_id: int | None,
        started: datetime,
    ) -> Import | Exception:
        """Return the import with its first page, or why there is none."""
        if not isinstance(session, Session):
            fields = {"run_id": run_id, "user_id": user.id, "reason": sentence(session)}
            log.info("import_failed", extra={**fields, "requests": 0})
            return session
        work = Import(session, self._scope, hooks, run_id, started)
        return attempted(work.ask) or work


def _finished(asked: Mapping[int, Import]) -> Iterator[tuple[int, Imported | Exception]]:
    """Finish imports whose first pages are there, and yield how they went."""
    finish_unchanged(list(asked.values()))
    for number, work in asked.items():
        yield number, _result(work)


def _result(work: Import) -> Imported | Exception:
    """Go on to the end, and give the lease back."""
    try:
        return attempted(work.run)
    finally:
        work.session.close()


def finish_unchanged(imports: Sequence[Import]) -> None:
    """Finish, in one transaction, the imports whose only page is stored as it is shown: those of
    users who have nothing new. The others, and all if that fails, are for `run`."""
    candidates = {each.user_id: each for each in imports if each.candidate is not None}
    if not candidates:
        return
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
