"""`checkinsync quarantine`."""

from __future__ import annotations

import click

from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context
from checkinsync.cli.terminal import say_json
from checkinsync.shutdown import signals_deferred


@click.command()
@click.argument("user", type=UserName(), required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def quarantine(context: Context, user: str | None, *, as_json: bool) -> None:
    """List what could not be read or stored: check-in, reason, since when.

    Of USER, or of all users. Each import of a user tries their items again.
    """
    with signals_deferred():
        from checkinsync.cli.render import quarantine as render
        from checkinsync.store import quarantine as items
        from checkinsync.store import users
        from checkinsync.store.pool import transaction

    with context.pool() as (_, pool), transaction(pool, read_only=True) as conn:
        user_id = None if user is None else users.find(conn, user).id
        found = items.listing(conn, user_id)
    if as_json:
        say_json(render.as_json(found))
    else:
        click.echo(render.as_text(found))
