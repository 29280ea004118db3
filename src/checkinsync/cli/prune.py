"""`checkinsync prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context, Duration, listening

if TYPE_CHECKING:
    from datetime import timedelta

    from checkinsync.nightly.prune import Pruned


def _age(text: str) -> timedelta:
    from checkinsync.config.durations import parse_duration

    return parse_duration(text)


@click.command()
@click.option(
    "--runs", type=Duration(_age), default="400d", show_default=True, help="Runs that began before."
)
@click.option(
    "--jobs",
    type=Duration(_age),
    default="90d",
    show_default=True,
    help="Imports that ended before.",
)
@click.option(
    "--quarantine",
    type=Duration(_age),
    help="Also check-ins in quarantine first met before; they are stored nowhere else (off).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
@click.pass_obj
def prune(
    context: Context,
    *,
    runs: timedelta,
    jobs: timedelta,
    quarantine: timedelta | None,
    dry_run: bool,
) -> None:
    """Delete old records of runs and imports; each good night does that by itself.

    Besides runs and imports of these ages: the lists of verifications that were interrupted more
    than 7 days ago. Check-ins, their revisions and what proves that a history is complete are never
    deleted, nor each user's last imports, nor rows of the web application. If interrupted, run it
    again.
    """
    from checkinsync.nightly import prune as records
    from checkinsync.resources import utc_now

    with context.pool() as (_, pool):
        listening()
        ages = records.Ages(runs=runs, jobs=jobs, quarantine=quarantine)
        delete = records.preview if dry_run else records.prune
        done = counted(delete(pool=pool, now=utc_now(), ages=ages))
    click.echo(f"{'would delete' if dry_run else 'deleted'} {done}")


def counted(pruned: Pruned) -> str:
    """`12 runs, 340 imports, …`."""
    from checkinsync.cli.render.table import many

    counts = (
        many(pruned.runs, "run"),
        many(pruned.jobs, "import"),
        f"{many(pruned.quarantine, 'check-in')} in quarantine",
        many(pruned.verifications, "interrupted verification"),
    )
    return ", ".join(counts)
