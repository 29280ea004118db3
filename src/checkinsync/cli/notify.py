"""`checkinsync notify`."""

from __future__ import annotations

import click

from checkinsync.cli.context import Context
from checkinsync.errors import CheckinsyncError, Exit, SettingsError


@click.group()
def notify() -> None:
    """Notices of each run: pings, ntfy, a webhook, mail and chats."""


@notify.command()
@click.pass_context
def test(ctx: click.Context, /) -> None:
    """Send a notice to every target that is set, and say which of them took it."""
    import socket

    from checkinsync.notify import digest
    from checkinsync.notify.alarms import send
    from checkinsync.notify.targets import targets

    context: Context = ctx.obj
    found = targets(context.settings())
    if not found:
        raise SettingsError(
            "there is nothing to send to: set CHECKINSYNC_PING_URL, CHECKINSYNC_NTFY_URL, "
            "CHECKINSYNC_WEBHOOK_URL or CHECKINSYNC_NOTIFY"
        )
    code: int = Exit.OK
    for target in found:
        try:
            send(target, digest.of_test(socket.gethostname()))
        except CheckinsyncError as error:
            click.echo(f"{target.name}: not sent: {error}")
            code = max(code, error.exit_code)
        else:
            click.echo(f"{target.name}: sent")
    ctx.exit(code)
