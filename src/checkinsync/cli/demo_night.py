"""The night of `checkinsync demo`: five users, some of whom are in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from checkinsync.app import App, open_app
from checkinsync.cli.context import shield
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
    home: Path,
    *,
    stop: Shutdown,
    say: Say,
    watching: Callable[[dict[int, str]], AbstractContextManager[None]],
) -> Night:
    """Run the demo, with data below `home`; `watching`, given the users' names by id, is entered
    during the run."""
    with Server(people.demo_world()) as foursquare, _opened(home, foursquare, stop, say) as app:
        members = [_member(app, people.demo_token(name)) for name, _, _ in people.PEOPLE]
        say(f"{len(members)} users have connected: {', '.join(map(str, members))}")
        _arrange(app, foursquare, members, say)
        say("02:00, and the run starts …")
        names = {member.id: str(member) for member in members}
        with watching(names), app.shutdown.gracefully():
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
