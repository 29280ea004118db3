"""`checkinsync orchestrate`."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta

import click

from checkinsync.app import App
from checkinsync.cli.context import Context, duration_of
from checkinsync.cli.progress import run_progress
from checkinsync.cli.render import orchestrate as render
from checkinsync.cli.terminal import on_terminal, say_json
from checkinsync.nightly.plan import plan_run
from checkinsync.nightly.run import run
from checkinsync.nightly.summary import RunSummary


@click.command()
@click.option("--stagger", type=duration_of("stagger"), help="Time between two users' starts (2m).")
@click.option(
    "--window",
    type=duration_of("window"),
    help="The last user starts within this time; stagger shrinks (4h).",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Imports at once, at most (4).")
@click.option(
    "--deadline",
    type=duration_of("deadline"),
    help="The run ends after this time, done or not (6h).",
)
@click.option(
    "--max-age",
    type=duration_of("max_age"),
    help="Skip users whose last import is younger, e.g. 20h (off).",
)
@click.option("--dry-run", is_flag=True, help="Print who would start when; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def orchestrate(
    ctx: click.Context, /, *, dry_run: bool, as_json: bool, **options: timedelta | int | None
) -> None:
    """The nightly run: import everyone who is due, two minutes apart.

    Without a terminal a good night prints nothing; a bad one prints a line per user and one for
    the run. Exit codes: 0 all done, 3 partly, 5 rate limit or quota, 69 database or Foursquare
    away, 75 another run is at work.
    """
    door: Context = ctx.obj
    with door.app(**options) as app:
        if dry_run:
            _print_plan(app, as_json=as_json)
            return
        watched = on_terminal() and not as_json and door.verbosity == 0
        with app.shutdown.gracefully(), run_progress() if watched else nullcontext():
            summary = run(
                app.services, options=app.run_options, check_stop=app.shutdown.check, wait=app.wait
            )
    _print(summary, as_json=as_json)
    ctx.exit(summary.exit_code)


def _print(summary: RunSummary, *, as_json: bool) -> None:
    for notice in summary.notices:
        click.echo(f"checkinsync: {notice}", err=True)
    if summary.exit_code and not on_terminal():  # first: output may not be read to its end
        for line in render.trouble(summary):
            click.echo(f"checkinsync: {line}", err=True)
    if as_json:
        say_json(render.run_json(summary))
    elif on_terminal():
        click.echo(render.as_table(summary))


def _print_plan(app: App, *, as_json: bool) -> None:
    plan = plan_run(app.services, options=app.run_options)
    if as_json:
        say_json(render.plan_json(plan))
    else:
        click.echo(render.plan_text(plan))
