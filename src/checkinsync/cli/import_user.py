"""`checkinsync import-user`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context
from checkinsync.cli.terminal import end_with, on_terminal, say_json
from checkinsync.errors import CheckinsyncError
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from datetime import datetime

    from checkinsync.app import App
    from checkinsync.model.user import User
    from checkinsync.sync.outcome import Imported
    from checkinsync.sync.scope import Scope


@click.command(name="import-user")
@click.argument("user", type=UserName(), required=False)
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
    context: Context,
    user: str | None,
    *,
    full: bool,
    since: datetime | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Import one user now.

    USER is an id (bare digits), fsq:12345 (Foursquare's id), or a display name if unique; it may
    be left out where there is only one user. Exit codes: 0 done, 4 the user must log in again,
    5 rate limit or quota, 69 database or Foursquare away, 75 another import of this user is at
    work.
    """
    with signals_deferred():
        from checkinsync.cli.render import orchestrate as render
        from checkinsync.store import quarantine, users
        from checkinsync.store.pool import transaction
        from checkinsync.sync.scope import Nightly

    scope = _scope(full=full, since=since)
    with context.app() as app:
        with transaction(app.services.pool, read_only=True) as conn:
            found = users.find(conn, user)
        watched = on_terminal() and not as_json and context.verbosity >= 0
        with app.shutdown.gracefully():
            imported = _import(
                app,
                found,
                scope or Nightly(app.settings.overlap),
                wait=wait,
                watched=watched,
                as_json=as_json,
            )
        with transaction(app.services.pool, read_only=True) as conn:
            kept = quarantine.counts(conn).get(found.id, 0)
    if as_json:
        say_json(render.outcome_json(found, imported) | {"in_quarantine": kept})
    else:
        click.echo(
            f"{found}: {render.what(imported)}, {imported.requests} requests{_told(found, kept)}"
        )


def _scope(*, full: bool, since: datetime | None) -> Scope | None:
    """Return how far back to walk; None: as each night does."""
    from datetime import UTC

    from checkinsync.resources import utc_now
    from checkinsync.sync.scope import Full, Since

    if since is None:
        return Full() if full else None
    if full:
        raise click.UsageError("--full and --since exclude each other")
    start = since.replace(tzinfo=UTC)
    if start > utc_now():
        raise click.UsageError(f"--since {start:%Y-%m-%d %H:%M:%S} UTC lies in the future")
    return Since(start)


def _told(user: User, kept: int) -> str:
    """Return how many items of the user are in quarantine, for the end of a line."""
    from checkinsync.cli.render.table import many

    if not kept:
        return ""
    return (
        f"; {many(kept, 'check-in')} in quarantine, since they can't be read or stored: "
        f"`checkinsync quarantine {user.id}` lists them"
    )


def _import(
    app: App, user: User, scope: Scope, *, wait: bool, watched: bool, as_json: bool
) -> Imported:
    from checkinsync.cli.progress import import_bar
    from checkinsync.cli.render.orchestrate import outcome_json
    from checkinsync.sync.import_now import import_now
    from checkinsync.sync.outcome import ended_with
    from checkinsync.sync.session import Hooks

    try:
        with import_bar(str(user)) if watched else nullcontext(lambda _: None) as on_page:
            return import_now(
                user,
                services=app.services,
                scope=scope,
                hooks=Hooks(check_stop=app.shutdown.check, on_page=on_page),
                wait=app.wait_for if wait else None,
            )
    except CheckinsyncError as error:
        if as_json:
            say_json(outcome_json(user, ended_with(error)))
            end_with(error)
        raise
