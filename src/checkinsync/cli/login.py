"""`checkinsync login`."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from http import HTTPStatus

import click

from checkinsync.cli import terminal
from checkinsync.cli.context import Context, Duration, child_environment
from checkinsync.cli.render import login as render
from checkinsync.config import validators
from checkinsync.config.durations import written
from checkinsync.errors import CheckinsyncError, Interrupted, StrayReturn
from checkinsync.nightly import status as standing
from checkinsync.users.login import Arrival, LoggedIn
from checkinsync.users.loopback import PORT, Loopback, Visit, redirect

OPENER = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"


@click.command()
@click.argument("user", required=False)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="Of the address to come back to, as registered at Foursquare.",
)
@click.option("--no-browser", is_flag=True, help="Paste the address you are sent to instead.")
@click.option(
    "--timeout",
    type=Duration(validators.duration("1s", "1d")),
    default="5m",
    show_default=True,
    help="How long to wait for whoever logs in.",
)
@click.pass_obj
def login(
    door: Context, user: str | None, *, port: int, no_browser: bool, timeout: timedelta
) -> None:
    """Log in at Foursquare in a browser: adds a user, or renews a token.

    With USER the login has to be this user's; anybody else's is refused. The application has to be
    registered at Foursquare with the redirect address http://localhost:8902/callback, or with the
    port of --port in it. Exit codes: 0 done, 2 somebody else's login, 4 no token came of it,
    69 database or Foursquare away, 78 settings.
    """
    with ExitStack() as stack:
        app = stack.enter_context(door.app())
        oauth = stack.enter_context(app.oauth(redirect(port)))
        named = app.user(user) if user else None
        loopback = None if no_browser else stack.enter_context(Loopback(port))
        state = secrets.token_urlsafe(32)
        arrivals = _arrivals(loopback, address=oauth.address(state), port=port, timeout=timeout)
        done = app.login(named, arrivals=arrivals, state=state, oauth=oauth)
        status, _ = standing.of_user(
            done.user, pool=app.pool, now=app.now(), active_days=app.settings.active_days
        )
    click.echo(render.text(done, paused=status.state == "paused"))


def _ask(address: str, *, port: int, timeout: timedelta, here: bool) -> None:
    """Say what to do; on this machine, do it."""
    where = "in a browser on this machine" if here else "in any browser, on any machine,"
    _say(f"Open this address {where} and allow the access:\n\n{address}\n")
    if here:
        _say(f"Waiting at {redirect(port)} for {written(timeout)} …")
        threading.Thread(target=_open, args=(address,), daemon=True).start()
    else:
        _say(
            f"It then goes on to {redirect(port)}?…, which no browser finds elsewhere.\n"
            f"Paste that address here, as it stands in the browser, within {written(timeout)}:"
        )


def _open(address: str) -> None:
    """In a process of its own: what a browser prints is none of our results."""
    opened = subprocess.run(  # noqa: S603 - our own words and our own address
        [sys.executable, "-c", OPENER, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
        env={
            name: value
            for name, value in child_environment().items()
            if name != "TERM"  # with it, one inside the terminal
        },
        check=False,
    )
    if opened.returncode:
        _say("No browser opens by itself here: open it yourself, or start with --no-browser.")


def _arrivals(
    loopback: Loopback | None, *, address: str, port: int, timeout: timedelta
) -> Iterator[Arrival]:
    """Somebody is asked for, and whoever then comes back, in the browser or on standard input."""
    try:
        _ask(address, port=port, timeout=timeout, here=loopback is not None)
        if loopback is None:
            yield from map(_of_line, filter(None, terminal.lines(within=timeout)))
        else:
            yield from map(_of_browser, loopback.visits(within=timeout))
    except Interrupted as interrupted:
        raise Interrupted(
            "interrupted before anybody came back from Foursquare; nothing was changed",
            exit_code=interrupted.exit_code,
        ) from None


def _of_browser(visit: Visit) -> Arrival:
    def tell(result: LoggedIn | CheckinsyncError) -> None:
        status = HTTPStatus.OK if isinstance(result, LoggedIn) else HTTPStatus.BAD_REQUEST
        visit.answer(render.page(result), status=status)
        if isinstance(result, StrayReturn):  # all else is told in the end
            _say(f"A browser came back, but {result}. Still waiting …")

    return Arrival(visit.query, tell)


def _of_line(line: str) -> Arrival:
    """The address as it was pasted, in quotes perhaps, or only what stands behind its `?`."""

    def tell(result: LoggedIn | CheckinsyncError) -> None:
        if isinstance(result, StrayReturn):
            _say(f"That won't do: {result}. Paste the address that the browser was sent to then:")

    address = line.strip("<>'\"").partition("#")[0]
    return Arrival(address.rpartition("?")[2], tell)


def _say(text: str) -> None:
    click.echo(text, err=True)
