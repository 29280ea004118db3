"""`checkinsync verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import click

from checkinsync.cli.completion import UserName
from checkinsync.cli.context import Context
from checkinsync.cli.terminal import on_terminal, say_json
from checkinsync.errors import Exit, FoursquareAway, Interrupted, QuotaExceeded
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.app import App
    from checkinsync.model.user import User
    from checkinsync.store.pool import Pool
    from checkinsync.verify.result import Unfinished, VerificationResult

EVERYBODY = "all"

SILENT_AFTER = 3
"""After so many users in a row without an answer from Foursquare the others are not tried."""


@click.command()
@click.argument("user", type=UserName(), default=EVERYBODY)
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

    USER is an id (bare digits), fsq:12345 (Foursquare's id), a display name if unique, or `all`
    (also if it is left out): everyone who has connected. If interrupted, run it again: it goes on
    from there. Exit codes: 0 complete, 8 a gap was found, 3 not everyone could be verified; of
    one user also 4 the user must log in again, 5 rate limit or quota, 69 database or Foursquare
    away, 75 an import of this user is at work.
    """
    with signals_deferred():
        from checkinsync.cli.render import verify as render
        from checkinsync.verify.verifier import verify as verify_user

    if accept_deletions and not repair:
        raise click.UsageError("--accept-deletions goes with --repair")
    context: Context = ctx.obj
    watched = on_terminal() and context.verbosity >= 0
    with context.app() as app:
        chosen = _chosen(user, pool=app.services.pool)
        if not chosen:
            click.echo("no user has connected yet: there is nothing to verify", err=True)
        results = []
        verify_one = partial(
            verify_user,
            services=app.services,
            wait=app.wait_for if wait else None,
            repair=repair,
            accept_deletions=accept_deletions,
        )
        with app.shutdown.gracefully():
            for result in _results(app, chosen, verify_one=verify_one, watched=watched):
                results.append(result)
                _say(result, as_json=as_json)
    if as_json:
        say_json(render.as_json(results) if user == EVERYBODY else render.one(results[0]))
    ctx.exit(_exit_code(results, alone=user != EVERYBODY))


def _chosen(text: str, *, pool: Pool) -> list[User]:
    from checkinsync.store import users
    from checkinsync.store.pool import transaction

    with transaction(pool, read_only=True) as conn:
        return users.connected(conn) if text == EVERYBODY else [users.find(conn, text)]


def _results(
    app: App,
    chosen: list[User],
    *,
    verify_one: Callable[..., VerificationResult | Unfinished],
    watched: bool,
) -> Iterator[VerificationResult | Unfinished]:
    """One after the other, until asked to stop, or until further requests are of no use."""
    from checkinsync.cli.progress import import_bar
    from checkinsync.sync.session import Hooks
    from checkinsync.verify.result import Unfinished

    unanswered = 0
    for user in chosen:
        with import_bar(str(user)) if watched else nullcontext(lambda _: None) as on_page:
            result = verify_one(user, hooks=Hooks(check_stop=app.shutdown.check, on_page=on_page))
        yield result
        error = result.error if isinstance(result, Unfinished) else None
        unanswered = unanswered + 1 if isinstance(error, FoursquareAway) else 0
        if isinstance(error, Interrupted | QuotaExceeded) or unanswered == SILENT_AFTER:
            return


def _say(result: VerificationResult | Unfinished, *, as_json: bool) -> None:
    from checkinsync.cli.render import verify as render
    from checkinsync.verify.result import Unfinished

    if isinstance(result, Unfinished):
        click.echo(f"checkinsync: {render.unfinished(result)}", err=True)
    elif not as_json:
        click.echo(render.as_text(result))


def _exit_code(results: list[VerificationResult | Unfinished], *, alone: bool) -> int:
    """Return the code for: interrupted, else a gap, else the lack of a verdict.

    Of several users, those who must log in again are reported and do not count.
    """
    from checkinsync.verify.result import Unfinished, VerificationResult

    errors = [result.error for result in results if isinstance(result, Unfinished)]
    interrupted = [error.exit_code for error in errors if isinstance(error, Interrupted)]
    if interrupted:
        return interrupted[0]
    if any(isinstance(result, VerificationResult) and not result.complete for result in results):
        return Exit.GAP
    if alone:
        return errors[0].exit_code if errors else 0
    codes = {error.exit_code for error in errors} - {Exit.MUST_LOG_IN}
    match results[-1:]:
        case [Unfinished(error=FoursquareAway() | QuotaExceeded() as error)]:
            return error.exit_code
    return Exit.PARTIAL if codes else 0
