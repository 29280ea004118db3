"""`checkinsync schedule …`: the lines or the timer that start the nightly run."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from checkinsync.cli.context import Context
from checkinsync.cli.schedule_run import run
from checkinsync.cli.terminal import say_json

if TYPE_CHECKING:
    from checkinsync.config.settings import Examined
    from checkinsync.schedule.cron import Cron
    from checkinsync.schedule.installation import Installation
    from checkinsync.schedule.systemd import Systemd

    Kind = Cron | Systemd

OUTPUTS = ("log_file", "metrics_file", "report_file")
"""Settings that name a file which a run writes."""

CARRIED = frozenset({"home", "log_file"})
"""Settings that the schedule hands to the nightly run."""


def kinds(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which schedule is meant."""

    from checkinsync.cli.night_account import ACCOUNT

    for name, what in (
        ("user", "A timer of your own systemd."),
        ("systemd", "A timer of the machine's systemd; as root."),
        ("cron", "Lines in the crontab."),
    ):
        command = click.option(f"--{name}", "kind", flag_value=name, help=what)(command)
    about = f"As root: the account that it runs under.  [default: {ACCOUNT}, if it exists]"
    return click.option("--account", metavar="NAME", help=about)(command)


@click.group()
def schedule() -> None:
    """Start the nightly run by cron or by a systemd timer, for this installation."""


schedule.add_command(run)


@schedule.command()
@kinds
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(context: Context, *, kind: str | None, account: str | None, as_json: bool) -> None:
    """Print the schedule for this installation, and whether it is installed."""

    from checkinsync.cli.render import schedule as render

    chosen, others, notices = _chosen(context, kind, account)
    if as_json:
        say_json(render.parts_json(chosen, others, notices))
    else:
        click.echo(render.parts_text(chosen, notices))


@schedule.command()
@kinds
@click.pass_obj
def install(context: Context, *, kind: str | None, account: str | None) -> None:
    """Install the schedule; run again, it brings it up to date.

    Another kind of schedule that was installed before is removed. Other lines of a crontab and
    other units stay as they are.
    """
    chosen, others, notices = _chosen(context, kind, account)
    if kind == "systemd" and os.geteuid() != 0:
        raise click.UsageError("--systemd is for root; your own timer: --user")
    changed = [*chosen.install()]
    for other in others:
        changed += other.remove()
    for line in changed or ["nothing to change: the schedule is installed"]:
        click.echo(line)
    for notice in (*notices, *chosen.notices()):
        click.echo(f"note: {notice}")


@schedule.command()
@kinds
@click.pass_obj
def remove(context: Context, *, kind: str | None, account: str | None) -> None:
    """Remove what `install` wrote, and nothing else."""
    chosen, others, _ = _chosen(context, kind, account)
    removed = [line for each in (chosen, *([] if kind else others)) for line in each.remove()]
    for line in removed or ["nothing to remove: no schedule is installed"]:
        click.echo(line)


def _chosen(
    context: Context, kind: str | None, account: str | None
) -> tuple[Kind, list[Kind], list[str]]:
    """Return the schedule that is meant, the other ones there may be, and notices."""

    from checkinsync.cli.night_account import ACCOUNT, night_account
    from checkinsync.schedule.cron import Cron
    from checkinsync.schedule.systemd import Systemd

    examined = context.examined()
    installation = _installation(context, examined, night_account(account))
    known: dict[str, Kind] = {"cron": Cron(installation)}
    if os.geteuid() == 0 or kind == "systemd":
        known["systemd"] = Systemd(installation)
    if os.geteuid() != 0 or kind == "user":
        known["user"] = Systemd(installation, _own_units(), own=True)
    chosen = known.pop(kind or usual_kind())
    if chosen.name == "systemd" and installation.account == "root":
        raise click.UsageError(
            "the machine's timer runs it under an account of its own: make one (`useradd --system "
            f"{ACCOUNT}`) or name one by --account; or use --cron"
        )
    return chosen, [*known.values()], [*_not_seen(examined, context)]


def usual_kind() -> str:
    """Return the kind that this machine has; an ordinary user's timer needs lingering."""
    from checkinsync.schedule import systemd

    if os.geteuid() == 0:
        return "systemd" if systemd.is_booted() else "cron"
    return "cron" if shutil.which("crontab") or not systemd.is_booted() else "user"


def _own_units() -> Path:
    """Return the folder of units of this user's own."""

    from checkinsync.config.file import own_folder

    own = own_folder("config")
    if own is None:
        raise click.UsageError("--user needs a home folder")
    return own.parent / "systemd" / "user"


def _installation(context: Context, examined: Examined, account: pwd.struct_passwd) -> Installation:
    from checkinsync.config.file import own_folder
    from checkinsync.schedule.installation import VAR_LOG, Installation

    settings, named = examined.settings, context.log_file or examined.settings.log_file
    root = os.geteuid() == 0
    logs = VAR_LOG if root else own_folder("log") or VAR_LOG
    environment = {"CHECKINSYNC_CONFIG": str(examined.config)} if examined.config else {}
    origin, another = examined.origins.get("home"), account.pw_uid != os.geteuid()
    if origin == "CHECKINSYNC_HOME" or (origin is None and another):
        environment["CHECKINSYNC_HOME"] = str(settings.home)
    written = [getattr(settings, name, None) for name in OUTPUTS]
    return Installation(
        command=_program(),
        account=account.pw_name,
        group=grp.getgrgid(account.pw_gid).gr_name,
        log_file=Path(named).absolute() if named else logs / "checkinsync.log",
        environment=environment,
        writes=(settings.home, *(path.parent for path in written if path)),
        mail_to="root" if root and account.pw_uid else None,
        minute=time.localtime().tm_gmtoff // 60 % 60,
    )


def _program() -> tuple[str, ...]:
    """Return the command that starts this very installation."""
    script = Path(sysconfig.get_path("scripts")) / "checkinsync"
    return (str(script),) if script.exists() else (sys.executable, "-m", "checkinsync")


def _not_seen(examined: Examined, context: Context) -> Iterator[str]:
    """Yield a notice about settings that only this shell has."""
    here = [
        origin.partition(" ")[0]
        for name, origin in examined.origins.items()
        if name not in CARRIED and origin.partition(" ")[0] in os.environ
    ]
    if here:
        file = examined.config or "the settings file (`checkinsync config init` makes one)"
        yield (
            f"{', '.join(here)}: set in this shell only, so the nightly run does not see it; put "
            f"it into {file}"
        )
