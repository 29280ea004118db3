"""`checkinsync demo`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context, listening
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = (
    "SELECT name, state, checkins, next_action FROM sync_status(now(), 30);",
    "SELECT extract(year FROM checkin_date), count(*) FROM checkins GROUP BY 1 ORDER BY 1;",
    "SELECT venue_name, count(*) FROM checkins GROUP BY 1 ORDER BY 2 DESC LIMIT 10;",
)


@click.command()
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep the database in DIR, to explore it afterwards.",
)
@click.pass_context
def demo(ctx: click.Context, *, keep: str | None) -> None:
    """Show a whole nightly run against a simulated Foursquare that misbehaves a little.

    Needs nothing but the package with the extra `embedded`: no server, no settings, no network.
    """
    with signals_deferred():
        from pathlib import Path

        from checkinsync.cli import log
        from checkinsync.cli.demo_night import play
        from checkinsync.cli.progress import run_progress
        from checkinsync.cli.render import orchestrate as render_run
        from checkinsync.cli.render import status as render_status
        from checkinsync.cli.render import verify as render_proof
        from checkinsync.cli.status import view

    context: Context = ctx.obj
    style = context.log_format or "text"
    log.configure(verbosity=context.verbosity, style=style, path=context.log_file)
    kept = None if keep is None else Path(keep)
    with _home(kept) as home:
        played = play(home, stop=listening(), say=click.echo, watching=run_progress)
    click.echo(f"\n{render_run.as_table(played.summary)}")
    click.echo(f"\ncheckinsync status:\n\n{render_status.status_text(played.report, view())}")
    click.echo("\ncheckinsync verify all:\n")
    for proof in played.proofs:
        click.echo(render_proof.in_one_line(proof))
    click.echo()
    click.echo(_where(kept))
    if not played.went_as_planned:
        raise click.ClickException("the night did not go as planned; please report this bug")
    click.echo("\nEvery check-in that Foursquare shows is stored, once.")


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to keep, or one that is removed with the demo."""
    import shutil
    import tempfile
    from pathlib import Path

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
        return "The database was removed; `checkinsync demo --keep DIR` keeps it in DIR."
    shell = f"CHECKINSYNC_HOME={keep.absolute()} checkinsync db shell"
    queries = "\n".join(f"  {query}" for query in QUERIES)
    return f"The data are in {keep.absolute()}. Explore them with\n\n  {shell}\n\n{queries}"
