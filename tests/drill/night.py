"""`python -m drill.night …`: a command as the command line runs it, on the drill's clock.

Everything is the program's own, except the clock and the two places where it sleeps. A worker also
looks for jobs many times a second, and takes each job at the time at which it is to start.
"""

from __future__ import annotations

import logging
import queue
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from checkinsync.app import App, open_app
from checkinsync.cli import checkinsync
from checkinsync.cli.context import Context
from checkinsync.cli.worker import closing
from checkinsync.config.settings import Settings
from checkinsync.errors import CheckinsyncError
from checkinsync.nightly.attempt import Ended
from checkinsync.nightly.wait import LOOK, Inbox
from checkinsync.shutdown import Shutdown
from checkinsync.store import lease_owner
from checkinsync.store.lease_renewal import EVERY
from checkinsync.store.pool import transaction
from checkinsync.workers.shared import Admitted, SharedRuns
from checkinsync.workers.worker import POOL_SIZE, Pace, work
from drill import seams
from drill.clock import Clock

A_BUG = 1

TURN = 1.0
"""Seconds without an import at work after which an attempt no longer waits for those that are to
begin before it: they may have to wait until it has made room for them."""

PACE = Pace(looks=0.05, heartbeat=0.2, dead_after=1.0, tends=0.2, wakes=0.02)
"""Of a worker whose clock skips all waits."""

SEES = 0.05
"""Seconds between two looks of a run that waits for workers, who move the clock on."""


class HandedStop(Shutdown):
    """Moves the clock on instead of sleeping."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def sleep(self, seconds: float) -> None:
        self.check()
        self._clock.skip(timedelta(seconds=seconds))


class WaitingStop(HandedStop):
    """Sleeps briefly, while others move the clock on."""

    def sleep(self, seconds: float) -> None:
        Shutdown.sleep(self, min(seconds, SEES))


@dataclass(frozen=True)
class HandedWait:
    """Waits for running imports, and skips all other waits of a run."""

    clock: Clock
    shutdown: Shutdown

    def __call__(self, inbox: Inbox, *, until: datetime | None, running: int) -> list[Ended]:
        while not self.shutdown.asked():
            left = LOOK if until is None else (until - self.clock.now()).total_seconds()
            if not running and until is not None:
                self.clock.skip(until - self.clock.now())
                left = 0.0
            with suppress(queue.Empty):
                return inbox.get(timeout=max(0.0, min(LOOK, left)))
            if until is not None and self.clock.now() >= until:
                return []
        with suppress(queue.Empty):
            return inbox.get(timeout=LOOK)
        return []


@dataclass(frozen=True)
class HandedContext(Context):
    """Opens an App on the drill's clock."""

    clock: Clock
    renewed_every: float
    waits: bool = False
    """For workers."""

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[App]:
        stop = (WaitingStop if self.waits else HandedStop)(self.clock)
        stop.listen()
        with open_app(settings, stop, now=self.clock.now, renewed_every=self.renewed_every) as app:
            yield replace(app, wait=HandedWait(self.clock, stop))


def by_words(context: HandedContext, words: list[str]) -> Any:
    """Run a command as the command line does."""
    command = checkinsync.get_command(click.Context(checkinsync), words[0])
    assert command is not None, words
    return command.main(words[1:], prog_name=words[0], obj=context, standalone_mode=False)


def worker(context: HandedContext) -> None:
    """Work as `checkinsync worker` does, at another pace."""
    admit = SharedRuns.admit

    def admit_on_time(runs: SharedRuns, run_id: int, user_id: int, turn: int) -> Admitted | None:
        gives_up_at = time.monotonic() + TURN
        while True:
            left, first, at_work = until_due(runs, run_id, user_id, turn, now=context.clock.now())
            if at_work:
                gives_up_at = time.monotonic() + TURN
            if left <= timedelta() or not (first or at_work) or time.monotonic() > gives_up_at:
                break
            time.sleep(0.005)
        context.clock.skip(left)
        return admit(runs, run_id, user_id, turn)

    SharedRuns.admit = admit_on_time  # type: ignore[method-assign]
    settings = replace(context.settings(), connections=POOL_SIZE)
    with context.opened(settings) as app, app.shutdown.gracefully():
        does = partial(work, app.services, shutdown=app.shutdown, closed=closing(app))
        does(concurrency=2, pace=PACE)


def until_due(
    runs: SharedRuns, run_id: int, user_id: int, turn: int, *, now: datetime
) -> tuple[timedelta, bool, bool]:
    """Return the time until a user's attempt is due, whether others come first, and whether
    others are at work; one whose process is dead or stopped is not.

    The queue goes by the machine's clock, which is far ahead, and gives out all jobs at once.
    """
    with transaction(runs._services.pool) as conn:
        row = conn.execute(
            """
            SELECT due_at,
                   EXISTS (SELECT FROM checkinsync_queue.users AS o
                            WHERE o.run_id = u.run_id AND o.user_id <> u.user_id
                              AND o.outcome IS NULL AND (o.running OR o.due_at < u.due_at)),
                   ARRAY (SELECT l.owner FROM checkinsync_queue.users AS o
                            JOIN import_leases AS l USING (user_id)
                           WHERE o.run_id = u.run_id AND o.user_id <> u.user_id
                             AND o.outcome IS NULL AND o.running AND l.expires_at > now())
              FROM checkinsync_queue.users AS u
             WHERE run_id = %s AND user_id = %s AND turn = %s AND outcome IS NULL
            """,
            [run_id, user_id, turn],
        ).fetchone()
    if row is None or row[0] is None:
        return timedelta(), False, False
    due, first, owners = row
    return due - now, first, not all(map(lease_owner.is_dead, owners))


def run(context: HandedContext, words: list[str]) -> int:
    """Run a command; report errors as the program does."""
    try:
        code = worker(context) if words[0] == "worker" else by_words(context, words)
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
    parser.add_argument("--seam", choices=list(seams.ALL))
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
    context = HandedContext(0, "json", night.log, clock, night.renewed_every, "--wait" in words)
    sys.exit(run(context, words))


if __name__ == "__main__":
    main()
