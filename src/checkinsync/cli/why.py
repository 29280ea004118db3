"""`checkinsync why`."""

from __future__ import annotations

import click

from checkinsync import status as verbs
from checkinsync import users
from checkinsync.app import utc_now
from checkinsync.cli.door import Door
from checkinsync.render import status as render


@click.command()
@click.argument("user")
@click.pass_obj
def why(door: Door, user: str) -> None:
    """One line: why USER was or was not synced, and what happens next."""
    with door.pool() as (settings, pool):
        found = users.find(user, pool=pool)
        known = verbs.of_user(found, pool=pool, now=utc_now(), active_days=settings.active_days)
    click.echo(render.why(*known))
