"""`python -m drill.night …`: a command as the command line runs it, on the drill's clock.

Everything is the program's own, except the clock and the two places where it sleeps.
"""

from __future__ import annotations

import logging
import queue
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from checkinsync.app import App, open_app
from checkinsync.cli import checkinsync
from checkinsync.cli.context import Context
from checkinsync.config.settings import Settings
from checkinsync.errors import CheckinsyncError
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.wait import LOOK, Inbox
from checkinsync.shutdown import Shutdown
from checkinsync.store.lease_renewal import EVERY
from drill import seams
from drill.clock import Clock

A_BUG = 1


class HandedStop(Shutdown):
    """Moves the clock on instead of sleeping."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def sleep(self, seconds: float) -> None:
        self.check()
        self._clock.skip(timedelta(seconds=seconds))


@dataclass(frozen=True)
class HandedWait:
    """Waits for running imports, and skips all other waits of a run."""

    clock: Clock
    shutdown: Shutdown

    def __call__(self, inbox: Inbox, *, until: datetime | None, running: int) -> Ended | None:
        while not self.shutdown.asked():
            left = LOOK if until is None else (until - self.clock.now()).total_seconds()
            if not running and until is not None:
                self.clock.skip(until - self.clock.now())
                left = 0.0
            with suppress(queue.Empty):
                return inbox.get(timeout=max(0.0, min(LOOK, left)))
            if until is not None and self.clock.now() >= until:
                return None
        with suppress(queue.Empty):
            return inbox.get(timeout=LOOK)
        return None


@dataclass(frozen=True)
class HandedContext(Context):
    """Opens an App on the drill's clock."""

    clock: Clock
    renewed_every: float

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[App]:
        stop = HandedStop(self.clock)
        stop.listen()
        with open_app(settings, stop, now=self.clock.now, renewed_every=self.renewed_every) as app:
            yield replace(app, wait=HandedWait(self.clock, stop))


def run(context: Context, words: list[str]) -> int:
    """Run a command; report errors as the program does."""
    command = checkinsync.get_command(click.Context(checkinsync), words[0])
    assert command is not None, words
    try:
        code = command.main(words[1:], prog_name=words[0], obj=context, standalone_mode=False)
    except CheckinsyncError as error:
        click.echo(f"checkinsync: {error}", err=True)
        return error.exit_code
    except Exception:
        logging.getLogger("checkinsync").exception("crashed")
        return A_BUG
    return code if isinstance(code, int) else 0


def asked(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """Parse the options of this night; return them and the command."""
    parser = ArgumentParser()
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--renewed-every", type=float, default=EVERY)
    parser.add_argument("--log", required=True)
    parser.add_argument("--seam", choices=list(seams.SEAMS))
    parser.add_argument("--moment", choices=["call", "return"])
    parser.add_argument("--nth", type=int)
    parser.add_argument("--signal", type=lambda name: signal.Signals[name])
    parser.add_argument("--hits", type=Path)
    mine = arguments.index("--")
    return parser.parse_args(arguments[:mine]), arguments[mine + 1 :]


def main() -> None:
    """Arm the seam, run the command, exit with its code."""
    night, words = asked(sys.argv[1:])
    if night.seam:
        seams.strike_at(night.seam, night.moment, night.nth, sign=night.signal, hits=night.hits)
    clock = Clock(night.clock, skew=night.skew)
    sys.exit(run(HandedContext(0, "json", night.log, clock, night.renewed_every), words))


if __name__ == "__main__":
    main()
