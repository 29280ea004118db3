"""The application and checkinsync on one database at the same time: neither blocks the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stories import QUIET, telling
from support.webapp import database
from support.webapp.database import WebApp
from support.webapp.syncing import Application, Look

ROUNDS = 5
ORDER = ("pending", "running", "completed")


@pytest.mark.parametrize(
    "app", [WebApp(), WebApp(unique_checkins=False), WebApp(location=True)], ids=str
)
def test_imports_of_both_sides_go_on_at_once(empty_url: str, tmp_path: Path, app: WebApp) -> None:
    with telling(tmp_path, empty_url) as story:
        database.build(story.url, app)
        story.conn.execute("TRUNCATE users RESTART IDENTITY CASCADE")
        people = story.people(120, 300, 40)
        assert story.run("migrate").code == 0
        application = Application(story, people)

        with application.at_work():
            for _ in range(ROUNDS):
                night = story.start("orchestrate")
                by_hand = [story.start("import-user", str(p.id)) for p in people[1:]]
                assert night.ended().code in {0, 75}
                assert {one.ended().code for one in by_hand} <= {0, 75}
            story.until(lambda: all(application.syncs[p.id] >= 3 for p in people))
            story.until(lambda: ours_have_finished(story, people))

        assert application.errors == []
        assert story.rows(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ) == [(0,)]
        assert story.run("orchestrate") == QUIET
        assert story.complete(*people)
        assert story.rows("SELECT FROM import_jobs WHERE status <> 'completed'") == []
        for job, looks in application.looks.items():
            check_progress(job, looks)


def ours_have_finished(story, people) -> bool:
    """Return True if we have imported all users; try the others, unless the application does."""
    done = story.rows(
        """
        SELECT DISTINCT user_id FROM import_jobs
         WHERE lease_token IS NOT NULL AND status = 'completed'
        """
    )
    for person in people:
        if (person.id,) not in done:
            story.run("import-user", str(person.id))
    return len(done) == len(people)


def check_progress(job: int, looks: list[Look]) -> None:
    """Assert that what a page that polls this job has shown makes sense."""
    steps = [ORDER.index(status) for status, *_ in looks]
    imported = [count or 0 for _, count, _, _ in looks]
    batches = [batch or 0 for *_, batch in looks]
    assert steps == sorted(steps), (job, looks)
    assert imported == sorted(imported), (job, looks)
    assert batches == sorted(batches), (job, looks)
    assert all(expected is None or (count or 0) <= expected for _, count, expected, _ in looks)
