"""`checkinsync why`."""

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
def why(context: Context, user: str | None, *, as_json: bool) -> None:
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
        now = utc_now()
        known = nightly.of_user(found, pool=pool, now=now, active_days=settings.active_days)
    if as_json:
        say_json(render.why_json(*known, fresh=known[0].is_fresh(now, nightly.MAX_AGE)))
    else:
        click.echo(render.why(*known))
