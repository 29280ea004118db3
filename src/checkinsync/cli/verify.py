"""`checkinsync verify`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import click

from checkinsync.app import App
from checkinsync.cli.context import Context
from checkinsync.cli.progress import import_bar
from checkinsync.cli.render import verify as render
from checkinsync.cli.terminal import on_terminal, say_json
from checkinsync.errors import FoursquareAway, Interrupted, QuotaExceeded
from checkinsync.model.user import User
from checkinsync.store import users
from checkinsync.store.pool import Pool, transaction
from checkinsync.sync.session import Hooks
from checkinsync.users import accounts
from checkinsync.verify.result import Unfinished, VerificationResult
from checkinsync.verify.verifier import verify as verify_user

GAP = 8
PARTIAL = 3
MUST_LOG_IN = 4
EVERYBODY = "all"

SILENT_AFTER = 3
"""After so many users in a row about whom Foursquare said nothing, the others are not tried."""


@click.command()
@click.argument("user", default=EVERYBODY)
@click.option("--repair", is_flag=True, help="Store what is missing or different.")
@click.option(
    "--accept-deletions",
    is_flag=True,
    help="With --repair: what the list shows no more is gone, if Foursquare denies each.",
)
@click.option("--wait", is_flag=True, help="Wait for the reset of a rate limit and go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    user: str,
    repair: bool,
    accept_deletions: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Walk USER's whole history and compare it with what is stored, id by id.

    USER is an id (bare digits), fsq:12345 (Foursquare's id), a display name if unique, or `all`:
    everybody who has connected. Cut off, it goes on from there the next time.
    Exit codes: 0 complete, 8 a gap was found, 3 not everybody could be verified; of one user
    also 4 the user must log in again, 5 rate limit or quota, 69 database or Foursquare away,
    75 an import of this user is at work.
    """
    if accept_deletions and not repair:
        raise click.UsageError("--accept-deletions goes with --repair")
    door: Context = ctx.obj
    with door.app() as app:
        chosen = _chosen(user, pool=app.services.pool)
        if not chosen:
            click.echo("no user has connected yet: there is nothing to verify", err=True)
        results = []
        with app.shutdown.gracefully():
            for result in _results(
                app, chosen, repair=repair, accept_deletions=accept_deletions, wait=wait
            ):
                results.append(result)
                _say(result, as_json=as_json)
    if as_json:
        say_json(render.as_json(results) if user == EVERYBODY else render.one(results[0]))
    ctx.exit(_exit_code(results, alone=user != EVERYBODY))


def _chosen(text: str, *, pool: Pool) -> list[User]:
    if text != EVERYBODY:
        return [accounts.find(text, pool=pool)]
    with transaction(pool, read_only=True) as conn:
        return users.connected(conn)


def _results(
    app: App, chosen: list[User], *, repair: bool, accept_deletions: bool, wait: bool
) -> Iterator[VerificationResult | Unfinished]:
    """One after the other, until asked to stop, or while Foursquare answers."""
    unanswered = 0
    for user in chosen:
        with import_bar(str(user)) if on_terminal() else nullcontext(lambda _: None) as on_page:
            result = verify_user(
                user,
                services=app.services,
                hooks=Hooks(check_stop=app.shutdown.check, on_page=on_page),
                wait=app.wait_for if wait else None,
                repair=repair,
                accept_deletions=accept_deletions,
            )
        yield result
        error = result.error if isinstance(result, Unfinished) else None
        unanswered = unanswered + 1 if isinstance(error, FoursquareAway) else 0
        if isinstance(error, Interrupted | QuotaExceeded) or unanswered == SILENT_AFTER:
            return


def _say(result: VerificationResult | Unfinished, *, as_json: bool) -> None:
    if isinstance(result, Unfinished):
        click.echo(f"checkinsync: {render.unfinished(result)}", err=True)
    elif not as_json:
        click.echo(render.as_text(result))


def _exit_code(results: list[VerificationResult | Unfinished], *, alone: bool) -> int:
    """Interrupted first, then a gap, then what kept a verdict from coming. Of everybody, those
    who must log in again are told, and count for nothing: no verification can help that."""
    errors = [result.error for result in results if isinstance(result, Unfinished)]
    interrupted = [error.exit_code for error in errors if isinstance(error, Interrupted)]
    if interrupted:
        return interrupted[0]
    if any(isinstance(result, VerificationResult) and not result.complete for result in results):
        return GAP
    if alone:
        return errors[0].exit_code if errors else 0
    codes = {error.exit_code for error in errors} - {MUST_LOG_IN}
    match results[-1:]:
        case [Unfinished(error=FoursquareAway() | QuotaExceeded() as error)]:
            return error.exit_code
    return PARTIAL if codes else 0
