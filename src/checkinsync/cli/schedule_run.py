"""`checkinsync schedule run`: the nightly run at its hours, without cron and systemd."""

from __future__ import annotations

import signal
import subprocess
import sys

import click

from checkinsync.cli.context import Context, listening
from checkinsync.errors import Interrupted
from checkinsync.shutdown import EXIT_BASE

MAX_AGE = "12h"
"""As with systemd: the later hours only catch up."""


@click.command()
@click.pass_obj
def run(context: Context) -> None:
    """Stay up and start the nightly run at 02:00 UTC, and each hour until noon to catch up.

    For a container; on a machine use cron or systemd. A run that fails is reported on standard
    error, and the next hour tries again. After SIGTERM a run that is at work ends its page.
    """

    from checkinsync.resources import utc_now
    from checkinsync.schedule import hours

    shutdown = listening()
    words = context.words or ("-v",)
    command = [sys.executable, "-m", "checkinsync", *words, "orchestrate", "--max-age", MAX_AGE]
    hours.keep(lambda: run_once(command), now=utc_now, sleep=shutdown.sleep)


def run_once(command: list[str]) -> None:
    """Run it to its end; a signal that asks us to stop is handed on. Raises Interrupted."""
    with subprocess.Popen(command) as run:  # noqa: S603 - our own program
        try:
            run.wait()
        except Interrupted as asked:
            number = asked.exit_code - EXIT_BASE
            if number != signal.SIGINT:  # which the terminal sends to both
                run.send_signal(number)
            run.wait()
            raise
