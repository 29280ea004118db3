"""`checkinsync status`."""

from __future__ import annotations

from datetime import timedelta

import click

from checkinsync.cli.context import Context, duration_of
from checkinsync.cli.render import status as render
from checkinsync.cli.terminal import say_json
from checkinsync.nightly import status as verbs
from checkinsync.resources import utc_now

STALE = 7


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--max-age",
    type=duration_of("max_age"),
    help="Exit with 7 when a user who should be is not so fresh (26h).",
)
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, max_age: timedelta | None) -> None:
    """The last runs, what is at work, and how each user is doing."""
    door: Context = ctx.obj
    with door.pool() as (settings, pool):
        report = verbs.report(
            pool=pool,
            now=utc_now(),
            active_days=settings.active_days,
            max_age=max_age or verbs.MAX_AGE,
        )
    if as_json:
        say_json(render.status_json(report))
    else:
        click.echo(render.status_text(report))
    if max_age is not None and report.stale:
        for user in report.stale:
            click.echo(f"checkinsync: stale: {render.why(user, None)}", err=True)
        ctx.exit(STALE)
