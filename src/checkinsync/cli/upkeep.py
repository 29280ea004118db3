"""After a run: the dump of the embedded database, and after a good one the old records.

Neither changes the run's exit code; what fails is logged as a warning, which a night's mail has.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from checkinsync.app import App
from checkinsync.cli.db import write_dump
from checkinsync.config.settings import Settings
from checkinsync.embedded.place import dumps
from checkinsync.errors import CheckinsyncError, FileNotWritten
from checkinsync.nightly.prune import Ages, prune
from checkinsync.nightly.summary import RunSummary
from checkinsync.resources import embedded_database

LITTLE_ROOM = 128 * 2**20
"""Bytes that a dump has to leave for the database, at least."""

CUT_OFF = {"interrupted", "away"}
"""Outcomes of a run after which nothing more is begun."""

log = logging.getLogger("checkinsync")


def after_run(app: App, summary: RunSummary) -> None:
    """Do what is due after a run."""
    settings, now = app.settings, app.services.now()
    if summary.outcome in CUT_OFF:
        return
    if settings.database_url is None and settings.dumps:
        with _logged("the dump of this night"):
            dump(settings, now=now, changed=summary.synced > 0)
    if settings.prune == "nightly" and summary.exit_code == 0 and not app.shutdown.asked():
        with _logged("deleting old records"):
            pruned = prune(pool=app.services.pool, now=now, ages=Ages())
            if pruned:
                log.info("pruned", extra=asdict(pruned))


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except (CheckinsyncError, OSError) as error:  # a signal, too: what the run did is told
        log.warning(f"{what} failed: {error}")


def dump(settings: Settings, *, now: datetime, changed: bool) -> None:
    """Write the dump of this day, in place of an earlier one of it, and remove the oldest.

    `changed`: False where the run imported nobody; then the day's first dump is enough.
    """
    folder = settings.home / "dumps"
    file = folder / f"checkinsync-{now:%Y-%m-%d}.dump"
    if file.exists() and not changed:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    _check_room(settings.home)
    with embedded_database(settings) as running:
        size = write_dump(running, file, replace=True)
    log.info("dumped", extra={"file": str(file), "bytes": size})
    for old in dumps(settings.home)[: -settings.dumps]:
        old.unlink(missing_ok=True)


def _check_room(home: Path) -> None:
    """Raise FileNotWritten where a dump may fill the disk, which would stop the database."""
    last = max((path.stat().st_size for path in dumps(home)[-1:]), default=0)
    free = shutil.disk_usage(home).free
    if free < max(2 * last, LITTLE_ROOM):
        raise FileNotWritten(
            f"only {free // 2**20} MB are free for {home / 'dumps'}; make room, keep fewer dumps "
            "(CHECKINSYNC_DUMPS), or none (0)"
        )
