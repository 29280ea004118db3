"""The steps of docs/moving-in.md: a rehearsal on a copy, the switch, and the way back."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checkinsync.embedded import Running
from support.database import Databases
from support.stories import PASSWORD, QUIET, Story, telling
from support.webapp import years as webapp_years
from support.webapp.database import WebApp
from support.webapp.syncing import Application
from support.webapp.years import Years

PAGE = Path(__file__).parents[2] / "docs" / "moving-in.md"


@dataclass
class Moving:
    """An application with three users, and a copy of its database."""

    story: Story
    everyone: list[Years]
    copy: str

    def on_copy(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.copy) as conn:
            return conn.execute(query.encode()).fetchall()

    def program(self, *words: str) -> Any:
        """Run a command with the settings of the rehearsal."""
        return self.story.run(*words, database_url=f"{self.copy}&password={PASSWORD}")

    def everything(self) -> list[tuple[Any, ...]]:
        """Return all rows of the application's own database."""
        tables = [t for (t,) in self.story.rows("SELECT tablename FROM pg_tables "
                  "WHERE schemaname = 'public' ORDER BY 1")]  # fmt: skip
        return [(t, *row) for t in tables for row in self.story.rows(f"SELECT * FROM {t}")]


@pytest.fixture
def moving(
    empty_url: str, databases: Databases, postgres: Running, tmp_path: Path
) -> Iterator[Moving]:
    with telling(tmp_path, empty_url) as story, databases.lent("template0") as copy:
        everyone = webapp_years.lived(story, WebApp(), users=3, checkins=200)
        story.conn.execute("UPDATE users SET last_sync_at = now() AT TIME ZONE 'UTC'")
        dump = tmp_path / "application.dump"
        _run(postgres, "pg_dump", "--format=custom", f"--file={dump}", empty_url)
        _run(postgres, "pg_restore", "--no-owner", f"--dbname={copy}", str(dump))
        yield Moving(story, everyone, copy)


def _run(postgres: Running, program: str, *arguments: str) -> None:
    subprocess.run([postgres.bindir / program, *arguments], check=True, capture_output=True)


def rehearse(moving: Moving) -> None:
    """Follow the page up to the first night."""
    assert moving.program("migrate", "--plan").code == 0
    assert moving.program("migrate").code == 0
    assert moving.program("migrate", "--check").code == 0
    assert moving.program("orchestrate") == QUIET
    assert moving.program("status", "--max-age", "26h").code == 0


def question(title: str) -> str:
    """Return the SQL of the page below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    [query] = re.findall(r"^ *```sql\n(.*?)^ *```", section, re.M | re.S)
    return str(query)


def test_the_rehearsal_tells_what_was_lost_and_leaves_the_application_alone(
    moving: Moving,
) -> None:
    before = moving.everything()

    rehearse(moving)

    assert moving.on_copy(question("The rehearsal")) == [
        (years.person.id, years.person.name, len(years.kept), len(years.lost), len(years.gone))
        for years in moving.everyone
    ]
    assert moving.everything() == before


def test_the_switch_keeps_every_row_and_the_way_back_leaves_no_gap(moving: Moving) -> None:
    story, people = moving.story, [years.person for years in moving.everyone]
    assert story.run("migrate").code == 0
    assert story.run("orchestrate") == QUIET
    for years in moving.everyone:
        webapp_years.check(story, years)
    for years in moving.everyone:
        story.conn.execute("DELETE FROM checkins WHERE id = ANY (%s)", [list(years.gone)])

    application = Application(story, people)
    with application.at_work():
        story.until(lambda: all(application.syncs[person.id] >= 2 for person in people))

    assert application.errors == []
    seen = {(venue, at) for venue, at in story.rows("SELECT venue_id, checkin_date FROM checkins")}
    assert len(seen) == story.rows("SELECT count(*) FROM checkins")[0][0]
    assert not story.complete(*people), "the old job stores no ids"

    for person in people:
        assert story.run("import-user", str(person.id), "--full").code == 0
    assert story.complete(*people)


def test_verify_lists_what_only_the_application_has(moving: Moving) -> None:
    rehearse(moving)

    told = moving.program("verify", "all", "--json")

    numbers = set(map(int, re.findall(r"\b\d+\b", json.dumps(json.loads(told.out)))))
    assert {row for years in moving.everyone for row in years.gone} <= numbers
    text = moving.program("verify", "all").out
    assert all(re.search(rf"\b{row}\b", text) for row in moving.everyone[0].gone)
