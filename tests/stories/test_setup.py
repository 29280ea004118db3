"""`checkinsync setup`: asked at a terminal, and by options; on a private database and a server."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest
import requests

from checkinsync.embedded import account
from support.stories import KEY, WRONG_KEY, Story
from support.terminal import Screen, shown

pytestmark = pytest.mark.db


@pytest.fixture
def fresh(story: Story, home: Path) -> Story:
    """An operator with nothing but the program, and Foursquare."""
    for name in ("DATABASE_URL", "ENCRYPTION_KEY"):
        del story.environ[f"CHECKINSYNC_{name}"]
    story.environ["CHECKINSYNC_HOME"] = str(home / "own")
    story.environ["CHECKINSYNC_CONFIG"] = str(settings_file(story))
    if os.geteuid() == 0:
        story.environ["CHECKINSYNC_PG_ACCOUNT"] = account.USUAL[-1]
    return story


def settings_file(story: Story) -> Path:
    return story.folder / "etc" / "checkinsync.toml"


@contextmanager
def asked(story: Story, *words: str) -> Iterator[Screen]:
    """A set-up at a terminal of 80 columns, to a good end."""
    with shown(story, "setup", *words) as screen:
        yield screen
        assert screen.ended() == 0, screen.text
    answers = [line for line in screen.lines if re.match(r"  \w+ {4}", line)]
    assert all(len(line) <= 80 for line in answers)


def test_from_nothing_to_a_first_imported_night_by_one_command(fresh: Story) -> None:
    token = fresh.account("Ada", 300)

    with asked(fresh) as screen:
        screen.answer("Which database?", "")
        screen.answer("Whose check-ins?", "")
        screen.answer("Foursquare token:", token)
        screen.answer("What starts the nightly run", "print")
        screen.answer("Import now? Users: 1.", "")

    assert "problem" not in screen.text.partition("$ checkinsync doctor")[2]
    [user] = json.loads(fresh.run("users", "list", "--json").out)
    assert (user["checkins"], user["state"], user["fresh"]) == (300, "ok", True)
    [run] = json.loads(fresh.run("status", "--json").out)["runs"]
    assert (run["outcome"], run["new"]) == ("ok", 300)
    assert [fresh.run(word).code for word in ("status", "verify", "why")] == [0, 0, 0]
    assert "#stagger = " in settings_file(fresh).read_text()
    assert tomllib.loads(settings_file(fresh).read_text()) == {}


def test_run_again_it_changes_only_what_is_asked_for(story: Story, fresh: Story) -> None:
    token = fresh.account("Ada", 3)
    for name, text in {"url": story.url, "key": KEY, "token": token}.items():
        (fresh.folder / name).write_text(text)
    url, key, token = (str(fresh.folder / name) for name in ("url", "key", "token"))
    given = ("--yes", "--database-url-file", url, "--make-key", "--token-file", token)
    assert fresh.run("setup", *given).code == 0
    path = settings_file(fresh)
    path.write_text(f"{path.read_text()}workers = 2 # my own\n")
    before = {file: file.read_text() for file in path.parent.iterdir()}

    with asked(fresh) as screen:
        screen.answer("Which database?", "")
        screen.answer("Whose check-ins? Users so far: 1.", "")
        screen.answer("What starts the nightly run", "none")
        screen.answer("Import now?", "n")
    again = fresh.run("setup", *given)
    other = fresh.run("setup", "--yes", "--encryption-key-file", key)

    assert again.code == 0
    assert "user 1 (Ada Lovelace) has a new token" in again.out
    assert fresh.rows("SELECT count(*) FROM users") == [(1,)]
    assert other.code == 2
    assert "holds another key; move it away, and keep it" in other.err
    assert {file: file.read_text() for file in path.parent.iterdir()} == before


def test_on_a_server_the_address_is_tried_and_secrets_have_files_of_their_own(
    story: Story, fresh: Story
) -> None:
    folder, wrong = settings_file(fresh).parent, "postgresql://ann@127.0.0.1:1/none"

    with asked(fresh, "--schedule", "none", "--no-import") as screen:
        screen.answer("Which database?", "server")
        screen.answer("Its address", "ann@db")
        screen.answer("Its address", wrong)
        screen.answer("Its address", story.url)
        screen.answer("Which key", "")
        screen.answer("Whose check-ins?", "none")

    assert "That can't be used: must be a URL" in screen.text
    assert "cannot reach the database" in screen.text
    assert tomllib.loads(settings_file(fresh).read_text()) == {
        "database_url_file": f"{folder}/database.url",
        "encryption_key_file": f"{folder}/encryption.key",
    }
    assert (folder / "database.url").read_text() == f"{story.url}\n"
    key = (folder / "encryption.key").read_text().strip()
    assert len(bytes.fromhex(key)) == 32
    assert not {story.url, key} & {*screen.text.split()}
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o007 for path in folder.iterdir()}
    assert modes == {0}


def test_beside_an_application_only_its_key_is_taken(story: Story, fresh: Story) -> None:
    person = story.person("Ada", 5)
    folder = settings_file(fresh).parent
    for name, text in {"url": story.url, "key": KEY, "wrong": WRONG_KEY}.items():
        (fresh.folder / name).write_text(f"{text}\n")
    server = ("--yes", "--database-url-file", str(fresh.folder / "url"))

    without = fresh.run("setup", *server)
    made = fresh.run("setup", *server, "--make-key")
    wrong = fresh.run("setup", *server, "--encryption-key-file", str(fresh.folder / "wrong"))
    nothing = [*folder.glob("encryption.key")]
    right = ("--encryption-key-file", str(fresh.folder / "key"), "--import")
    good = fresh.run("setup", *server, *right)

    for told in (without, made):
        assert told.code == 78
        assert "1 stored tokens are encrypted with a key that is not given" in told.err
    assert wrong.code == 78
    assert "decrypts none of the 1 tokens" in wrong.err
    assert nothing == []
    assert good.code == 0, good.err
    assert story.complete(person)


def test_a_login_is_a_part_of_it(story: Story, fresh: Story) -> None:
    fresh.account("Ada", 3)
    client, folder = story.simulator.client, settings_file(fresh).parent
    fresh.environ["CHECKINSYNC_OAUTH_URL"] = story.simulator.oauth_url
    for name, text in {"url": story.url, "secret": client.secret}.items():
        (fresh.folder / name).write_text(f"{text}\n")
    url, secret = (str(fresh.folder / name) for name in ("url", "secret"))
    login = ("--login", "--client-id", client.id, "--client-secret-file", secret)

    process = fresh.start(
        "setup", "--yes", "--database-url-file", url, "--make-key", *login, given=PIPE
    )
    asked = re.compile(rf"^{re.escape(story.simulator.oauth_url)}/authenticate\S+$", re.MULTILINE)
    story.until(lambda: asked.search(process.err.read_text()))
    page = asked.search(process.err.read_text())[0]
    back = requests.get(page, params={"decision": "allow"}, allow_redirects=False, timeout=30)
    process.type(f"{back.headers['Location']}\n")

    done = process.ended()
    assert done.code == 0, done.err
    assert "user 1 (Ada Lovelace) added" in done.out
    settings = tomllib.loads(settings_file(fresh).read_text())
    assert settings["client_id"] == client.id
    assert settings["client_secret_file"] == f"{folder}/client.secret"
    assert client.secret not in done.out + done.err


def test_a_step_that_fails_ends_it_with_its_exit_code(fresh: Story) -> None:
    (fresh.folder / "url").write_text("postgresql://ann@127.0.0.1:1/none")

    away = fresh.run("setup", "--yes", "--database-url-file", str(fresh.folder / "url"))
    asking = fresh.run("setup")
    wrong = fresh.run("setup", "--yes", workers="99")

    assert away.code == 69
    assert "cannot reach the database" in away.err
    assert not settings_file(fresh).exists()
    assert asking.code == 2
    assert "no terminal to ask" in asking.err
    assert wrong.code == 78
    assert "CHECKINSYNC_WORKERS: '99'" in wrong.err
