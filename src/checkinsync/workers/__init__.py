"""The nightly run on several machines: its imports as jobs of Procrastinate, in the same database.

The same plan, import, outcomes and retries as `nightly.run`; only the waiting is the queue's.
"""

from __future__ import annotations

from importlib.util import find_spec

from checkinsync.errors import MissingExtra


def installed() -> bool:
    """Return True if the extra `scale` is installed; imports none of it."""
    return find_spec("procrastinate") is not None


def require() -> None:
    """Raise MissingExtra without it."""
    if not installed():
        raise MissingExtra("a run on workers", "scale")
