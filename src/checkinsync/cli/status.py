"""`checkinsync status`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from checkinsync.cli.context import Context, duration_of, listening
from checkinsync.cli.terminal import (
    has_colours,
    is_dumb,
    is_terminal,
    on_terminal,
    say_json,
    say_lines,
)
from checkinsync.errors import Exit, Interrupted
from checkinsync.model.standing import GROUPS
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from datetime import timedelta

    from checkinsync.cli.render.status import View
    from checkinsync.nightly.status import Report

MOST_NAMED = 20
"""Stale users that are named; a monitor mails what it reads."""

EVERY = 2.0
"""Seconds between two looks of `--watch`."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--max-age",
    type=duration_of("max_age"),
    help="Exit with code 7 if an active user's last import is older than this (26h), or if no "
    "user is served at all.",
)
@click.option("--strict", is_flag=True, help="With --max-age: those who must log in again, too.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(GROUPS),
    help="Only users in this state; may be given several times.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many users (100 on a terminal, else all).",
)
@click.option("--wide", is_flag=True, help="All columns, however narrow the terminal is.")
@click.option(
    "--watch",
    is_flag=True,
    help="Show a run at work until it ends: who now, who next, what is paused.",
)
@click.pass_context
def status(
    ctx: click.Context,
    /,
    *,
    max_age: timedelta | None,
    strict: bool,
    as_json: bool,
    watch: bool,
    **chosen: Any,
) -> None:
    """The last runs, what is at work, and how each user is doing."""
    with signals_deferred():
        from checkinsync.cli.render import status as render
        from checkinsync.nightly import status as nightly
        from checkinsync.resources import utc_now

    if strict and max_age is None:
        raise click.UsageError("--strict goes with --max-age")
    if watch and (as_json or max_age or not on_terminal()):
        raise click.UsageError("--watch is for a terminal, without --json and --max-age")
    context: Context = ctx.obj
    show = partial(view, **chosen)
    with context.pool() as (settings, pool):

        def look() -> Report:
            return nightly.report(
                pool=pool,
                now=utc_now(),
                active_days=settings.active_days,
                max_age=max_age or nightly.MAX_AGE,
            )

        try:
            report = _watch(look, show) if watch else look()
        except Interrupted as asked:
            ctx.exit(asked.exit_code)  # nothing was interrupted but the watching
    if as_json:
        say_json(render.status_json(report, show()))
    else:
        say_lines(render.status_lines(report, show()))
    if max_age is not None:
        ctx.exit(_tell_stale(report, strict=strict))


def view(*, states: tuple[str, ...] = (), limit: int | None = None, wide: bool = False) -> View:
    """Return what to show of a report where standard output goes."""
    import shutil

    from checkinsync.cli.render.status import View

    terminal = is_terminal(sys.stdout)
    width = None if wide or not terminal else shutil.get_terminal_size().columns
    return View(states, limit, width, terminal, has_colours())


def _watch(look: Callable[[], Report], show: Callable[[], View]) -> Report:
    """Show the report until no run is at work, and return the last one. Raises Interrupted."""
    import shutil

    from checkinsync.cli.render.status import status_text
    from checkinsync.cli.render.table import moment

    shutdown = listening()
    while (report := look()).run_at_work:
        _next_page()
        head = f"{moment(report.at)} UTC, every {EVERY:g} s; Ctrl-C ends only the watching"
        lines = [head, *status_text(report, show()).splitlines()]
        click.echo("\n".join(lines[: shutil.get_terminal_size().lines - 1]))
        shutdown.sleep(EVERY)
    _next_page()
    return report


def _next_page() -> None:
    """Clear the terminal; one that can't be cleared gets an empty line."""
    if is_dumb():
        click.echo()
    else:
        click.clear()


def _tell_stale(report: Report, *, strict: bool) -> int:
    """Say on standard error who is stale; return the exit code."""
    lines = list(_stale(report, strict=strict))
    for line in lines:
        click.echo(f"checkinsync: stale: {line}", err=True)
    if lines and not on_terminal():
        from checkinsync.cli.render.trouble import runbook

        click.echo(f"help: {runbook(Exit.STALE)}", err=True)
    return Exit.STALE if lines else 0


def _stale(report: Report, *, strict: bool) -> Iterator[str]:
    from checkinsync.cli.render.status import counts_text, why

    stale = report.stale(strict=strict)
    named = list(islice(stale, MOST_NAMED))
    if report.nobody_served and not named:
        yield f"{report.nobody_served} ({counts_text(report.counts)})"
    for user in named:
        yield why(user, None)
    if more := sum(1 for _ in stale):
        yield f"and {more:,} more users"
