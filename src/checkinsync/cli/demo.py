"""`checkinsync demo`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from checkinsync import demo as play
from checkinsync.cli import log
from checkinsync.cli.context import Door, listening
from checkinsync.cli.progress import run_progress
from checkinsync.cli.render import orchestrate as render_run
from checkinsync.cli.render import status as render_status
from checkinsync.cli.render import verify as render_proof

QUERIES = (
    "SELECT name, state, checkins, next_action FROM sync_status(now(), 30);",
    "SELECT extract(year FROM checkin_date), count(*) FROM checkins GROUP BY 1 ORDER BY 1;",
    "SELECT venue_name, count(*) FROM checkins GROUP BY 1 ORDER BY 2 DESC LIMIT 10;",
)


@click.command()
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the database in DIR, to look around in afterwards.",
)
@click.pass_context
def demo(ctx: click.Context, *, keep: Path | None) -> None:
    """A whole nightly run against a simulated Foursquare that misbehaves a little.

    Needs nothing but the package with the extra `embedded`: no server, no settings, no network.
    """
    door: Door = ctx.obj
    log.configure(verbosity=door.verbosity, style=door.log_format, path=door.log_file)
    with _home(keep) as home:
        night = play.night(home, stop=listening(), say=click.echo, watching=run_progress)
    click.echo(f"\n{render_run.as_table(night.summary)}")
    click.echo(f"\ncheckinsync status:\n\n{render_status.status_text(night.report)}")
    click.echo("\ncheckinsync verify all:\n")
    for proof in night.proofs:
        click.echo(render_proof.in_one_line(proof))
    click.echo()
    click.echo(_where(keep))
    if not night.went_as_planned:
        raise click.ClickException("the night did not go as planned; this is a bug, please report")
    click.echo("\nEvery check-in that Foursquare shows is stored, once.")


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    """The folder to keep, or one that goes with the demo."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise click.UsageError(f"{keep} is not empty; a demo begins in a new folder")
        yield keep.absolute()
        return
    home = Path(tempfile.mkdtemp(prefix="checkinsync-demo-"))
    home.chmod(0o711)  # as root the server runs under another account, which has to pass
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _where(keep: Path | None) -> str:
    if keep is None:
        return "The database is gone again; `checkinsync demo --keep DIR` leaves it in DIR."
    shell = f"CHECKINSYNC_HOME={keep.absolute()} checkinsync db shell"
    queries = "\n".join(f"  {query}" for query in QUERIES)
    return f"The data are in {keep.absolute()}. Look around with\n\n  {shell}\n\n{queries}"
