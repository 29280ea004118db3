"""Logging in at Foursquare, on a machine with a browser and on one without."""

from __future__ import annotations

import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE
from urllib.parse import urlsplit

import pytest
import requests

from checkinsync.simulator.faults import Fault
from support.stories import QUIET, Person, Started, Story

BROWSER = """
import os, sys, requests
page = requests.get(sys.argv[1], timeout=30)
print("output of the browser")
open(sys.argv[2], "w").write(f"{page.status_code} {page.text} {sorted(os.environ)}")
"""
"""A user who allows the access, since the simulator is set so."""


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def back(port: int) -> str:
    return f"http://localhost:{port}/callback"


@pytest.fixture
def story(story: Story, back: str) -> Story:
    """A story with an application registered at Foursquare, and a browser that does nothing."""
    client = story.simulator.client
    story.environ |= {
        "CHECKINSYNC_OAUTH_URL": story.simulator.oauth_url,
        "CHECKINSYNC_CLIENT_ID": client.id,
        "CHECKINSYNC_CLIENT_SECRET": client.secret,
        "BROWSER": "true %s",
    }
    story.secrets |= {client.secret, f"CODE{story.simulator.world.seed:04X}"}
    return story


def asked(story: Story, process: Started) -> str:
    """Return the address that a running process asks to open."""
    address = rf"^{re.escape(story.simulator.oauth_url)}/authenticate\?\S+$"
    story.until(lambda: re.search(address, process.err.read_text(), re.M) or gone(process))
    return re.search(address, process.err.read_text(), re.M)[0]


def gone(process: Started) -> bool:
    assert process.popen.poll() is None, process.err.read_text()
    return False


def sent_back_to(address: str, *, decision: str = "allow", user: str | None = None) -> str:
    """Return the address to which Foursquare sends a browser after this decision."""
    answer = requests.get(
        address, params={"decision": decision, "user": user}, allow_redirects=False, timeout=30
    )
    return answer.headers["Location"]


def visit(address: str) -> requests.Response:
    return requests.get(address, timeout=30)


def unchanged(story: Story, before: dict[str, list[str]]) -> bool:
    return story.contents() == before


# --- with a browser -------------------------------------------------------------------------------


def test_the_browser_opens_and_whoever_allows_is_a_user_who_can_be_imported(story, port):
    token = story.account("Ada", 30)
    story.simulator.switches.login = "allow"
    script, shown = story.folder / "browser.py", story.folder / "page"
    script.write_text(BROWSER)
    story.environ["BROWSER"] = f"{sys.executable} {script} %s {shown}"
    for name in ("FOURSQUARE_CLIENT_SECRET", "PGPASSWORD", "ENCRYPTION_KEY", "MAPS_API_KEY"):
        story.environ[name] = "withheld"

    done = story.run("login", "--port", str(port))

    assert (done.code, done.out.count("\n")) == (0, 1)
    assert "user 1 (Ada Lovelace) added" in done.out
    assert "checkinsync import-user 1" in done.out
    assert f"http://localhost:{port}/callback" in done.err
    story.until(shown.exists)
    story.until(lambda: shown.read_text().startswith("200 <!DOCTYPE html>"))
    assert "user 1 (Ada Lovelace) is connected" in shown.read_text()
    assert "PATH" in shown.read_text()
    for name in ("CHECKINSYNC_", "SECRET", "PGPASSWORD", "ENCRYPTION_KEY", "API_KEY", "TERM"):
        assert name not in shown.read_text()
    assert story.run("import-user", "1").code == 0
    assert story.complete(Person(1, "Ada", token))


def test_a_rejected_user_who_logs_in_is_due_again(story, port):
    ada = story.person("Ada", 10)
    story.conn.execute("UPDATE users SET last_login_at = now() - interval '90 days'")
    story.simulator.revoke(ada.token)
    assert story.run("import-user", "Ada").code == 4
    process = story.start("login", "Ada", "--port", str(port))

    page = visit(sent_back_to(asked(story, process)))

    done = process.ended()
    assert (page.status_code, done.code) == (200, 0)
    assert "user 1 (Ada) has a new token" in done.out
    story.secrets.add(f"{ada.token}-again")
    assert story.run("orchestrate") == QUIET
    assert story.stored(ada) == sorted(story.simulator.shown_ids(f"{ada.token}-again"))


