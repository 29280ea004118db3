"""`checkinsync demo`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from checkinsync.app import App, open_app
from checkinsync.cli import log
from checkinsync.cli.context import Context, listening, shield
from checkinsync.cli.progress import run_progress
from checkinsync.cli.render import orchestrate as render_run
from checkinsync.cli.render import status as render_status
from checkinsync.cli.render import verify as render_proof
from checkinsync.cli.status import view
from checkinsync.config.settings import Settings
from checkinsync.migrations import migrate
from checkinsync.model.user import User
from checkinsync.nightly import status
from checkinsync.nightly.run import run
from checkinsync.nightly.summary import RunSummary
from checkinsync.resources import embedded_database
from checkinsync.shutdown import Shutdown
from checkinsync.simulator import demo as people
from checkinsync.simulator.faults import Fault
from checkinsync.simulator.server import Server
from checkinsync.store.pool import transaction
from checkinsync.sync.import_user import import_user
from checkinsync.sync.scope import Nightly
from checkinsync.sync.session import Hooks
from checkinsync.users import accounts
from checkinsync.verify.result import Unfinished, VerificationResult
from checkinsync.verify.verifier import verify

CHECKINS = "users/self/checkins"

RESET = 4.0
"""Seconds until the briefly rate-limited user may go on."""

Say = Callable[[str], None]

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
    help="Keep the database in DIR, to explore it afterwards.",
)
@click.pass_context
def demo(ctx: click.Context, *, keep: Path | None) -> None:
    """Show a whole nightly run against a simulated Foursquare that misbehaves a little.

    Needs nothing but the package with the extra `embedded`: no server, no settings, no network.
    """
    context: Context = ctx.obj
    style = context.log_format or "text"
    log.configure(verbosity=context.verbosity, style=style, path=context.log_file)
    with _home(keep) as home:
        played = play(home, stop=listening(), say=click.echo, watching=run_progress)
    click.echo(f"\n{render_run.as_table(played.summary)}")
    click.echo(f"\ncheckinsync status:\n\n{render_status.status_text(played.report, view())}")
    click.echo("\ncheckinsync verify all:\n")
    for proof in played.proofs:
        click.echo(render_proof.in_one_line(proof))
    click.echo()
    click.echo(_where(keep))
    if not played.went_as_planned:
        raise click.ClickException("the night did not go as planned; please report this bug")
    click.echo("\nEvery check-in that Foursquare shows is stored, once.")


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to keep, or one that is removed with the demo."""
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


@dataclass(frozen=True, slots=True)
class Night:
    """The result of the demo."""

    summary: RunSummary
    report: status.Report
    proofs: tuple[VerificationResult | Unfinished, ...]
    """The comparison with Foursquare, id by id."""
    went_as_planned: bool
    """One token was revoked on purpose; everything else is stored, once."""


def settings_for(home: Path, api_url: str) -> Settings:
    """Return settings with a stagger short enough to watch; all else is as it is at night."""
    return Settings(
        home=home,
        api_url=api_url,
        stagger=timedelta(seconds=1.5),
        retry_delay=timedelta(seconds=2),
        disposable=True,
        may_make_database=True,
    )


def play(
    home: Path, *, stop: Shutdown, say: Say, watching: Callable[[], AbstractContextManager[None]]
) -> Night:
    """Run the demo, with data below `home`; `watching` is entered during the run."""
    with Server(people.demo_world()) as foursquare, _opened(home, foursquare, stop, say) as app:
        members = [_member(app, people.demo_token(name)) for name, _, _ in people.PEOPLE]
        say(f"{len(members)} users have connected: {', '.join(map(str, members))}")
        _arrange(app, foursquare, members, say)
        say("02:00, and the run starts …")
        with watching(), app.shutdown.gracefully():
            summary = run(app.services, options=app.run_options, check_stop=app.shutdown.check)
        report = status.report(
            pool=app.services.pool, now=app.services.now(), active_days=app.settings.active_days
        )
        proofs = tuple(_proved(app, member) for member in members)
        planned = _as_planned(app, foursquare, members, summary)
        return Night(summary, report, proofs, planned)


@contextmanager
def _opened(home: Path, foursquare: Server, stop: Shutdown, say: Say) -> Iterator[App]:
    settings = settings_for(home, foursquare.url)
    shield(settings)
    with embedded_database(settings) as running:
        say(f"a private PostgreSQL is running on a socket in {running.socket_dir}")
        applied = migrate.up(running.url)
        say(f"its schema is up to date ({len(applied)} migrations applied)")
        with open_app(settings, stop) as app:
            yield app


def _member(app: App, token: str) -> User:
    """The user of a token, asked for and added."""
    services = app.services
    profile = accounts.who_is(token, foursquare=services.foursquare)
    added = accounts.add(
        profile, token, pool=services.pool, keyring=services.keyring, now=services.now()
    )
    return accounts.find(str(added.id), pool=services.pool)


def _proved(app: App, member: User) -> VerificationResult | Unfinished:
    return verify(member, services=app.services, hooks=Hooks())


def _arrange(app: App, foursquare: Server, members: list[User], say: Say) -> None:
    """Arrange the small troubles of the night."""
    ada, ben, chloe, emi, hiro = (people.demo_token(name) for name, _, _ in people.PEOPLE)
    import_user(members[2], services=app.services, scope=Nightly(app.settings.overlap))
    say(f"{members[2]} was imported last night and is caught up")
    foursquare.revoke(emi)
    say(f"{members[3]} has revoked the token at Foursquare")
    foursquare.fail(
        Fault("rate_limit_exceeded", token=ben, path=CHECKINS, nth=3, seconds=RESET),
        Fault("server_error", token=ada, path=CHECKINS, nth=4),
        Fault("cut_json", token=ada, path=CHECKINS, nth=8),
        Fault("reset", token=hiro, path=CHECKINS, nth=1),
        Fault("html", token=chloe, path=CHECKINS, nth=1),
    )
    say(
        "Foursquare will misbehave: a 500, cut JSON, a reset connection, an HTML page, a rate limit"
    )


def _as_planned(app: App, foursquare: Server, members: list[User], summary: RunSummary) -> bool:
    """Return True if each check-in that Foursquare shows is stored once, Emi's excepted."""
    if (summary.synced, summary.failed) != (len(members) - 1, 1):
        return False
    with transaction(app.services.pool) as conn:
        stored = conn.execute(
            """
            SELECT foursquare_user_id, array_agg(foursquare_id ORDER BY foursquare_id)
              FROM checkins JOIN users ON users.id = user_id GROUP BY 1
            """
        ).fetchall()
    truth = {
        account.user_id: sorted(account.ids)
        for account in foursquare.world.accounts.values()
        if account.first_name != people.PEOPLE[3][0]
    }
    return dict(stored) == truth
