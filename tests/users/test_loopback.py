"""The loopback port: who is heard there, who is not, and when a page is shown."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from http import HTTPStatus

import pytest
import requests

from checkinsync.errors import LoginFailed, SettingsError
from checkinsync.users.loopback import HOST, Loopback, redirect

A_WHILE = timedelta(seconds=30)
NO_TIME = timedelta(seconds=0)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def loopback(port: int) -> Iterator[Loopback]:
    with Loopback(port) as loopback:
        yield loopback


@pytest.fixture
def browsers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as browsers:
        yield browsers


def coming(browsers: ThreadPoolExecutor, port: int, query: str) -> Future[requests.Response]:
    """A browser on its way back; it waits for its page."""
    return browsers.submit(requests.get, f"{redirect(port)}?{query}", timeout=30)


def nobody_else(loopback: Loopback) -> bool:
    """Whether no other visit waits."""
    with pytest.raises(LoginFailed):
        next(loopback.visits(within=NO_TIME))
    return True


def test_whoever_comes_back_waits_for_a_page_until_it_is_decided(loopback, browsers, port):
    browser = coming(browsers, port, "code=A%26B&state=s")

    visit = next(loopback.visits(within=A_WHILE))
    assert visit.query == "code=A%26B&state=s"
    assert not browser.done()
    visit.answer("<p>é</p>")

    page = browser.result()
    assert (page.status_code, page.text) == (200, "<p>é</p>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Python" not in page.headers["Server"]


def test_several_are_heard_one_after_the_other(loopback, browsers, port):
    found = {}
    pages = {name: coming(browsers, port, name) for name in ("a", "b", "c")}

    for visit in loopback.visits(within=A_WHILE):
        visit.answer(f"for {visit.query}", status=HTTPStatus.BAD_REQUEST)
        found[visit.query] = pages[visit.query].result()
        if len(found) == len(pages):
            break

    assert {name: page.text for name, page in found.items()} == {n: f"for {n}" for n in pages}
    assert {page.status_code for page in found.values()} == {400}


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/favicon.ico"),
        ("GET", "/"),
        ("GET", "/callback/?code=c"),
        ("GET", "/callbacks?code=c"),
        ("GET", "http://[/callback?code=c"),
        ("HEAD", "/callback?code=c"),
        ("POST", "/callback?code=c"),
        ("OPTIONS", "/callback?code=c"),
    ],
)
def test_nothing_else_is_answered_or_heard(loopback, port, method, target):
    with socket.create_connection((HOST, port), timeout=30) as sock:
        sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = sock.recv(4096).split()[1]

    assert status in {b"404", b"501"}
    assert nobody_else(loopback)


def test_nonsense_is_not_heard_and_leaves_no_trace(loopback, port, capfd):
    with socket.create_connection((HOST, port)) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00code=c\r\n\r\n")
        sock.recv(1024)

    assert nobody_else(loopback)
    assert capfd.readouterr() == ("", "")


def test_a_visit_leaves_no_trace_in_the_output(loopback, browsers, port, capfd):
    browser = coming(browsers, port, "code=NOBODY-MAY-SEE")
    next(loopback.visits(within=A_WHILE)).answer("fine")
    browser.result()

    assert capfd.readouterr() == ("", "")


def test_it_listens_on_one_address_of_this_machine_only(loopback, port):
    assert socket.create_connection((HOST, port)).close() is None
    for address in ("127.0.0.2", "::1"):
        with pytest.raises(OSError):  # noqa: PT011 - refused, or no IPv6 at all
            socket.create_connection((address, port), timeout=5)


def test_a_port_that_is_taken_is_named_with_the_way_out(loopback, port):
    with pytest.raises(SettingsError, match=rf"port {port} .* --port"):
        Loopback(port)


def test_when_the_time_is_over_that_is_said(loopback):
    with pytest.raises(LoginFailed, match=r"within 0\.05s.*--timeout"):
        next(loopback.visits(within=timedelta(seconds=0.05)))


def test_whoever_was_not_looked_at_is_told_that_it_is_over(browsers, port):
    with Loopback(port) as loopback:
        first, second = (coming(browsers, port, name) for name in ("one", "two"))
        visits = loopback.visits(within=A_WHILE)
        next(visits)
        next(visits)

    for page in (first.result(), second.result()):
        assert page.status_code == HTTPStatus.GONE
        assert "over" in page.text


def test_who_connects_and_says_nothing_holds_nobody_up(browsers, port):
    with Loopback(port) as loopback, socket.create_connection((HOST, port)) as silent:
        browser = coming(browsers, port, "code=c")
        next(loopback.visits(within=A_WHILE)).answer("fine")
        assert browser.result().text == "fine"
        loopback.__exit__(None, None, None)  # closed at once, not when the silent one is given up
        silent.settimeout(1)
        assert silent.recv(1) == b""


def test_after_it_is_closed_the_port_can_be_had_again(port, browsers):
    for _ in range(3):
        with Loopback(port) as loopback:
            browser = coming(browsers, port, "code=c")
            next(loopback.visits(within=A_WHILE)).answer("fine")
            browser.result()