def test_the_login_of_somebody_else_changes_nothing(story, port):
    ada, ben = story.people(3, 3)
    before = story.contents()
    ben_s = story.simulator.world.accounts[ben.token].user_id
    process = story.start("login", str(ada.id), "--port", str(port))

    page = visit(sent_back_to(asked(story, process), user=ben_s))

    done = process.ended()
    assert (done.code, done.out) == (2, "")
    assert f"belongs to Foursquare user {ben_s}, not to user {ada.id} (Ada)" in done.err
    assert page.status_code == 400
    assert "Login failed" in page.text
    assert "nothing was changed" in page.text
    assert unchanged(story, before)


def test_strays_do_not_end_the_wait_and_a_denial_does(story, port, back):
    story.account("Ada", 3)
    process = story.start("login", "--port", str(port))
    address = asked(story, process)

    strays = [visit(f"{back}?{query}") for query in ("", "code=c&state=forged", "code=c")]
    others = [visit(back.replace("/callback", path)) for path in ("/favicon.ico", "/")]
    assert process.popen.poll() is None
    denied = visit(sent_back_to(address, decision="deny"))

    done = process.ended()
    assert [page.status_code for page in strays] == [400, 400, 400]
    assert all("still waits" in page.text for page in strays)
    assert [page.status_code for page in others] == [404, 404]
    assert (denied.status_code, done.code, done.out) == (400, 4, "")
    assert "denied" in denied.text
    assert done.err.count("is not of the login that waits here") == len(strays)
    assert done.err.endswith("checkinsync: access was denied at Foursquare; nothing was changed\n")
    assert story.rows("SELECT FROM users") == []


def test_a_user_who_does_not_exist_is_told_before_anybody_is_asked(story, port):
    done = story.run("login", "Nobody", "--port", str(port))

    assert (done.code, done.out) == (2, "")
    assert "authenticate" not in done.err


def test_a_paused_user_stays_paused_and_that_is_said(story, port):
    story.person("Ada", 3)
    assert story.run("users", "pause", "Ada").code == 0
    process = story.start("login", "--port", str(port))

    visit(sent_back_to(asked(story, process)))

    assert "users resume 1" in process.ended().out


# --- without a browser ----------------------------------------------------------------------------


def test_on_a_server_the_address_is_pasted_and_checked_the_same_way(story, port, back):
    token = story.account("Ada", 3)
    process = story.start("login", "--no-browser", "--port", str(port), given=PIPE)
    address = sent_back_to(asked(story, process))
    with pytest.raises(requests.ConnectionError):  # no program listens here
        visit(address)

    process.type(f"\nwhat?\n{back}?code=c&state=forged\n{address[:-5]}\n")
    story.until(lambda: process.err.read_text().count("Not accepted") == 3)
    process.type(f'  "{address}#_=_"\r\n')

    done = process.ended()
    assert done.code == 0
    assert "user 1 (Ada Lovelace) added" in done.out
    [(encrypted,)] = story.rows("SELECT access_token_encrypted FROM users")
    assert story.keyring.decrypt(encrypted) == token


def test_the_end_of_standard_input_ends_the_login(story):
    for given in ("", "code=c&state=forged"):
        done = story.run("login", "--no-browser", given=given)

        assert (done.code, done.out) == (4, "")
        assert "without an answer from Foursquare" in done.err


def test_what_is_pasted_without_a_line_s_end_counts(story):
    story.account("Ada", 3)
    process = story.start("login", "--no-browser", given=PIPE)
    process.type(urlsplit(sent_back_to(asked(story, process))).query)
    process.popen.stdin.close()

    assert process.ended().code == 0


def test_a_code_that_was_used_is_not_accepted(story, port):
    story.account("Ada", 3)
    process = story.start("login", "--no-browser", "--port", str(port), given=PIPE)
    address = sent_back_to(asked(story, process))
    used = {
        "client_id": story.simulator.client.id,
        "client_secret": story.simulator.client.secret,
        "grant_type": "authorization_code",
        "redirect_uri": f"http://localhost:{port}/callback",
        "code": dict(part.split("=") for part in urlsplit(address).query.split("&"))["code"],
    }
    exchange = f"{story.simulator.oauth_url}/access_token"
    assert requests.post(exchange, data=used, timeout=30).status_code == 200

    process.type(f"{address}\n")

    done = process.ended()
    assert done.code == 4
    assert "invalid_grant" in done.err
    assert story.rows("SELECT FROM users") == []


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["--no-browser", "--port=8902"])
def test_nobody_is_waited_for_longer_than_was_said(story, port, mode):
    words = ["--no-browser"] if mode == "--no-browser" else ["--port", str(port)]

    done = story.start("login", "--timeout", "1s", *words, given=PIPE).ended()

    assert (done.code, done.out) == (4, "")
    assert "no answer from Foursquare within 1s" in done.err


