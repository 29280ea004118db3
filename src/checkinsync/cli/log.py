"""Log records as text or as one JSON object per line, on standard error or in a file."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from checkinsync.errors import SettingsError

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""The attributes of every record; the rest are the event's own fields."""

_BARE = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
"""Values that need no quotes."""


FRAMES = 4
"""Frames of a traceback that standard error shows, the innermost; a mail has at most 40 lines."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of an event, those without a value left out."""
    own = {name: value for name, value in vars(record).items() if name not in STANDARD}
    return {name: value for name, value in own.items() if value is not None}


class UtcFormatter(logging.Formatter):
    """Times in UTC."""

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        """Return the time in UTC; `formatTime` calls it."""
        return time.gmtime(seconds)


class TextFormatter(UtcFormatter):
    """`2026-11-24T02:00:00Z INFO page_stored user_id=7 page=2 reason="two words"` (logfmt)."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the message and the event's fields."""
        told = " ".join(f"{name}={_value(value)}" for name, value in fields_of(record).items())
        return f"{super().formatMessage(record)} {told}".rstrip()


def _value(value: object) -> str:
    """Return a value as logfmt has it: in quotes, unless it is one plain word."""
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class JsonFormatter(UtcFormatter):
    """`{"ts": …, "level": …, "event": …, "user_id": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; the traceback of an unexpected error is in `traceback`."""
        line: dict[str, Any] = {
            "ts": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class MailFormatter(TextFormatter):
    """The same, of a traceback the innermost frames only."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Return the traceback's end."""
        return "".join(traceback.format_exception(*ei, limit=-FRAMES)).rstrip()


def one_traceback() -> Callable[[logging.LogRecord], bool]:
    """Return a filter that passes the first traceback only: a bug may meet every user of a run."""
    told: list[logging.LogRecord] = []

    def passes(record: logging.LogRecord) -> bool:
        if record.exc_info:
            told.append(record)
        return not record.exc_info or len(told) == 1

    return passes


class LogFile(logging.FileHandler):
    """A file whose disk may fill up: that is told once, and the work goes on."""

    told = False

    def _open(self) -> io.TextIOWrapper:
        """Open it without waiting: the open of a FIFO waits for its reader."""
        return open(
            self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_at_once
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Tell it once, instead of by a traceback for each line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told and sys.stderr is not None:
            self.told = True
            sys.stderr.write(
                f"checkinsync: cannot write to the log file {self.baseFilename} any more "
                f"({error.strerror}); the work goes on without it\n"
            )


def _at_once(path: str, flags: int) -> int:
    """Open or create a regular file. Raises OSError where there is anything else."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        if os.path.islink(path):
            raise OSError(0, "a link to a file that does not exist") from None
        regular = True
    if not regular:
        raise OSError(0, "not a regular file")
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def configure(*, verbosity: int, style: str, path: str | None) -> None:
    """Send the log to standard error, or all of it to a file.

    `verbosity`: -1 errors only, 0 warnings, 1 every step, 2 everything. A file always gets every
    step. Raises SettingsError where the file can't be written.
    """
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    level = levels.get(verbosity, logging.DEBUG)
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    root = logging.getLogger("checkinsync")
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.propagate = False
    root.setLevel(min(level, logging.INFO) if path else level)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    handlers[0].setLevel(logging.CRITICAL if path and verbosity <= 0 else level)
    if path:
        handlers.append(_file(path))
        handlers[1].setLevel(min(level, logging.INFO))
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    if verbosity <= 0:  # cron mails it
        handlers[0].addFilter(one_traceback())
        if style == "text":
            handlers[0].setFormatter(MailFormatter())


def _file(path: str) -> LogFile:
    try:
        return LogFile(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise SettingsError(
            f"the log file {path} can't be written ({why}); name another by --log-file or "
            "CHECKINSYNC_LOG_FILE. Without one, -v logs each step to standard error"
        ) from None
