"""Renews this process's leases in a background thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from checkinsync.errors import DatabaseError
from checkinsync.store import leases
from checkinsync.store.leases import Lease
from checkinsync.store.pool import Pool, transaction

EVERY = 20.0
"""Seconds of real time: a lease of 90 s survives three failed renewals."""

log = logging.getLogger(__name__)


class LeaseRenewer:
    """Renews all leases with one statement, in a thread that runs from the first one to `close`."""

    def __init__(self, pool: Pool, *, every: float = EVERY) -> None:
        """`every`: seconds between renewals."""
        self._pool = pool
        self._every = every
        self._leases: set[Lease] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def renewing(self, lease: Lease) -> Iterator[None]:
        """Renew this lease while the block runs."""
        with self._lock:
            self._leases.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._leases.discard(lease)

    def tokens(self) -> set[int]:
        """Return the lease tokens of this process's running imports."""
        with self._lock:
            return {lease.token for lease in self._leases}

    def close(self) -> None:
        """Stop renewing and wait for the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._every):
            with self._lock:
                ours = sorted(self._leases, key=lambda lease: lease.user_id)
            try:
                if ours:
                    with transaction(self._pool) as conn:
                        leases.renew(conn, ours)
            except DatabaseError:  # `ensure_held` raises in an import if its lease was lost
                log.debug("leases could not be renewed; trying again in %s s", self._every)
