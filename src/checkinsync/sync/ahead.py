"""Receives the next pages in threads of their own, while the ones before are stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue

from checkinsync.errors import Interrupted
from checkinsync.foursquare.client import UserClient
from checkinsync.model.listing import Page, PageRequest
from checkinsync.shutdown import signals_deferred
from checkinsync.sync.walk import Walk

MOST = 8
"""Pages asked for at the same time."""

RESERVE = 50
"""Requests of the hour below which nothing is guessed."""


class PagesAhead:
    """One user's pages. The next one is asked for as soon as it is known; where the answers keep us
    waiting, also those that will probably follow."""

    def __init__(self, client: UserClient, check_stop: Callable[[], None]) -> None:
        """`check_stop`: called before each request; raises Interrupted when it is time to stop."""
        self._client = client
        self._check_stop = check_stop
        self._asked: dict[PageRequest, Future[Page]] = {}
        self._waits = 0
        self._queue: SimpleQueue[tuple[PageRequest, Future[Page]] | None] = SimpleQueue()
        self._unanswered: list[Future[Page]] = []
        self._threads = 0
        """Kept to the end: to start one for each page would take as long as a statement."""

    @property
    def _depth(self) -> int:
        """How many pages to ask for: one, and twice as many with each page that was waited for."""
        left = self._client.remaining
        return 1 if left is not None and left < RESERVE else min(MOST, 1 << self._waits)

    def take(self, walk: Walk, page: Page) -> bool:
        """Let a walk take a page before it is stored, and ask for what follows; return False where
        what is stored has to be known first.

        What was asked for and does not follow is thrown away. Daemon threads: a server that does
        not answer keeps no process from ending.
        """
        if not walk.decides_early(page):
            return False
        walk.take(page)
        with suppress(Interrupted):
            self._check_stop()
            following = walk.requests_after(page, most=self._depth)
            self._asked = {each: self._asked.get(each) or self._start(each) for each in following}
        return True

    def receive(self, request: PageRequest) -> Page:
        """Return a page. Raises what `UserClient.page` raises, and Interrupted where it was not
        asked for yet."""
        answer = self._asked.pop(request, None)
        if answer is None:
            self._asked.clear()
            self._check_stop()
            return self._client.page(offset=request.offset, limit=request.limit)
        self._waits += not answer.done()
        return answer.result()

    def close(self) -> None:
        """End the threads, each when its page has come."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _start(self, request: PageRequest) -> Future[Page]:
        answer: Future[Page] = Future()
        self._unanswered = [each for each in self._unanswered if not each.done()] + [answer]
        self._queue.put((request, answer))
        if len(self._unanswered) > self._threads:
            self._threads += 1
            with signals_deferred():  # an exception while a thread starts breaks that thread
                threading.Thread(target=self._serve, daemon=True).start()
        return answer

    def _serve(self) -> None:
        while (asked := self._queue.get()) is not None:
            self._ask(*asked)
            del asked  # or the page would be kept until the next one is asked for

    def _ask(self, request: PageRequest, answer: Future[Page]) -> None:
        try:
            answer.set_result(self._client.page(offset=request.offset, limit=request.limit))
        except BaseException as error:  # noqa: BLE001 - `receive` raises it
            answer.set_exception(error)
