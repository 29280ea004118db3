"""`checkinsync why`."""

from __future__ import annotations

import click

from checkinsync.cli.context import Context
from checkinsync.cli.render import status as render
from checkinsync.nightly import status as verbs
from checkinsync.resources import utc_now
from checkinsync.users import accounts


@click.command()
@click.argument("user")
@click.pass_obj
def why(door: Context, user: str) -> None:
    """One line: why USER was or was not synced, and what happens next."""
    with door.pool() as (settings, pool):
        found = accounts.find(user, pool=pool)
        known = verbs.of_user(found, pool=pool, now=utc_now(), active_days=settings.active_days)
    click.echo(render.why(*known))