@pytest.mark.parametrize("words", [["--no-browser"], []])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_login_can_be_interrupted(story, port, words, number, code):
    process = story.start("login", "--port", str(port), *words, given=PIPE)
    asked(story, process)

    process.signal(number)

    done = process.ended()
    assert (done.code, done.out) == (code, "")
    assert done.err.endswith("before an answer from Foursquare; nothing was changed\n")


@pytest.mark.parametrize("path", ["oauth2/access_token", "users/self"])
def test_a_login_can_be_interrupted_while_foursquare_is_asked(story, port, path):
    story.account("Ada", 3)
    story.simulator.fail(Fault("slow", path=path, seconds=300, times=None))
    process = story.start("login", "--port", str(port))
    address = sent_back_to(asked(story, process))
    with ThreadPoolExecutor() as browsers:
        browser = browsers.submit(visit, address)
        story.until(lambda: any(seen.path == path for seen in story.requests()))

        process.signal(signal.SIGINT)

        done, page = process.ended(), browser.result()
    assert (done.code, done.out) == (130, "")
    assert (page.status_code, "Login failed" in page.text) == (400, True)
    assert story.rows("SELECT FROM users") == []


def test_where_no_browser_opens_that_is_said(story, port):
    story.environ["BROWSER"] = "false %s"
    process = story.start("login", "--port", str(port))

    story.until(lambda: "--no-browser" in process.err.read_text())

    process.signal(signal.SIGINT)
    assert process.ended().code == 130


def test_a_port_that_is_taken_is_told_before_anybody_is_asked(story, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        done = story.run("login", "--port", str(port))

    assert (done.code, done.out) == (78, "")
    assert "--port" in done.err
    assert "authenticate" not in done.err


def test_an_application_that_is_not_set_is_named_with_what_it_lacks(story):
    unset = story.run("login", client_id="", client_secret="")
    half = story.run("login", client_secret="")

    assert (unset.code, half.code) == (78, 78)
    assert "CHECKINSYNC_CLIENT_ID and CHECKINSYNC_CLIENT_SECRET must be set" in unset.err
    assert "CHECKINSYNC_CLIENT_ID" not in half.err
    assert "http://localhost:8902/callback" in unset.err


@pytest.mark.parametrize(
    ("fault", "settings", "code", "told"),
    [
        (Fault("bad_gateway", path="oauth2/access_token"), {}, 69, "not JSON"),
        (Fault("html", path="oauth2/access_token"), {}, 69, "not JSON"),
        (Fault("reset", path="oauth2/access_token"), {}, 69, "can't be reached"),
        (Fault("invalid_auth", path="users/self", times=None), {}, 4, "does not accept"),
        (None, {"client_secret": "another"}, 78, "CHECKINSYNC_CLIENT_SECRET"),
    ],
)
def test_an_exchange_that_fails_stores_nothing_and_says_why(
    story, port, fault, settings, code, told
):
    story.account("Ada", 3)
    process = story.start("login", "--port", str(port), **settings)
    address = asked(story, process)
    if fault:
        story.simulator.fail(fault)

    page = visit(sent_back_to(address))

    done = process.ended()
    assert (done.code, done.out, page.status_code) == (code, "", 400)
    assert told in done.err
    assert "Login failed" in page.text
    assert story.rows("SELECT FROM users") == []


def test_the_secret_may_lie_in_a_file_and_the_log_tells_none(story, port):
    story.account("Ada", 3)
    secret = story.folder / "client.secret"
    secret.write_text(f"{story.environ.pop('CHECKINSYNC_CLIENT_SECRET')}\n")
    story.environ["CHECKINSYNC_CLIENT_SECRET_FILE"] = str(secret)
    log = str(story.folder / "login.log")
    process = story.start("-vv", "--log-file", log, "login", "--port", str(port))

    visit(sent_back_to(asked(story, process)))

    assert process.ended().code == 0
