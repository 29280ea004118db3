"""`checkinsync why`."""

from __future__ import annotations

import click

from checkinsync.cli.context import Context
from checkinsync.shutdown import signals_deferred


@click.command()
@click.argument("user", required=False)
@click.pass_obj
def why(context: Context, user: str | None) -> None:
    """One line: why USER was or was not imported, and what happens next.

    USER may be left out where there is only one user.
    """
    with signals_deferred():
        from checkinsync.cli.render import status as render
        from checkinsync.nightly import status as nightly
        from checkinsync.resources import utc_now
        from checkinsync.store import users
        from checkinsync.store.pool import transaction

    with context.pool() as (settings, pool):
        with transaction(pool, read_only=True) as conn:
            found = users.find(conn, user)
        known = nightly.of_user(found, pool=pool, now=utc_now(), active_days=settings.active_days)
    click.echo(render.why(*known))
