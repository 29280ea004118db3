"""`checkinsync simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import listening
from checkinsync.errors import Interrupted, SettingsError
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.simulator.server import Server


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any.  [default: 8901]")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Another seed makes other users."
)
def simulate(*, port: int | None, seed: int) -> None:
    """Serve a simulated Foursquare on a loopback port, until Ctrl-C.

    Point checkinsync at it with the settings and the tokens it prints.
    """
    with signals_deferred():
        from checkinsync.simulator import demo

    def ready(server: Server) -> None:
        click.echo(f"CHECKINSYNC_API_URL={server.url}")
        click.echo(f"CHECKINSYNC_OAUTH_URL={server.oauth_url}")
        click.echo(f"CHECKINSYNC_CLIENT_ID={server.client.id}")
        click.echo(f"CHECKINSYNC_CLIENT_SECRET={server.client.secret}")
        for first_name, _, count in demo.PEOPLE:
            click.echo(f"{demo.demo_token(first_name)}  {first_name}, {count} check-ins")
        click.echo("serving until Ctrl-C", err=True)

    listening()
    try:
        demo.serve(demo.PORT if port is None else port, seed, ready=ready)
    except OSError as error:
        raise SettingsError(
            f"port {port} can't be used ({error.strerror}); choose another with --port"
        ) from None
    except Interrupted as asked:
        raise Interrupted("stopped", exit_code=asked.exit_code) from None
