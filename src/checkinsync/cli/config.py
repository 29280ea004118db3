"""`checkinsync config …`: the settings file, what is in force, and what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from checkinsync.cli.context import Context
from checkinsync.cli.terminal import say_json
from checkinsync.errors import Exit, FileInTheWay


@click.group()
def config() -> None:
    """The settings: write the file, show what is in force and why, find mistakes."""


@config.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Where to write it; `-` is standard output.  [default: where it is looked for]",
)
@click.option("--force", is_flag=True, help="Rewrite FILE; what it sets stays set.")
@click.pass_obj
def init(context: Context, *, output: Path | None, force: bool) -> None:
    """Write a settings file with every setting, its meaning and its default."""

    from checkinsync.cli.atomic_file import write_settings
    from checkinsync.cli.night_account import night_account, reading_group
    from checkinsync.config import document
    from checkinsync.config import file as settings_file

    if output == Path("-"):
        click.echo(document.commented(), nl=False)
        return
    path = output or settings_file.place(os.environ)
    there = os.path.lexists(path)
    if there and not force:
        raise FileInTheWay(f"{path} already exists; name another file, or use --force")
    text = document.commented(settings_file.read(path) if there else None)
    write_settings(path, text, group=reading_group(night_account(None)))
    if context.verbosity >= 0:
        click.echo(f"wrote {path}", err=True)


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(ctx: click.Context, *, as_json: bool) -> None:
    """Show each setting's value and where it came from; secrets are masked.

    What can't be used is told on standard error. Exit codes: 0 all is well, 78 it is not.
    """

    from checkinsync.cli.render import config as render

    context: Context = ctx.obj
    examined = context.examined()
    if as_json:
        say_json(render.in_force_json(examined))
    else:
        click.echo(render.in_force_text(examined))
    for problem in examined.problems:
        click.echo(f"checkinsync: {problem}", err=True)
    ctx.exit(Exit.SETTINGS if examined.problems else Exit.OK)


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """List every problem of the settings. Exit codes: 0 there is none, 78 there is one."""

    from checkinsync.cli.render import config as render

    context: Context = ctx.obj
    examined = context.examined()
    if as_json:
        say_json(render.check_json(examined))
    else:
        click.echo(render.check_text(examined))
    ctx.exit(Exit.SETTINGS if examined.problems else Exit.OK)
