"""`checkinsync login`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from checkinsync.cli import terminal
from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context, Duration
from checkinsync.errors import CheckinsyncError, Interrupted, StrayReturn
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from datetime import timedelta

    from checkinsync.users.login import Arrival, LoggedIn
    from checkinsync.users.loopback import Loopback, Visit

OPENER = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"


def _timeout(text: str) -> timedelta:
    from checkinsync.config import validators

    return validators.duration("1s", "1d")(text)


@click.command()
@click.argument("user", type=UserName(), required=False)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the redirect address, as registered at Foursquare.  [default: 8902]",
)
@click.option("--no-browser", is_flag=True, help="Open no browser; paste the address instead.")
@click.option(
    "--timeout",
    type=Duration(_timeout),
    default="5m",
    show_default=True,
    help="How long to wait for the login.",
)
@click.pass_obj
def login(
    context: Context, user: str | None, *, port: int | None, no_browser: bool, timeout: timedelta
) -> None:
    """Log in at Foursquare in a browser: add a user, or renew a token.

    With USER the login has to be this user's; another one is refused. The application has to be
    registered at Foursquare with the redirect address http://localhost:8902/callback, or with the
    port of --port in it. Exit codes: 0 done, 2 another user's login, 4 no token was obtained,
    69 database or Foursquare unreachable, 78 settings.
    """
    with signals_deferred():
        import secrets

        from checkinsync.app import open_oauth
        from checkinsync.cli.render.login import text
        from checkinsync.foursquare.oauth import code_in
        from checkinsync.nightly import status as standing
        from checkinsync.users import accounts
        from checkinsync.users.login import login as log_in
        from checkinsync.users.loopback import PORT, Loopback, redirect

    port = PORT if port is None else port
    with ExitStack() as stack:
        app = stack.enter_context(context.app())
        oauth = stack.enter_context(open_oauth(app.settings, redirect(port)))
        named = accounts.find(user, pool=app.services.pool) if user else None
        loopback = None if no_browser else stack.enter_context(Loopback(port))
        state = secrets.token_urlsafe(32)
        arrivals = _arrivals(loopback, address=oauth.address(state), port=port, timeout=timeout)
        done = log_in(
            named,
            arrivals=arrivals,
            exchange=lambda query: oauth.token(code_in(query, state=state)),
            foursquare=app.services.foursquare,
            pool=app.services.pool,
            keyring=app.services.keyring,
            now=app.services.now,
        )
        status, _ = standing.of_user(
            done.user,
            pool=app.services.pool,
            now=app.services.now(),
            active_days=app.settings.active_days,
        )
    click.echo(text(done, paused=status.state == "paused"))


def _ask(address: str, *, port: int, timeout: timedelta, here: bool) -> None:
    """Say what to do; with a browser on this machine, open it."""
    import threading

    from checkinsync.config.durations import written
    from checkinsync.users.loopback import redirect

    where = "in a browser on this machine" if here else "in any browser, on any machine,"
    _say(f"Open this address {where} and allow the access:\n\n{address}\n")
    if here:
        _say(f"Waiting at {redirect(port)} for {written(timeout)} …")
        with signals_deferred():
            threading.Thread(target=_open, args=(address,), daemon=True).start()
    else:
        _say(
            f"It then redirects to {redirect(port)}?…, which a browser elsewhere can't load.\n"
            f"Paste that address here, as the browser shows it, within {written(timeout)}:"
        )


def _open(address: str) -> None:
    """Open a browser in a process of its own, so that its output does not mix with ours."""
    import subprocess

    from checkinsync.cli import children

    opened = subprocess.run(  # noqa: S603 - our own words and our own address
        [sys.executable, "-c", OPENER, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
        env=children.environment("TERM"),  # with it, one opens inside the terminal
        check=False,
    )
    if opened.returncode:
        _say("Can't open a browser: open the address yourself, or start again with --no-browser.")


def _arrivals(
    loopback: Loopback | None, *, address: str, port: int, timeout: timedelta
) -> Iterator[Arrival]:
    """Ask for a login; yields what comes back, in a browser or on standard input."""
    try:
        _ask(address, port=port, timeout=timeout, here=loopback is not None)
        if loopback is None:
            yield from map(_of_line, filter(None, terminal.lines(within=timeout)))
        else:
            yield from map(_of_browser, loopback.visits(within=timeout))
    except Interrupted as interrupted:
        raise Interrupted(
            "interrupted before an answer from Foursquare; nothing was changed",
            exit_code=interrupted.exit_code,
        ) from None


def _of_browser(visit: Visit) -> Arrival:
    from http import HTTPStatus

    from checkinsync.cli.render.login import page
    from checkinsync.users.login import Arrival, LoggedIn

    def tell(result: LoggedIn | CheckinsyncError) -> None:
        status = HTTPStatus.OK if isinstance(result, LoggedIn) else HTTPStatus.BAD_REQUEST
        visit.answer(page(result), status=status)
        if isinstance(result, StrayReturn):  # the end of the command says anything else
            _say(f"A browser came back, but {result}. Still waiting …")

    return Arrival(visit.query, tell)


def _of_line(line: str) -> Arrival:
    """Take an address as it was pasted, perhaps in quotes, or only the part after its `?`."""
    from checkinsync.users.login import Arrival

    def tell(result: LoggedIn | CheckinsyncError) -> None:
        if isinstance(result, StrayReturn):
            _say(f"Not accepted: {result}. Paste the address that the browser was sent to last:")

    address = line.strip("<>'\"").partition("#")[0]
    return Arrival(address.rpartition("?")[2], tell)


def _say(text: str) -> None:
    click.echo(text, err=True)
