"""`db upgrade`: to another major version and back to work, or nothing has changed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from checkinsync.embedded import account, binaries
from checkinsync.embedded.binaries import Programs
from support.stories import Story


def programs() -> list[Programs]:
    """One PostgreSQL of each major version that is found here, the oldest first."""
    found = {p.major: p for p in map(binaries._in, binaries.everywhere()) if p}
    return [found[major] for major in sorted(found)]


@pytest.fixture
def old(story: Story, home: Path) -> Story:
    """A story on a database of the oldest PostgreSQL that is found here, with one user."""
    if len(programs()) < 2:
        pytest.skip("this machine has only one major version of PostgreSQL")
    try:
        account.choose(None, data=home / "none", allow_nobody=False)
    except account.SettingsError:
        pytest.skip("no account of this machine may run a server")
    del story.environ["CHECKINSYNC_DATABASE_URL"]
    story.environ |= {"CHECKINSYNC_HOME": str(home)}
    assert story.run("migrate", pg_bindir=str(programs()[0].bindir)).code == 0
    assert story.run("users", "add", "--foursquare-id", "1", given="A-TOKEN").code == 0
    return story


def version(story: Story) -> str:
    return (data(story) / "PG_VERSION").read_text().strip()


def data(story: Story) -> Path:
    return Path(story.environ["CHECKINSYNC_HOME"]) / "postgres" / "data"


def test_everything_is_there_afterwards_and_the_old_folder_is_kept(old: Story):
    first, last = programs()[0].major, programs()[-1].major
    before = old.run("users", "show", "1").out

    done = old.run("db", "upgrade")

    assert (done.code, done.out) == (0, "")
    kept = data(old).with_name(f"data.{first}")
    assert done.err.splitlines()[0] == f"upgraded from PostgreSQL {first} to {last}"
    assert str(kept) in done.err
    assert version(old) == str(last)
    assert (kept / "PG_VERSION").read_text().strip() == str(first)
    assert old.run("users", "show", "1").out == before
    assert old.run("migrate", "--check").code == 0
    assert not data(old).with_name("upgrade").exists()
    assert "nothing to do" in old.run("db", "upgrade").err

    kept_by_hand(old)
    assert "db upgrade` completes it" in old.run("migrate").err
    assert old.run("status").code == 69
    assert old.run("db", "upgrade").code == 0
    assert old.run("users", "show", "1").out == before


def kept_by_hand(story: Story) -> None:
    """Leave the folders as an upgrade does that is killed between its last two steps."""
    made = data(story).with_name("upgrade") / "data"
    made.parent.mkdir()
    data(story).rename(made)


def test_an_upgrade_that_fails_or_comes_at_a_bad_time_changes_nothing(old: Story):
    first = str(programs()[0].major)
    before = old.run("users", "show", "1").out
    served = old.start("db", "serve")
    old.until(lambda: "serving until" in served.err.read_text())

    busy = old.run("db", "upgrade")
    served.signal(signal.SIGTERM)
    assert served.ended().code == 0
    for statement in BREAK:
        assert old.run("db", "shell", "-c", statement).code == 0
    failed = old.run("db", "upgrade")

    assert (busy.code, "end it, then try again" in busy.err) == (75, True)
    assert failed.code == 69
    assert "The old data are unchanged" in failed.err
    assert version(old) == first
    assert old.run("users", "show", "1").out == before
    assert not data(old).with_name("upgrade").exists()


BREAK = (
    "CREATE FUNCTION f() RETURNS boolean LANGUAGE sql AS 'SELECT count(*) > 0 FROM users'",
    "CREATE TABLE broken (x integer CHECK (f()))",
    "INSERT INTO broken VALUES (1)",
)
"""A constraint that rests on another table: a dump of it can't be restored."""
