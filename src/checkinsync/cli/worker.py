"""`checkinsync worker`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkinsync.app import App
    from checkinsync.nightly.summary import RunSummary

WATCHDOG = 5.0
"""Seconds between two signs of life to systemd."""


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=4, help="Imports at once.  [default: 4]"
)
@click.pass_obj
def worker(context: Context, *, concurrency: int) -> None:
    """Import users from the queue that `orchestrate --engine procrastinate` fills.

    Any number of workers, on any number of machines, serve it; the one that ends the last import
    closes the run and sends its notices. SIGTERM: it finishes the pages in hand, and leaves the
    rest to the others.
    """
    from dataclasses import replace

    from checkinsync import workers

    workers.require()
    from checkinsync.workers import schema
    from checkinsync.workers.worker import POOL_SIZE, work

    settings = context.settings()
    settings = replace(settings, connections=min(settings.pool_size, POOL_SIZE))
    with context.opened(settings) as app, app.shutdown.gracefully():
        schema.check(app.services.pool)
        _tell_systemd("READY=1")
        work(
            app.services,
            concurrency=concurrency,
            shutdown=app.shutdown,
            closed=closing(app),
            alive=_watchdog(),
        )
        _tell_systemd("STOPPING=1")


def closing(app: App) -> Callable[[RunSummary, str], None]:
    """Return what is to be done with a run that this process closes: notices, upkeep, files."""
    from checkinsync.cli import upkeep
    from checkinsync.cli.after_run import write_files
    from checkinsync.notify.alarms import alarms

    def closed(summary: RunSummary, rid: str) -> None:
        with alarms(app.settings, rid=rid) as hooks:
            hooks.ended(summary)
        upkeep.after_run(app, summary)
        write_files(app, summary)

    return closed


def _watchdog() -> Callable[[], None]:
    """Return what tells systemd from time to time that this process is alive."""
    import time

    told = float("-inf")

    def alive() -> None:
        nonlocal told
        if time.monotonic() - told >= WATCHDOG:
            told = time.monotonic()
            _tell_systemd("WATCHDOG=1")

    return alive


def _tell_systemd(state: str) -> None:
    """Send a state where systemd listens (Type=notify); see sd_notify(3)."""
    import socket
    from contextlib import suppress

    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.sendto(state.encode(), address.replace("@", "\0", 1))
