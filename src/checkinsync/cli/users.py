"""`checkinsync users …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context
from checkinsync.cli.terminal import (
    confirm,
    has_colours,
    is_terminal,
    say_json,
    say_lines,
    stdout_at_once,
    token_from_stdin,
)
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.model.user import Profile, User
    from checkinsync.sync.session import Services


@click.group()
def users() -> None:
    """Add, list, pause, export and remove users; renew their tokens."""


@users.command()
@click.option("--foursquare-id", metavar="ID", help="Do not ask Foursquare whose token it is.")
@click.option("--name", metavar="NAME", help="The display name, with --foursquare-id.")
@click.option("--show-secret", is_flag=True, help="Print the user's secret token as well.")
@click.option("--renew", is_flag=True, help="If the user is there already, replace their token.")
@click.pass_obj
def add(
    context: Context, *, foursquare_id: str | None, name: str | None, show_secret: bool, renew: bool
) -> None:
    """Read a Foursquare token from standard input and add its user."""
    with signals_deferred():
        import re

        from checkinsync.model.user import Profile, User
        from checkinsync.users import accounts

    if name and not foursquare_id:
        raise click.UsageError("--name needs --foursquare-id")
    if foursquare_id is not None and not re.fullmatch(r"[0-9]{1,20}", foursquare_id):
        raise click.UsageError("--foursquare-id is Foursquare's number for the user, digits only")
    token = token_from_stdin("users add")
    with context.app() as app:
        asked = (
            None if foursquare_id else accounts.who_is(token, foursquare=app.services.foursquare)
        )
        profile = asked or Profile(str(foursquare_id), name, None)
        services = app.services
        known = accounts.known(profile, pool=services.pool) if renew else None
        if known is not None:
            _renew(known, token, profile=profile, services=services)
            return
        added = accounts.add(
            profile, token, pool=services.pool, keyring=services.keyring, now=services.now()
        )
    user = User(added.id, profile.foursquare_user_id, profile.name, None)
    click.echo(f"{user} added" if is_terminal(sys.stdout) else added.id)
    if show_secret:
        click.echo(added.secret_token)


@users.command(name="set-token")
@click.argument("user", type=UserName())
@click.option("--unchecked", is_flag=True, help="Do not ask Foursquare whose token it is.")
@click.pass_obj
def set_token(context: Context, user: str, *, unchecked: bool) -> None:
    """Read a new Foursquare token for USER from standard input."""
    with signals_deferred():
        import shlex

        from checkinsync.users import accounts

    token = token_from_stdin(f"users set-token {shlex.quote(user)}")
    with context.app() as app:
        found = accounts.find(user, pool=app.services.pool)
        profile = None if unchecked else accounts.who_is(token, foursquare=app.services.foursquare)
        _renew(found, token, profile=profile, services=app.services)


def _renew(user: User, token: str, *, profile: Profile | None, services: Services) -> None:
    """Replace a user's token, and say so."""
    from checkinsync.users import accounts

    accounts.set_token(
        user,
        token,
        profile=profile,
        pool=services.pool,
        keyring=services.keyring,
        now=services.now(),
    )
    click.echo(f"{user} has a new token and is due in the next run")


@users.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the names of `status`.")
@click.pass_obj
def list_users(context: Context, *, as_json: bool) -> None:
    """List the users, a line for each."""
    with signals_deferred():
        from checkinsync.cli.render import status as render
        from checkinsync.nightly import status as standing
        from checkinsync.resources import utc_now

    with context.pool() as (settings, pool):
        report = standing.report(pool=pool, now=utc_now(), active_days=settings.active_days)
    if as_json:
        say_json(render.status_json(report)["users"])
    elif report.users:
        users = ((user, user.state) for user in report.users)
        say_lines(render.users_lines(users, colours=has_colours()))
    else:
        click.echo(render.counts_text({}))


@users.command()
@click.argument("user", type=UserName())
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the names of `status`.")
@click.pass_obj
def show(context: Context, user: str, *, as_json: bool) -> None:
    """Show everything that is known about USER, except secrets."""
    with signals_deferred():
        from checkinsync.cli.render import status as render
        from checkinsync.nightly import status as standing
        from checkinsync.resources import utc_now
        from checkinsync.users import accounts

    now = utc_now()
    with context.pool() as (settings, pool):
        found = accounts.find(user, pool=pool)
        status, _ = standing.of_user(found, pool=pool, now=now, active_days=settings.active_days)
    if as_json:
        say_json(render.user_json(status, fresh=status.is_fresh(now, standing.MAX_AGE)))
    else:
        click.echo(render.user_text(status))


@users.command()
@click.argument("user", type=UserName())
@click.pass_obj
def pause(context: Context, user: str) -> None:
    """Leave USER out of the nightly runs."""
    with signals_deferred():
        from checkinsync.resources import utc_now
        from checkinsync.users import accounts

    with context.pool() as (_, pool):
        found = accounts.find(user, pool=pool)
        accounts.pause(found, pool=pool, now=utc_now())
    click.echo(f"{found} is paused until `checkinsync users resume {found.id}`")


@users.command()
@click.argument("user", type=UserName())
@click.pass_obj
def resume(context: Context, user: str) -> None:
    """Take USER into the nightly runs again."""
    with signals_deferred():
        from checkinsync.users import accounts

    with context.pool() as (_, pool):
        found = accounts.find(user, pool=pool)
        accounts.pause(found, pool=pool, now=None)
    click.echo(f"{found} is imported again, if active and connected")


@users.command()
@click.argument("user", type=UserName())
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(context: Context, user: str, *, yes: bool) -> None:
    """Remove USER and everything of theirs, check-ins included; if interrupted, run it again.

    `checkinsync users export USER` saves all of it first.
    """
    with signals_deferred():
        from checkinsync.nightly import status as standing
        from checkinsync.resources import utc_now
        from checkinsync.users import accounts, removal

    with context.pool() as (settings, pool):
        found = accounts.find(user, pool=pool)
        if not yes:
            status, _ = standing.of_user(
                found, pool=pool, now=utc_now(), active_days=settings.active_days
            )
            question = f"Remove {found} with {status.checkins} check-ins for good?"
            confirm(question)
        removed = removal.remove(found, pool=pool, now=utc_now())
    told = ", ".join(f"{count} {kind}" for kind, count in removed.items())
    click.echo(f"removed {found}: {told}")


@users.command()
@click.argument("user", type=UserName())
@click.option(
    "-o",
    "--output",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="The zip's name; `-` is standard output.  [default: checkinsync-user-ID.zip]",
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.pass_obj
def export(context: Context, user: str, *, output: str | None, force: bool) -> None:
    """Write everything that is stored about USER, except tokens, into a zip of JSON."""
    with signals_deferred():
        from pathlib import Path

        from checkinsync.cli.atomic_file import write_atomically
        from checkinsync.resources import utc_now
        from checkinsync.users import accounts
        from checkinsync.users.export import export_user

    to_stdout = output == "-"
    with context.pool() as (_, pool):
        found = accounts.find(user, pool=pool)
        path = Path(output or f"checkinsync-user-{found.id}.zip")
        with stdout_at_once() if to_stdout else write_atomically(path, replace=force) as file:
            counts = export_user(found, file, pool=pool, now=utc_now())
    told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    click.echo(f"{path}: {found}: {told}", err=to_stdout)
