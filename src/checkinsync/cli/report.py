"""`checkinsync report`."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import click

from checkinsync.cli.context import Context
from checkinsync.cli.terminal import stdout_at_once

PRIVATE = 0o600
"""The mode of a new page: it names users."""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    default=Path("checkinsync-report.html"),
    show_default=True,
    help="The page's file, replaced if it is there; `-` is standard output.",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="The first night to show, e.g. 2026-01-01 (30 nights).",
)
@click.pass_obj
def report(context: Context, *, output: Path, since: datetime | None) -> None:
    """Write a page for the operator: the last nights, and how the users are."""
    from checkinsync.report.page import page
    from checkinsync.resources import utc_now

    first = None if since is None else since.replace(tzinfo=UTC).date()
    now = utc_now()
    if first is not None and first > now.date():
        raise click.UsageError(f"--since {first} lies in the future")
    with context.pool() as (settings, pool):
        text = page(pool=pool, now=now, active_days=settings.active_days, since=first)
    if output == Path("-"):
        with stdout_at_once() as file:
            file.write(text.encode())
        return
    save(output, text)
    click.echo(f"wrote {output}")


def save(path: Path, text: str) -> None:
    """Put the page there, whole; one that is there keeps its mode. Raises as `draft_of` does."""
    from checkinsync.cli.atomic_file import draft_of

    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else PRIVATE
    with draft_of(path, replace=True) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(mode)
