"""Sends a run's notices in threads of their own, so that no target can delay or break the run."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue

from checkinsync.config.settings import Settings
from checkinsync.errors import AtWork, CheckinsyncError, Interrupted, NotSent
from checkinsync.nightly.summary import RunSummary
from checkinsync.notify import digest
from checkinsync.notify.digest import Digest
from checkinsync.notify.targets import Target, targets
from checkinsync.shutdown import signals_deferred

TRIES = 2

PATIENCE = 19.0
"""Seconds that a run's end waits for its notices, all of them together."""

log = logging.getLogger(__name__)


class Alarms:
    """The notices of one run."""

    def __init__(
        self, settings: Settings, *, rid: str | None = None, patience: float = PATIENCE
    ) -> None:
        """`rid`: of the pings, where another process told the run's start; None: a new one."""
        self.rid = rid or str(uuid.uuid4())
        self._names = settings.notify_names
        self._patience = patience
        self._couriers = [_Courier(target) for target in targets(settings, rid=self.rid)]
        self._ended = False

    def started(self) -> None:
        """Tell that the run has begun."""
        self._post(digest.started(socket.gethostname()))

    def ended(self, summary: RunSummary) -> None:
        """Tell how the run ended."""
        self._ended = True
        self._post(digest.of_run(summary, names=self._names))

    def failed(self, error: BaseException) -> None:
        """Tell that there was no run, or that it broke off; not where its end was told already."""
        if not self._ended:
            self._post(digest.of_error(error, socket.gethostname()))

    def finish(self) -> None:
        """Wait until all is sent, for PATIENCE at most; a signal ends the wait only."""
        until = time.monotonic() + self._patience
        for courier in self._couriers:
            courier.close()
        with suppress(Interrupted):
            for courier in self._couriers:
                courier.wait(until)

    def _post(self, said: Digest) -> None:
        for courier in self._couriers:
            courier.post(said)


@contextmanager
def alarms(settings: Settings, *, rid: str | None = None) -> Iterator[Alarms]:
    """Tell within the block how a run goes, an error among it; at its end all is sent.

    A run that finds another one at work is no news. `rid`: see `Alarms`.
    """
    found = Alarms(settings, rid=rid)
    try:
        yield found
    except BaseException as error:
        if not isinstance(error, AtWork):
            found.failed(error)
        raise
    finally:
        found.finish()


def send(target: Target, said: Digest) -> None:
    """Send a notice, twice if need be. Raises NotSent, MissingExtra."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt  # noqa: PLC0415

    tries = Retrying(
        stop=stop_after_attempt(TRIES), retry=retry_if_exception_type(NotSent), reraise=True
    )
    try:
        tries(target.send, said)
    except CheckinsyncError:
        raise
    except Exception as error:  # noqa: BLE001 - of a plugin; its text may repeat the address
        raise NotSent(f"unexpected error ({type(error).__name__})") from None


class _Courier:
    """One target, and the thread that sends to it, one notice after the other."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._inbox: SimpleQueue[Digest | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._work, name=f"notify {target.name}", daemon=True
        )

    def post(self, said: Digest) -> None:
        """Send a notice as soon as those before it are sent."""
        if not self._target.wants(said):
            return
        self._inbox.put(said)
        if not self._thread.is_alive():
            with signals_deferred():
                self._thread.start()

    def close(self) -> None:
        """Let the thread end after the last notice."""
        self._inbox.put(None)

    def wait(self, until: float) -> None:
        """Wait for the thread's end, until then at most (on the monotonic clock)."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            _log_not_sent(self._target, f"no end after {PATIENCE:g} s; given up")

    def _work(self) -> None:
        while (said := self._inbox.get()) is not None:
            try:
                send(self._target, said)
            except CheckinsyncError as error:
                _log_not_sent(self._target, str(error))
            else:
                log.info("notice_sent", extra={"target": self._target.name})


def _log_not_sent(target: Target, reason: str) -> None:
    log.warning("notice_not_sent", extra={"target": target.name, "reason": reason})
