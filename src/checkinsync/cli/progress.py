"""Progress on a terminal; rich is loaded only here, and only then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from checkinsync.store.jobs import Progress as Imported


@contextmanager
def import_bar(name: str) -> Iterator[Callable[[Imported], None]]:
    """A bar of one import's check-ins; yields what each stored page is told to."""
    with _bars() as bars:
        task = bars.add_task(name, total=None)

        def on_page(progress: Imported) -> None:
            bars.update(task, completed=progress.seen, total=_total(progress))

        yield on_page


def _total(progress: Imported) -> int | None:
    return None if progress.expected is None else max(progress.expected, progress.seen)


@contextmanager
def run_progress() -> Iterator[None]:
    """A bar of the run's users, and a line for each thing that happens, taken from the log."""
    with _bars() as bars:
        handler = _RunBar(bars)
        root = logging.getLogger("checkinsync")
        level = root.level
        root.addHandler(handler)
        root.setLevel(min(level, logging.INFO))
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars


class _RunBar(logging.Handler):
    """Hears the events of a run."""

    def __init__(self, bars: Progress) -> None:
        super().__init__(logging.INFO)
        self._bars = bars
        self._task: TaskID = bars.add_task("users", total=None)

    def emit(self, record: logging.LogRecord) -> None:
        """One event: the bar moves, and what a person wants to know is said."""
        event, fields = record.getMessage(), vars(record)
        if event == "users_found":
            self._bars.update(self._task, total=fields["due"])
        if event == "import_finished":
            self._bars.advance(self._task)
        line = _LINES.get(event)
        if line is not None:
            clock = time.strftime("%H:%M:%S", time.gmtime(record.created))
            self._bars.console.print(
                f"{clock}  {line.format_map(_Known(fields))}", markup=False, soft_wrap=True
            )


class _Known(dict[str, object]):
    """Fields of an event; what it lacks is left blank."""

    def __missing__(self, key: str) -> str:
        return ""


_LINES = {
    "user_skipped": "user {user_id}  skipped: {reason}",
    "import_started": "user {user_id}  started",
    "page_stored": "user {user_id}  page {page}: {new} new",
    "retry_scheduled": "user {user_id}  again at {at}: {reason}",
    "import_finished": "user {user_id}  done: {new} new, {changed} changed, {requests} requests",
    "import_failed": "user {user_id}  stopped: {reason}",
    "run_paused": "paused: {service} does not answer",
    "run_resumed": "goes on after {paused_seconds} s",
}
