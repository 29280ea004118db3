"""A whole night before your eyes: private database, simulated Foursquare, five users, one run.

Puts together what a run needs, as `app` does; the only room that knows both the house and the
simulator next door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from checkinsync.app import App, open_app
from checkinsync.config.settings import Settings
from checkinsync.migrations import migrate
from checkinsync.model.checkin import User
from checkinsync.nightly import status
from checkinsync.resources import embedded_database
from checkinsync.shutdown import Stop
from checkinsync.simulator import demo as people
from checkinsync.simulator.faults import Fault
from checkinsync.simulator.server import Server
from checkinsync.store.pool import transaction
from checkinsync.sync.outcome import RunSummary
from checkinsync.users import accounts
from checkinsync.verify.result import Proof, Unfinished

CHECKINS = "users/self/checkins"
RESET = 4.0
"""Seconds until the briefly rate-limited user may go on."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """What came of it."""

    summary: RunSummary
    report: status.Report
    proofs: tuple[Proof | Unfinished, ...]
    """What Foursquare says to it, id by id."""
    went_as_planned: bool
    """One token was revoked on purpose; everything else is stored, once."""


def settings_for(home: Path, api_url: str) -> Settings:
    """A stagger that one can watch; everything else as it is at night."""
    return Settings(
        home=home,
        api_url=api_url,
        stagger=timedelta(seconds=1.5),
        retry_delay=timedelta(seconds=2),
        disposable=True,
    )


def night(
    home: Path, *, stop: Stop, say: Say, watching: Callable[[], AbstractContextManager[None]]
) -> Night:
    """Play it, with data below `home`; `watching` is entered while the run goes on."""
    with Server(people.demo_world()) as foursquare, _opened(home, foursquare, stop, say) as app:
        members = [_member(app, people.demo_token(name)) for name, _, _ in people.PEOPLE]
        say(f"{len(members)} users have connected: {', '.join(map(str, members))}")
        _arrange(app, foursquare, members, say)
        say("02:00, and the run starts …")
        with watching(), app.stop.at_good_moments():
            summary = app.orchestrate()
        report = status.report(pool=app.pool, now=app.now(), active_days=app.settings.active_days)
        proofs = tuple(_proved(app, member) for member in members)
        planned = _as_planned(app, foursquare, members, summary)
        return Night(summary, report, proofs, planned)


@contextmanager
def _opened(home: Path, foursquare: Server, stop: Stop, say: Say) -> Iterator[App]:
    settings = settings_for(home, foursquare.url)
    with embedded_database(settings) as running:
        say(f"a PostgreSQL of its own runs on a socket in {running.socket_dir}")
        applied = migrate.up(running.url)
        say(f"its schema is up to date ({len(applied)} migrations applied)")
        with open_app(settings, stop) as app:
            yield app


def _member(app: App, token: str) -> User:
    """The user of a token, asked for and added."""
    profile = accounts.who_is(token, foursquare=app.foursquare)
    added = accounts.add(profile, token, pool=app.pool, vault=app.vault, now=app.now())
    return app.user(str(added.id))


def _proved(app: App, member: User) -> Proof | Unfinished:
    return app.verify(member, repair=False, accept_deletions=False, wait=False)


def _arrange(app: App, foursquare: Server, members: list[User], say: Say) -> None:
    """The little troubles of the night."""
    ada, ben, chloe, emi, hiro = (people.demo_token(name) for name, _, _ in people.PEOPLE)
    app.import_user(members[2])
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
    say("Foursquare will stumble: a 500, cut JSON, a reset connection, an HTML page, a rate limit")


def _as_planned(app: App, foursquare: Server, members: list[User], summary: RunSummary) -> bool:
    """Whether each check-in that Foursquare shows is stored once, Emi's excepted."""
    if (summary.synced, summary.failed) != (len(members) - 1, 1):
        return False
    with transaction(app.pool) as conn:
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
