"""`checkinsync doctor`."""

from __future__ import annotations

import click

from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context, listening
from checkinsync.cli.terminal import has_colours, say_json
from checkinsync.shutdown import signals_deferred


@click.command()
@click.option("--online", is_flag=True, help="Also ask Foursquare whose token a user has.")
@click.option(
    "--user",
    "users",
    type=UserName(),
    multiple=True,
    metavar="USER",
    help="With --online: ask about this user, and the next one with another --user; without, "
    "about the first active one.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(ctx: click.Context, *, online: bool, users: tuple[str, ...], as_json: bool) -> None:
    """Check everything that a night depends on, and say what to do. Changes nothing.

    Settings, files, keys, database, privileges, schema, sequences, clock, connections, pooler,
    users, runs; each is ok, a warning or a problem. Exit codes: 0 no problem; else that of the
    worst one: 78 settings, 69 database or Foursquare, 6 schema, 4 tokens.
    """
    with signals_deferred():
        from checkinsync.app import examine
        from checkinsync.cli.render import doctor as render

    if users and not online:
        raise click.UsageError("--user goes with --online")
    context: Context = ctx.obj
    examined = context.examined()
    report = examine(examined, listening(), chosen=users if online else None)
    if as_json:
        say_json(render.report_json(report))
    else:
        click.echo(render.report_text(report, colours=has_colours()))
    ctx.exit(report.exit_code)
