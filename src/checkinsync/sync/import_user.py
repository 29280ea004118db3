"""Users brought up to date: one, or several of one process at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from checkinsync.errors import DatabaseError, sentence
from checkinsync.model.user import User
from checkinsync.store import checkins, walks
from checkinsync.sync.importing import Import
from checkinsync.sync.outcome import Imported, attempted
from checkinsync.sync.scope import Scope
from checkinsync.sync.scrub import begin, store_unchanged
from checkinsync.sync.session import Hooks, Services, Session, together

NO_HOOKS = Hooks()

AT_MOST = 1.0
"""Seconds after which those who are there are finished, and no longer wait for others."""

ITEMS = 2000
"""Check-ins that wait on their pages, at most: about 3 kB each."""

Submit = Callable[[Callable[[], None]], object]
"""Has something done: at once, or by another thread."""

Result = tuple[int, Imported | Exception]
"""The number of a user, and how their import went."""

End = Callable[[Sequence[Result]], None]
"""Takes the results of those who are done."""

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
    """Imports of one process: of one user, or of several, who are begun together, and finished
    together where they have nothing new."""

    def __init__(self, services: Services, scope: Scope, *, in_run: bool) -> None:
        """`in_run`: other users' imports may show how tokens are to be sent."""
        self._now = services.now
        self._scope = scope
        self._open = partial(services.open, for_import=True, defer_retry=in_run)

    def __call__(self, user: User, *, run_id: int | None, hooks: Hooks) -> Imported:
        """Import a user; see `import_user`."""
        results: list[Result] = []
        self.each([(user, hooks)], run_id=run_id, submit=lambda work: work(), end=results.extend)
        [(_, result)] = results
        if isinstance(result, Exception):
            raise result
        return result

    def each(
        self, users: Sequence[tuple[User, Hooks]], *, run_id: int | None, submit: Submit, end: End
    ) -> None:
        """Import these users; return when only those are left who go on by themselves.

        `submit` has something done by a thread, or at once; `end` is given each user's result once,
        in any order and by any thread.
        """
        started, asked = self._now(), _Asked(len(users))
        opened = self._open([user for user, _ in users])
        for number, ((user, hooks), session) in enumerate(zip(users, opened, strict=True)):
            if isinstance(session, Session):
                work = Import(session, self._scope, hooks, run_id, started)
                submit(partial(_ask, number, work, asked, end))
            else:
                fields = {"run_id": run_id, "user_id": user.id, "reason": sentence(session)}
                log.info("import_failed", extra={**fields, "requests": 0})
                asked.put(number, None)
                end([(number, session)])
        for group in asked:
            _finish(group, asked, submit, end)


class _Asked:
    """Imports that wait with a page, to be stored together: in groups, the last one as soon as all
    users have been asked for."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._there: dict[int, Import] = {}
        self._items = 0
        self._changed = threading.Condition()

    def put(self, number: int, work: Import | None) -> None:
        """Add a user's import; None: it does not wait."""
        with self._changed:
            if work is not None and work.candidate is not None:
                self._there[number] = work
                self._items += len(work.candidate.checkins)
            self._left -= 1
            if self._is_due():
                self._changed.notify()

    def wait_for(self, count: int) -> None:
        """Wait for so many more."""
        with self._changed:
            self._left += count

    def _is_due(self) -> bool:
        return not self._left or self._items >= ITEMS

    def __iter__(self) -> Iterator[dict[int, Import]]:
        while self._left or self._there:
            with self._changed:
                self._changed.wait_for(self._is_due, timeout=AT_MOST)
                group, self._there, self._items = self._there, {}, 0
            if group:
                yield group


def _ask(number: int, work: Import, asked: _Asked, end: End) -> None:
    """Receive a user's next page. If more than that may be needed, go on at once."""
    problem = attempted(work.ask)
    waits = problem is None and work.candidate is not None
    asked.put(number, work if waits else None)
    if not waits:
        end([(number, problem or _result(work))])


def _finish(group: Mapping[int, Import], asked: _Asked, submit: Submit, end: End) -> None:
    """Store the pages that are there. Those who have something new go on by themselves."""
    problem = attempted(partial(finish_unchanged, list(group.values())))
    done: list[Result] = []
    for number, work in group.items():
        if problem is not None:
            work.session.close()
            done.append((number, problem))
        elif work.is_done:
            done.append((number, _result(work)))
        elif work.scrub is not None and work.scrub.asks:
            asked.wait_for(1)
            submit(partial(_ask, number, work, asked, end))
        else:
            submit(partial(_go_on, number, work, end))
    end(done)


def _go_on(number: int, work: Import, end: End) -> None:
    end([(number, _result(work))])


def _result(work: Import) -> Imported | Exception:
    """Go on to the end, and give the lease back."""
    try:
        return attempted(work.run)
    finally:
        work.session.close()


def finish_unchanged(imports: Sequence[Import]) -> None:
    """Store, in one transaction, that pages are stored as they are shown: the only ones of users
    who have nothing new, and those of slices. The others, and all if that fails, are for `run`."""
    candidates = {each.user_id: each for each in imports if each.candidate is not None}
    if not candidates:
        return
    try:
        with together([each.session for each in candidates.values()]) as (conn, held):
            chosen = [candidates[user] for user in sorted(held) if held[user]]
            pages = [each.candidate for each in chosen if each.candidate is not None]
            unchanged = checkins.as_stored(conn, pages)
            walked = [e for e in chosen if e.user_id in unchanged and e.scrub is None]
            if walked:
                walks.finish(conn, [each.unchanged_end() for each in walked])
            scrubs = [e.scrub for e in chosen if e.user_id in unchanged and e.scrub is not None]
            if scrubs:
                store_unchanged(conn, scrubs)
    except DatabaseError:  # each of them meets it again, and says so
        for each in imports:
            each.scrub = None
        return
    for each in walked:
        each.take_unchanged()
    _begin_slices(walked)


def _begin_slices(imports: Sequence[Import]) -> None:
    """Look together where the next slices of these users begin, whose windows are stored."""
    for each in imports:
        each.scrub = each.new_scrub() if each.scrubs else None
    scrubs = [each.scrub for each in imports if each.scrub and each.scrub.reads_slice]
    if scrubs:
        with suppress(DatabaseError):  # each looks by itself, and meets it again
            begin(scrubs)
