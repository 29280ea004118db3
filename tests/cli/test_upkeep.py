"""After a run: a dump of the embedded database, and old records deleted; neither spoils a night."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.stories import QUIET, Story

OLD = """
    INSERT INTO sync_runs (started_at, host, outcome) VALUES (now() - '500 d'::interval, 'x', 'ok')
    """
RUNS = "SELECT count(*) FROM sync_runs WHERE host = 'x'"


@pytest.fixture
def private(own: Story) -> Story:
    """A story on the embedded database, with one user who is imported and none else."""
    assert own.run("users", "remove", "1", "--yes").code == 0
    assert own.run("users", "add", given=own.account("Ada", 3)).code == 0
    return own


def dumps(story: Story) -> list[str]:
    folder = Path(story.environ["CHECKINSYNC_HOME"]) / "dumps"
    return sorted(path.name for path in folder.iterdir())


def test_each_night_leaves_a_dump_that_can_be_restored_and_the_oldest_go(private: Story):
    folder = Path(private.environ["CHECKINSYNC_HOME"]) / "dumps"
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"checkinsync-2020-01-0{day}.dump").write_text("old")
    (folder / "mine.dump").write_text("made by hand")
    today = f"checkinsync-{datetime.now(UTC):%Y-%m-%d}.dump"

    assert private.run("orchestrate") == QUIET

    days = [f"checkinsync-2020-01-0{day}.dump" for day in range(4, 10)]
    assert dumps(private) == [*days, today, "mine.dump"]
    assert stat.S_IMODE((folder / today).stat().st_mode) == 0o600
    assert private.run("users", "remove", "2", "--yes").code == 0
    assert private.run("db", "restore", str(folder / today), "--yes").code == 0
    assert '"checkins": 3' in private.run("users", "show", "2", "--json").out

    written = (folder / today).stat().st_mtime_ns
    assert private.run("orchestrate", "--max-age", "20h") == QUIET
    assert (folder / today).stat().st_mtime_ns == written, "nobody was imported"
    assert private.run("orchestrate", dumps="1") == QUIET
    assert dumps(private) == [today, "mine.dump"]


def test_a_dump_that_fails_is_told_and_changes_no_exit_code(private: Story):
    folder = Path(private.environ["CHECKINSYNC_HOME"]) / "dumps"
    folder.write_text("a file in the way")

    assert private.run("orchestrate", dumps="0") == QUIET
    night = private.run("orchestrate")

    assert (night.code, night.out) == (0, "")
    assert "the dump of this night failed: " in night.err
    assert len(night.err.splitlines()) == 1


def test_a_dump_never_fills_the_disk_of_the_database(private: Story):
    folder = Path(private.environ["CHECKINSYNC_HOME"]) / "dumps"
    folder.mkdir()
    with (folder / "checkinsync-2020-01-01.dump").open("wb") as file:
        file.truncate(2**44)  # it takes no room

    night = private.run("orchestrate")

    assert night.code == 0
    assert "MB are free for" in night.err
    assert dumps(private) == ["checkinsync-2020-01-01.dump"]
    assert "CHECKINSYNC_DUMPS" not in private.run("orchestrate", dumps="0").err


def test_a_good_night_deletes_old_records_and_a_bad_one_does_not(story: Story):
    ada = story.person("Ada", 3)
    story.conn.execute(OLD)
    story.simulator.revoke(ada.token)
    assert story.run("orchestrate").code == 3
    assert story.rows(RUNS) == [(1,)]

    story.person("Ben", 3)
    assert story.run("orchestrate", prune="never") == QUIET
    assert story.rows(RUNS) == [(1,)]
    assert story.run("orchestrate") == QUIET
    assert story.rows(RUNS) == [(0,)]
    assert not (Path(story.environ["CHECKINSYNC_HOME"]) / "dumps").exists(), "not our database"


def test_the_command_says_what_it_has_deleted(story: Story):
    story.conn.execute(OLD)
    story.conn.execute(OLD)

    assert story.run("prune", "--runs", "600d").out.startswith("deleted 0 runs, 0 imports, ")
    counts = "1 run, 0 imports, 0 check-ins in quarantine, 0 interrupted verifications\n"

    assert story.run("prune", "--quarantine", "1d", "--dry-run").out == f"would delete {counts}"
    assert story.run("prune", "--quarantine", "1d").out == f"deleted {counts}"
