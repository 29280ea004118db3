"""The login in a real browser, with clicks on its pages."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.chromium import Browser, chromium
from support.stories import Person, Started, Story


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def logging_in(story: Story, port: int) -> tuple[Started, str]:
    """Start a login; returns it with the address that it opens."""
    opened = story.folder / "opened"
    opened.unlink(missing_ok=True)
    opener = story.folder / "opener"
    opener.write_text(
        f'#!/bin/sh\nprintf %s "$1" > "{opened}.part"; mv "{opened}.part" "{opened}"\n'
    )
    opener.chmod(0o755)
    story.environ["BROWSER"] = f"{opener} %s"
    process = story.start("login", "--port", str(port))
    story.until(opened.exists)
    return process, opened.read_text()


def test_somebody_clicks_through_the_login_and_is_imported(
    browser: Browser, story: Story, port: int
):
    """Ada denies; then Ben, who first has to choose another user than Ada, allows."""
    story.account("Ada", 3, last_name=None)
    token = story.account("Ben", 30, last_name=None)
    client = story.simulator.client
    story.environ |= {
        "CHECKINSYNC_OAUTH_URL": story.simulator.oauth_url,
        "CHECKINSYNC_CLIENT_ID": client.id,
        "CHECKINSYNC_CLIENT_SECRET": client.secret,
    }
    story.secrets |= {client.secret, f"CODE{story.simulator.world.seed:04X}"}

    process, address = logging_in(story, port)
    browser.open(address)
    browser.click("Deny")
    assert "Login failed" in browser.text
    assert "denied" in browser.text
    assert process.ended().code == 4

    process, address = logging_in(story, port)
    browser.open(address)
    browser.click("Ben")
    browser.click("Allow")
    assert browser.address.startswith(f"http://localhost:{port}/callback?")
    assert "user 1 (Ben) is connected" in browser.text
    done = process.ended()
    assert done.code == 0
    assert "user 1 (Ben) added" in done.out

    assert story.run("import-user", "1").code == 0
    assert story.complete(Person(1, "Ben", token))


def test_the_browser_of_these_tests_reaches_nothing_but_this_machine(browser: Browser):
    for address in ("https://example.org/", "http://192.0.2.1/"):
        with pytest.raises(AssertionError, match="ERR_"):
            browser.open(address)
