"""The drill in a short form (`make drill` is the long one), and that it detects violations."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from checkinsync.store import lease_owner
from checkinsync.workers import schema
from drill import script, seams
from drill.crew import CrewPlayer
from drill.database import open_database
from drill.observe import Look
from drill.play import Played
from drill.world import NIGHTS, World

TESTS = Path(__file__).parent.parent
SEED = 9
SHORT = ("--seed", "1", "--nights", "40", "--storm", "15", "--calm", "3", "--jobs", "2")


@pytest.mark.long
def test_two_worlds_stand_a_short_drill():
    drill = subprocess.run(
        [sys.executable, "-m", "drill", *SHORT],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )

    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert drill.stdout.count("all well") == 2


def test_every_place_where_a_process_is_struck_is_there():
    seams.check()


ONE = """(SELECT id FROM checkins WHERE user_id = {user} AND foursquare_id IS NOT NULL
           ORDER BY checkin_date DESC LIMIT 1)"""
HARM = {
    f"DELETE FROM checkins WHERE id = {ONE}": {"lost"},
    f"""
    INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
    SELECT user_id, venue_id, venue_name, checkin_date + interval '1 microsecond'
      FROM checkins WHERE id = {ONE}
    """: {"doubled"},
    "UPDATE import_leases SET owner = '{me}', expires_at = now() + '9 minutes'": {"blocked"},
    "UPDATE sync_state SET last_checked_at = '2020-01-01'": {"blocked", "exit code"},
    "UPDATE import_jobs SET status = 'running'": {"left open"},
    "UPDATE sync_runs SET outcome = 'running'": {"left open"},
    "UPDATE sync_state SET reason = '{token}'": {"told"},
    f"UPDATE checkins SET deleted_at = now() WHERE id = {ONE}": {"lost", "wrongly gone"},
}
"""Statements executed after a night, and the kinds of violations that must be reported."""


class Tampered(World):
    """A world whose tables are damaged after its nights."""

    statement = "SELECT 1"

    def harmed_by(self, statement: str) -> set[str]:
        """Play a calm night, execute the statement, and return the kinds of violations found."""
        self.statement = statement
        self.report.violations.clear()
        self.night(script.Night(self.report.nights + 1, calm=True))
        self.database.do("UPDATE import_leases SET expires_at = '-infinity'")
        return {violation.kind for violation in self.report.violations}

    def look_at(self, played: Played, at: datetime, before: Look) -> Look:
        person = self.foursquare.people[0]
        names = {"user": person.id, "me": lease_owner.me(), "token": person.token}
        self.database.do(self.statement.format(**names))
        return super().look_at(played, at, before)


def test_a_drill_sees_what_was_done_behind_its_back(tmp_path):
    with open_database() as database:
        world = Tampered(SEED, database, tmp_path, storm=0, calm=0)
        with world.foursquare.server:
            world.populate()
            assert world.harmed_by("SELECT 1") == set()

            found = {statement: world.harmed_by(statement) for statement in HARM}
        kept = {path.name for path in tmp_path.iterdir()}

    assert found == HARM
    assert {f"night-{number}.dump" for number in range(2, 10)} <= kept
    assert "night-1.dump" not in kept
    assert {name.partition("-orchestrate")[2] for name in kept} == {"", ".log", ".out"}
    nights = (tmp_path / NIGHTS).read_text().splitlines()
    assert sum(line.startswith("orchestrate --stagger 0s") for line in nights) == 9
    assert [line.partition(":")[0] for line in nights if "rows vanished" in line] == ["lost"]


def test_a_night_of_workers_outlives_one_that_is_killed(tmp_path):
    with open_database() as database:
        schema.up(database.url, sleep=time.sleep)
        world = World(SEED, database, tmp_path, storm=0, calm=0, plays=CrewPlayer)
        with world.foursquare.server:
            world.populate()
            world.night(script.Night(1, strike=script.Strike("kill", "a page is saved")))

    assert world.report.violations == []
    assert world.report.kinds["kill"] == 1
    assert world.player.hits.read_text() == "a page is saved\n"
