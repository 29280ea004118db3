"""`checkinsync orchestrate`."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context, duration_of
from checkinsync.cli.terminal import has_colours, on_terminal, say_json, say_lines
from checkinsync.errors import CheckinsyncError, DatabaseError, SettingsError
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from checkinsync.app import App
    from checkinsync.config.settings import Settings
    from checkinsync.nightly.summary import RunSummary
    from checkinsync.notify.alarms import Alarms
    from checkinsync.store.pool import Pool

SAME_DAY = 24
"""Hours for which the mail of a run is still known."""


@contextmanager
def _with_runbook() -> Iterator[None]:
    """Let the mail of a run that could not begin, or broke off, end like that of a bad night."""
    try:
        yield
    except CheckinsyncError as error:
        if not on_terminal():
            from checkinsync.cli.render.trouble import runbook

            error.add_note(f"help: {runbook(error.exit_code)}")
        raise


@click.command()
@click.option("--stagger", type=duration_of("stagger"), help="Time between two users' starts (2m).")
@click.option(
    "--window",
    type=duration_of("window"),
    help="The last user starts within this time; stagger shrinks (4h).",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Imports at once, at most (4).")
@click.option(
    "--deadline",
    type=duration_of("deadline"),
    help="The run ends after this time, done or not (6h).",
)
@click.option(
    "--max-age",
    type=duration_of("max_age"),
    help="Skip users whose last import is younger, e.g. 20h (off).",
)
@click.option(
    "--engine",
    type=click.Choice(["embedded", "procrastinate"]),
    default="embedded",
    help="Who imports: this process, or the workers (`checkinsync worker`).  [default: embedded]",
)
@click.option("--wait", is_flag=True, help="With workers: wait for the end of the run.")
@click.option("--dry-run", is_flag=True, help="Print who would start when; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
@_with_runbook()
def orchestrate(
    ctx: click.Context,
    /,
    *,
    engine: str,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    **options: timedelta | int | None,
) -> None:
    """The nightly run: import everyone who is due, two minutes apart.

    Without a terminal a good night prints nothing; a bad one prints the run and its cause, the
    users by reason, and what to do. Exit codes: 0 all done, 3 partly, 5 rate limit or quota,
    69 database or Foursquare away, 75 another run is at work.
    """
    with signals_deferred():
        from checkinsync.cli import upkeep
        from checkinsync.cli.after_run import write_files
        from checkinsync.notify.alarms import alarms

    context: Context = ctx.obj
    if dry_run:
        with context.app(**options) as app:
            _print_plan(app, as_json=as_json)
        return
    settings = _settings(context, options)
    if engine == "procrastinate":
        ctx.exit(_hand_over(context, settings, wait=wait, as_json=as_json))
    if wait:
        raise click.UsageError("--wait goes with --engine procrastinate")
    with alarms(settings) as hooks:
        with context.opened(settings) as app:
            watched = on_terminal() and not as_json and context.verbosity >= 0
            with (
                app.shutdown.gracefully(),
                _progress(app, log_is_shown=context.verbosity > 0) if watched else nullcontext(),
            ):
                summary = _run(app, hooks)
            upkeep.after_run(app, summary)
            write_files(app, summary)
            lines = _trouble(summary, pool=app.services.pool, log_file=_log_file(context, app))
        _print(summary, lines, as_json=as_json)
    ctx.exit(summary.exit_code)


def _settings(context: Context, options: Mapping[str, timedelta | int | None]) -> Settings:
    """Return the settings; where they are broken, tell it by those that can be used."""
    from checkinsync.notify.alarms import alarms

    try:
        return context.settings(**options)
    except SettingsError:
        with alarms(context.examined().settings):
            raise


def _run(app: App, hooks: Alarms) -> RunSummary:
    from checkinsync.nightly.run import run

    summary = run(
        app.services,
        options=app.run_options,
        check_stop=app.shutdown.check,
        on_begun=hooks.started,
        wait=app.wait,
    )
    hooks.ended(summary)
    return summary


def _hand_over(context: Context, settings: Settings, *, wait: bool, as_json: bool) -> int:
    """Plan the run for workers; return the exit code: of the run, if it is waited for."""
    from checkinsync import workers
    from checkinsync.cli.worker import closing
    from checkinsync.notify.alarms import alarms

    workers.require()
    from checkinsync.workers import schema
    from checkinsync.workers.shared import SharedRuns

    with alarms(settings) as hooks, context.opened(settings) as app:
        schema.check(app.services.pool)
        runs = SharedRuns(app.services)
        run_id = runs.hand_over(
            options=app.run_options,
            check_stop=app.shutdown.check,
            rid=hooks.rid,
            on_begun=hooks.started,
            wait=app.wait,
        )
        runs.close_if_done(run_id, closing(app))  # where nobody was due
    with context.opened(settings) as app:  # what ends the wait is no news of the run
        runs = SharedRuns(app.services)
        summary = runs.wait(run_id, app.shutdown.sleep) if wait else runs.summary(run_id)
        if summary is None:
            return 0
        lines = _trouble(summary, pool=app.services.pool, log_file=_log_file(context, app))
    _print(summary, lines, as_json=as_json)
    return summary.exit_code


def _progress(app: App, *, log_is_shown: bool) -> AbstractContextManager[None]:
    from checkinsync.cli.progress import run_progress
    from checkinsync.store import users
    from checkinsync.store.pool import transaction

    with transaction(app.services.pool, read_only=True) as conn:
        names = {user.id: str(user) for user in users.connected(conn)}
    return run_progress(names, log_is_shown=log_is_shown)


def _log_file(context: Context, app: App) -> str | None:
    path = context.log_file or app.settings.log_file
    return None if path is None else str(path)


def _trouble(summary: RunSummary, *, pool: Pool, log_file: str | None) -> list[str]:
    """Return the lines about a bad night: one where the mail of the run before said it all.

    A run on a terminal sends no mail, and leaves the next run's as it is.
    """
    from datetime import timedelta

    from checkinsync.cli.render import trouble
    from checkinsync.nightly import queries
    from checkinsync.store.pool import transaction

    if not summary.exit_code:
        return []
    before = None
    if not on_terminal():
        with suppress(DatabaseError), transaction(pool) as conn:
            before = queries.trouble_before(conn, summary, within=timedelta(hours=SAME_DAY))
            queries.set_trouble(conn, summary, trouble.digest(trouble.groups(summary)))
    if before is not None and trouble.is_known(summary, before):
        return [trouble.again(summary, before[0])]
    return trouble.mail(summary, log_file=log_file)


def _print(summary: RunSummary, lines: list[str], *, as_json: bool) -> None:
    """On a terminal trouble comes last; else first: the reader of the output may leave early."""
    import shutil

    from checkinsync.cli.render import orchestrate as render

    if on_terminal() and not as_json:
        width = shutil.get_terminal_size().columns
        click.echo(render.as_table(summary, width=width, colours=has_colours()))
        lines = lines[1:]  # the run itself is the table's last line
    for notice in summary.notices:
        click.echo(f"checkinsync: {notice}", err=True)
    if lines:
        click.echo("checkinsync: " + "\n".join(lines), err=True)
    if as_json:
        say_json(render.run_json(summary))


def _print_plan(app: App, *, as_json: bool) -> None:
    from checkinsync.cli.render import orchestrate as render
    from checkinsync.nightly.plan import plan_run

    plan = plan_run(app.services, options=app.run_options)
    if as_json:
        say_json(render.plan_json(plan))
    else:
        say_lines(render.plan_lines(plan))
