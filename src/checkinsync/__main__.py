"""The outermost door: errors become a sentence and an exit code here, and only here."""

from __future__ import annotations

import gc

gc.disable()  # until everything is loaded (`cli.context.listening`): imports leave no garbage

import io
import os
import sys
from contextlib import suppress
from datetime import datetime
from typing import TextIO

import click

from checkinsync.cli import checkinsync
from checkinsync.cli.terminal import iso, say_json
from checkinsync.errors import CheckinsyncError, Exit


def main() -> None:
    """Run the command line and exit with its code."""
    _tolerate_lost_stderr()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where it was closed before we began
            stream.reconfigure(errors="backslashreplace")  # of a name that the locale lacks
    sys.exit(_run())


class _Tolerant(io.TextIOWrapper):
    """Standard error that may be lost: its terminal was closed. The exit code stays what it is."""

    def write(self, text: str, /) -> int:
        """Write, or drop what can't be written."""
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush as far as that is possible."""
        with suppress(OSError):
            super().flush()


def _tolerate_lost_stderr() -> None:
    stderr: TextIO | None = sys.stderr
    if stderr is not None:  # it was closed before we began
        raw = open(stderr.fileno(), "wb", closefd=False)  # noqa: SIM115 - for our whole life
        sys.stderr = _Tolerant(
            raw, encoding=stderr.encoding, errors=stderr.errors, line_buffering=True
        )


def _run() -> int:
    try:
        code = checkinsync.main(standalone_mode=False)
    except CheckinsyncError as error:
        click.echo("\n".join([f"checkinsync: {error}", *getattr(error, "__notes__", ())]), err=True)
        until = getattr(error, "until", None)
        return _told(type(error).__name__, str(error), error.exit_code, until=until)
    except click.ClickException as error:
        error.show()
        return _told("UsageError", error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("checkinsync: interrupted", err=True)
        return _told("Interrupted", "interrupted", Exit.INTERRUPTED)
    except SystemExit:  # click's answer to a broken pipe: the reader of our output has gone
        return 0
    except Exception as error:
        if isinstance(error, OSError) and _let_go_of_output():
            click.echo(f"checkinsync: the output can't be written ({error.strerror})", err=True)
            return Exit.BUG
        import logging  # noqa: PLC0415 - a tenth of the time that `--help` takes

        logging.getLogger("checkinsync").exception("crashed")
        click.echo(
            f"checkinsync: unexpected error ({type(error).__name__}); this is a bug, please "
            "report it with what the log says",
            err=True,
        )
        return _told("Unexpected", f"unexpected error ({type(error).__name__})", Exit.BUG)
    return code if isinstance(code, int) else 0


def _told(kind: str, message: str, code: int, *, until: datetime | None = None) -> int:
    """Print the error as JSON, too, where the command was asked for JSON; return the exit code."""
    if "--json" in sys.argv:
        about = {"kind": kind, "message": message, "exit_code": code, "retry_at": iso(until)}
        with suppress(OSError):  # the reader of our output may be gone
            say_json({"error": about})
    return code


def _let_go_of_output() -> bool:
    """Return True if standard output is closed, and keep Python from flushing it at its end."""
    stdout: TextIO | None = sys.stdout
    if stdout is None:  # it was closed before we began
        return False
    try:
        stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    main()
