"""`checkinsync migrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context, listening
from checkinsync.cli.terminal import end_with, say_json
from checkinsync.errors import SchemaBehind
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkinsync.migrations.files import MigrationStatus
    from checkinsync.migrations.migrate import Plan


QUEUE = "checkinsync_queue"
"""The schema of the queue's tables."""

QUEUE_BEHIND = "the queue's tables are not up to date: run `checkinsync migrate`"


@click.command()
@click.option(
    "--plan", is_flag=True, help="Print what is there, what is pending and its SQL; write nothing."
)
@click.option("--status", is_flag=True, help="List each file: applied when, pending, changed.")
@click.option("--check", is_flag=True, help="Exit with code 6 when something is pending.")
@click.option(
    "--baseline",
    type=click.IntRange(min=1),
    metavar="NNN",
    help="Record the files up to NNN as applied, on a database that has what they add.",
)
@click.option("--json", "as_json", is_flag=True, help="With --plan or --status: as JSON.")
@click.pass_obj
def migrate(
    context: Context, *, plan: bool, status: bool, check: bool, baseline: int | None, as_json: bool
) -> None:
    """Bring the database's schema up to date; run it at each deploy.

    Works on an empty database and on the web application's own, beside its readers and writers.
    Uses CHECKINSYNC_MIGRATE_URL where the usual address goes through a pooler.
    """
    with signals_deferred():
        from checkinsync.cli.render import migrate as render
        from checkinsync.migrations import migrate as migrations
        from checkinsync.resources import available_keyring, migration_url

    if plan + status + check + (baseline is not None) > 1:
        raise click.UsageError("--plan, --status, --check and --baseline exclude each other")
    if as_json and not (plan or status):
        raise click.UsageError("--json goes with --plan and --status")
    settings = context.settings()
    stop = listening()
    with migration_url(settings) as url:
        if plan:
            keyring = available_keyring(settings)
            can_decrypt = keyring.can_decrypt if keyring else None
            _show(migrations.plan(url, can_decrypt=can_decrypt), as_json=as_json)
            _tell_queue(url, as_json=as_json)
        elif status:
            _list(migrations.status(url), as_json=as_json)
            _tell_queue(url, as_json=as_json)
        elif check:
            migrations.check(url)
            if _queue_pending(url):
                raise SchemaBehind(QUEUE_BEHIND)
            click.echo("the schema is up to date")
        elif baseline is not None:
            click.echo(render.applied(migrations.baseline(url, baseline, sleep=stop.sleep)))
        else:
            click.echo(render.applied(migrations.up(url, sleep=stop.sleep)))
            _make_queue(url, sleep=stop.sleep)


def _queue_pending(url: str) -> list[str]:
    """Return what the queue of workers lacks; nothing without the extra."""
    from checkinsync import workers

    if not workers.installed():
        return []
    from checkinsync.workers import schema

    return schema.pending(url)


def _tell_queue(url: str, *, as_json: bool) -> None:
    for name in () if as_json else _queue_pending(url):
        click.echo(f"-- pending: Procrastinate's {name}, in the schema {QUEUE}")


def _make_queue(url: str, *, sleep: Callable[[float], None]) -> None:
    if _queue_pending(url):
        from checkinsync.workers import schema

        for name in schema.up(url, sleep=sleep):
            click.echo(f"applied Procrastinate's {name} in the schema {QUEUE}")


def _list(standings: list[MigrationStatus], *, as_json: bool) -> None:
    from checkinsync.cli.render import migrate as render

    if as_json:
        say_json(render.status_json(standings))
    else:
        click.echo(render.status(standings))


def _show(plan: Plan, *, as_json: bool) -> None:
    """Print the plan, and exit as `migrate` would."""
    from checkinsync.cli.render import migrate as render
    from checkinsync.migrations.refusals import refused

    if as_json:
        say_json(render.plan_json(plan))
    else:
        click.echo(render.plan(plan))
    if plan.refusals:
        end_with(refused(plan.refusals))
