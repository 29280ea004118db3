"""The files that are written anew after each run; one that fails never changes the run's code."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from checkinsync.app import App
from checkinsync.cli.atomic_file import draft_of
from checkinsync.errors import CheckinsyncError, DatabaseError, sentence
from checkinsync.nightly.summary import RunSummary
from checkinsync.store.pool import transaction

log = logging.getLogger(__name__)

READABLE = 0o644
"""The mode of the metrics: node_exporter runs as another user, and they name nobody."""


def write_files(app: App, summary: RunSummary) -> None:
    """Write the files that the settings name."""
    _attempt(app.settings.metrics_file, lambda path: _write_metrics(path, app, summary))
    _attempt(app.settings.report_file, lambda path: _write_report(path, app))


def _attempt(path: Path | None, write: Callable[[Path], None]) -> None:
    """Write a file, if it is named; log why that failed."""
    if path is None:
        return
    try:
        write(path)
    except Exception as error:  # the run is over, and its code stays what it is
        bug = not isinstance(error, CheckinsyncError)
        about = {"path": str(path), "reason": sentence(error)}
        log.warning("file_not_written", extra=about, exc_info=bug)


def _write_metrics(path: Path, app: App, summary: RunSummary) -> None:
    from checkinsync.notify import metrics, queries

    state = None
    with suppress(DatabaseError), transaction(app.services.pool, read_only=True) as conn:
        state = queries.state(conn, at=summary.finished_at, days=app.settings.active_days)
    text = metrics.exposition(summary, state)
    with draft_of(path, replace=True) as draft:
        draft.write_bytes(text)
        draft.chmod(READABLE)


def _write_report(path: Path, app: App) -> None:
    from checkinsync.cli.report import save
    from checkinsync.report.page import page

    now, days = app.services.now(), app.settings.active_days
    save(path, page(pool=app.services.pool, now=now, active_days=days))
