"""Years of the application's imports, and of changes at Foursquare: the data we start from."""

from __future__ import annotations

import time
from dataclasses import dataclass

from support.stories import Person, Story
from support.webapp import database, importing
from support.webapp.database import WebApp

LOST, GONE, TWICE = 10, 25, 8
"""Of so many check-ins one was never stored, one was deleted at Foursquare later, and one was
stored twice (if no constraint forbade it)."""


@dataclass(frozen=True)
class Years:
    """A user's rows, and what must be true of them after the first import."""

    person: Person
    kept: dict[str, int]
    """The application's row, by the id of its check-in, which still exists."""
    gone: frozenset[int]
    """Rows whose check-ins were deleted at Foursquare: only the application has them."""
    lost: frozenset[str]
    """Check-ins that the application never stored."""


def lived(story: Story, app: WebApp, *, users: int, checkins: int) -> list[Years]:
    """Build the application's database with imports of years, and changes at Foursquare since."""
    database.build(story.url, app)
    story.conn.execute("TRUNCATE users RESTART IDENTITY CASCADE")
    return [_of_user(story, app, number, checkins) for number in range(users)]


def _of_user(story: Story, app: WebApp, number: int, checkins: int) -> Years:
    newest = int(time.time()) - 86_400 * (1 + number)
    person = story.person(f"Person {number}", checkins, newest=newest)
    account = story.simulator.world.accounts[person.token]
    stored = [item for n, item in enumerate(account.items) if n % LOST != 3]
    importing.store(story.conn, person.id, stored, with_photos=app.photos)
    ids = {
        (venue, moment): row
        for row, venue, moment in story.rows(
            "SELECT id, venue_id, checkin_date FROM checkins WHERE user_id = %s", person.id
        )
    }
    rows = {i["id"]: ids[i["venue"]["id"], importing.moment(i)] for i in stored}
    if not app.unique_checkins:
        again = [item for n, item in enumerate(stored) if n % TWICE == 5]
        importing.store(story.conn, person.id, again, with_photos=False)
    gone = [item["id"] for n, item in enumerate(stored) if n % GONE == 7]
    with story.simulator.lock:
        doomed = {entry.id: entry for entry in account.entries}
        account.entries[:] = [e for key, e in doomed.items() if key not in set(gone)]
        account.add()
    lost = frozenset(account.ids) - rows.keys()
    return Years(
        person,
        {key: row for key, row in rows.items() if key not in set(gone)},
        frozenset(
            row for (row,) in story.rows(
                """
                SELECT c.id FROM checkins AS c JOIN checkins AS known
                    ON known.user_id = c.user_id AND known.venue_id = c.venue_id
                   AND known.checkin_date = c.checkin_date
                 WHERE known.id = ANY (%s)
                """,
                [rows[key] for key in gone],
            )
        ),
        lost,
    )  # fmt: skip


def check(story: Story, years: Years) -> None:
    """Assert that each row that still exists has its id, and that no other row was changed."""
    person = years.person
    now = story.rows("SELECT id, foursquare_id FROM checkins WHERE user_id = %s", person.id)
    with_id = {key: row for row, key in now if key is not None}
    assert sorted(key for _, key in now if key is not None) == story.shown(person)
    assert years.kept.items() <= with_id.items(), "a row of the application was not taken over"
    assert {row for row, key in now if key is None} == years.gone
    assert years.lost <= with_id.keys()
