"""Log records as text or as one JSON object per line; where they go is the door's business."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest are the event's own fields."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of an event, those that say nothing left out."""
    own = {name: value for name, value in vars(record).items() if name not in STANDARD}
    return {name: value for name, value in own.items() if value is not None}


class UtcFormatter(logging.Formatter):
    """Times in UTC."""

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        """What `formatTime` asks for."""
        return time.gmtime(seconds)


class TextFormatter(UtcFormatter):
    """`2026-11-24T02:00:00Z INFO page_stored user_id=7 page=2`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The message and the event's fields."""
        told = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
        return f"{super().formatMessage(record)} {told}".rstrip()


class JsonFormatter(UtcFormatter):
    """`{"ts": …, "level": …, "event": …, "user_id": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; the traceback of an error nobody foresaw in `traceback`."""
        line: dict[str, Any] = {
            "ts": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class LogFile(logging.FileHandler):
    """A file whose disk may fill up: that is told once, and the work goes on."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Instead of a traceback for each line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told and sys.stderr is not None:
            self.told = True
            sys.stderr.write(
                f"checkinsync: the log file {self.baseFilename} can't be written any more "
                f"({error.strerror}); the work goes on without\n"
            )


def configure(*, verbosity: int, style: str, path: str | None) -> None:
    """Send the log to standard error, or all of it to a file.

    `verbosity`: -1 errors only, 0 warnings, 1 every step, 2 everything. A file always gets every
    step. Raises OSError where the file can't be opened.
    """
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    level = levels.get(verbosity, logging.DEBUG)
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    root = logging.getLogger("checkinsync")
    root.handlers.clear()
    root.propagate = False
    root.setLevel(min(level, logging.INFO) if path else level)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    handlers[0].setLevel(logging.CRITICAL if path and verbosity <= 0 else level)
    if path:
        handlers.append(LogFile(path, encoding="utf-8"))
        handlers[1].setLevel(min(level, logging.INFO))
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
