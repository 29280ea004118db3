"""Progress on a terminal; rich is imported only here, and only then.

Lines of the log that go to standard error while a bar is shown are printed above it.
"""

from __future__ import annotations

import heapq
import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from checkinsync.resources import utc_now

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from checkinsync.store.jobs import Progress as Imported

SOON = timedelta(minutes=2)
"""A wait up to this long is shown in seconds."""


@contextmanager
def import_bar(name: str) -> Iterator[Callable[[Imported], None]]:
    """A bar of one import's check-ins; yields the function to call after each stored page."""
    with _bars(lambda bars: bars) as bars:
        task = bars.add_task(name, total=None)

        def on_page(progress: Imported) -> None:
            bars.update(task, completed=progress.seen, total=_total(progress))

        yield on_page


def _total(progress: Imported) -> int | None:
    return None if progress.expected is None else max(progress.expected, progress.seen)


@contextmanager
def run_progress(
    names: Mapping[int, str] | None = None, *, log_is_shown: bool = False
) -> Iterator[None]:
    """A bar of the run's users, below it who is next, and above it a line for each event.

    `names`: of users, by id; `log_is_shown`: standard error has the events already.
    """
    watcher = _RunWatcher(names or {})
    with _bars(watcher.shown) as bars:
        watcher.begin(bars, lines=not log_is_shown)
        root = logging.getLogger("checkinsync")
        level = root.level
        root.addHandler(watcher)
        root.setLevel(min(level, logging.INFO))
        try:
            yield
        finally:
            root.removeHandler(watcher)
            root.setLevel(level)


@contextmanager
def _bars(shown: Callable[[Progress], RenderableType]) -> Iterator[Progress]:
    """Bars on standard error; `shown` returns what stands there, and is called at each refresh."""
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    bars = Progress(*columns, console=console)
    live = Live(get_renderable=lambda: shown(bars), console=console, transient=True)
    with live:
        live.refresh()  # the first line of the log has to find something to erase
        with _log_above(console):
            yield bars


@contextmanager
def _log_above(console: Console) -> Iterator[None]:
    """Let the log's handler of standard error print by the console that has the bars."""
    handlers = [
        handler
        for handler in logging.getLogger("checkinsync").handlers
        if type(handler) is logging.StreamHandler
    ]
    streams = [handler.setStream(cast(Any, _Above(console))) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)


class _Above(io.TextIOBase):
    """A stream whose lines appear above the bars."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        """Print the text as it is: without markup, colours or new line breaks."""
        self._console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        return len(text)


class _RunWatcher(logging.Handler):
    """Follows a run by the events in its log.

    The thread that draws reads without the handler's lock: a thread that logs holds that lock
    while it waits for the one of the drawing.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__(logging.INFO)
        self._names = names
        self._starts: dict[int, datetime] = {}
        """The start of each user who waits."""
        self._retries: set[int] = set()
        """Users who wait for another attempt."""
        self._queue: list[tuple[datetime, int]] = []
        """A heap of the starts, also of outdated ones; its first is not."""
        self._ended: set[int] = set()
        self._paused: str | None = None

    def begin(self, bars: Progress, *, lines: bool) -> None:
        """Show the run there; `lines`: with a line for each event."""
        self._bars = bars
        self._lines = lines
        self._task = bars.add_task("users", total=None)

    def shown(self, bars: Progress) -> RenderableType:
        """The bar, and below it who is next and when.

        Always two lines: a line of the log erases as many as were there when it was begun.
        """
        from rich.console import Group
        from rich.text import Text

        return Group(bars, Text(self.next_line(utc_now()), no_wrap=True, overflow="ellipsis"))

    def next_line(self, now: datetime) -> str:
        """`next: user 3 (Hiro Sato) at 08:00:53, in 38 s`; empty if no user waits."""
        if self._paused:
            return f"paused, {len(self._starts)} users wait: {self._paused} does not answer"
        for at, user_id in self._queue[:1]:
            if at <= now:
                return f"next: {self._person(user_id)}, as soon as a worker is free"
            return f"next: {self._person(user_id)} at {at:%H:%M:%S}, in {_span(at - now)}"
        return ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one event: move the bar, and print a line about it."""
        event, fields = record.getMessage(), vars(record)
        user_id = fields.get("user_id")
        if user_id is not None:
            self._follow(event, user_id, fields)
        elif event == "users_found":
            self._bars.update(self._task, total=fields["due"])
        elif event in {"run_paused", "run_resumed"}:
            self._paused = fields.get("service")
            self._postpone(timedelta(seconds=fields.get("paused_seconds", 0)))
        self._bars.update(self._task, completed=len(self._ended))
        line = _LINES.get(event)
        if line is not None and self._lines:
            known = _Known(fields, user=self._person(user_id))
            clock = time.strftime("%H:%M:%S", time.gmtime(record.created))
            self._bars.console.print(
                f"{clock}  {line.format_map(known)}", markup=False, highlight=False, soft_wrap=True
            )

    def _follow(self, event: str, user_id: int, fields: Mapping[str, Any]) -> None:
        match event:
            case "user_scheduled":
                self._wait(user_id, datetime.fromisoformat(fields["start"]))
            case "retry_scheduled":
                self._retries.add(user_id)
                self._ended.discard(user_id)
                self._wait(user_id, datetime.fromisoformat(fields["at"]))
            case "import_started":
                self._ended.discard(user_id)
                self._begun(user_id)
            case "import_finished" | "import_failed":
                self._ended.add(user_id)
            case "user_skipped" if user_id in self._starts:  # the run ends before their turn
                self._ended.add(user_id)
                self._begun(user_id)

    def _wait(self, user_id: int, at: datetime) -> None:
        self._starts[user_id] = at
        heapq.heappush(self._queue, (at, user_id))

    def _begun(self, user_id: int) -> None:
        self._starts.pop(user_id, None)
        self._retries.discard(user_id)
        while self._queue and self._starts.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)

    def _postpone(self, by: timedelta) -> None:
        """After a pause the first starts keep their distance to each other."""
        later = {u: at + by for u, at in self._starts.items() if u not in self._retries}
        self._starts |= later
        self._queue = sorted((at, user_id) for user_id, at in self._starts.items())

    def _person(self, user_id: int | None) -> str:
        return self._names.get(user_id or 0, f"user {user_id}")


def _span(span: timedelta) -> str:
    if span <= SOON:
        return f"{span.total_seconds():.0f} s"
    minutes = span // timedelta(minutes=1)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"  # noqa: PLR2004


class _Known(dict[str, object]):
    """Fields of an event; a missing one is left blank."""

    def __missing__(self, key: str) -> str:
        return ""


_LINES = {
    "user_skipped": "{user}  skipped: {reason}",
    "import_started": "{user}  started",
    "page_stored": "{user}  page {page}: {new} new",
    "retry_scheduled": "{user}  again at {at}: {reason}",
    "import_finished": "{user}  done: {new} new, {changed} changed, {requests} requests",
    "import_failed": "{user}  stopped: {reason}",
    "run_paused": "paused: {service} does not answer",
    "run_resumed": "resumed after {paused_seconds} s",
}
