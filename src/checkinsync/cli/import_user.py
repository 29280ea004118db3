"""`checkinsync import-user`."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime

import click

from checkinsync.app import App
from checkinsync.cli.context import Context
from checkinsync.cli.progress import import_bar
from checkinsync.cli.render import orchestrate as render
from checkinsync.cli.terminal import on_terminal, say_json
from checkinsync.errors import CheckinsyncError
from checkinsync.model.user import User
from checkinsync.sync.import_now import import_now
from checkinsync.sync.outcome import ended_with
from checkinsync.sync.scope import Full, Nightly, Scope, Since
from checkinsync.sync.session import Hooks
from checkinsync.users import accounts


@click.command(name="import-user")
@click.argument("user")
@click.option("--full", is_flag=True, help="Walk the whole history.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Walk back to this day (UTC); later runs do not rest on it.",
)
@click.option("--wait", is_flag=True, help="Wait for the reset of a rate limit and go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def import_user(
    door: Context, user: str, *, full: bool, since: datetime | None, wait: bool, as_json: bool
) -> None:
    """Import one user now.

    USER is an id (bare digits), fsq:12345 (Foursquare's id), or a display name if unique.
    Exit codes: 0 done, 4 the user must log in again, 5 rate limit or quota, 69 database or
    Foursquare away, 75 another import of this user is at work.
    """
    if full and since:
        raise click.UsageError("--full and --since exclude each other")
    scope: Scope | None = Full() if full else None
    if since:
        scope = Since(since.replace(tzinfo=UTC))
    with door.app() as app:
        found = accounts.find(user, pool=app.services.pool)
        scope = scope or Nightly(app.settings.overlap)
        with app.shutdown.gracefully():
            _import(app, found, scope, wait=wait, as_json=as_json)


def _import(app: App, user: User, scope: Scope, *, wait: bool, as_json: bool) -> None:
    watched = on_terminal() and not as_json
    try:
        with import_bar(str(user)) if watched else nullcontext(lambda _: None) as on_page:
            imported = import_now(
                user,
                services=app.services,
                scope=scope,
                hooks=Hooks(check_stop=app.shutdown.check, on_page=on_page),
                wait=app.wait_for if wait else None,
            )
    except CheckinsyncError as error:
        if as_json:
            say_json(render.outcome_json(user, ended_with(error)))
        raise
    if as_json:
        say_json(render.outcome_json(user, imported))
    else:
        click.echo(f"{user}: {render.what(imported)}, {imported.requests} requests")
