"""The loopback port: which requests it takes, and which page each browser gets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from http import HTTPStatus

import pytest
import requests

from checkinsync.errors import LoginFailed, SettingsError
from checkinsync.users.loopback import HOST, LONGEST_HEAD, Loopback, redirect

A_WHILE = timedelta(seconds=30)
A_MOMENT = timedelta(seconds=0.05)


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
    """Send a browser back, which waits for its page."""
    return browsers.submit(requests.get, f"{redirect(port)}?{query}", timeout=30)


def sending(browsers: ThreadPoolExecutor, port: int, said: bytes) -> Future[bytes]:
    """Connect and send this; returns the answer to come."""

    def send() -> bytes:
        with socket.create_connection((HOST, port), timeout=30) as sock:
            sock.sendall(said)
            return sock.recv(4096)

    return browsers.submit(send)


def not_heard(loopback: Loopback, browser: Future[bytes]) -> bytes:
    """Serve until the connection is answered, without a visit; returns the answer."""
    while not browser.done():
        with pytest.raises(LoginFailed):
            next(loopback.visits(within=A_MOMENT))
    return browser.result()


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
def test_nothing_else_is_answered_or_heard(loopback, browsers, port, method, target):
    request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    answer = not_heard(loopback, sending(browsers, port, request))

    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00code=c\r\n\r\n",
        b"\r\n\r\n",
        b"GET /callback?code=c\r\n\r\n",
        b"GET /callback?" + LONGEST_HEAD * b"c",
    ],
)
def test_nonsense_is_not_heard_and_leaves_no_trace(loopback, browsers, port, capfd, said):
    not_heard(loopback, sending(browsers, port, said))

    assert capfd.readouterr() == ("", "")


def test_a_request_may_come_in_pieces_and_others_are_heard_meanwhile(loopback, browsers, port):
    with socket.create_connection((HOST, port), timeout=30) as slow:
        for piece in (b"GET /call", b"back?code=slow HTTP/1.1\r\n", b"Host: localhost\r\n"):
            slow.sendall(piece)
            browser = coming(browsers, port, "code=quick")
            visit = next(loopback.visits(within=A_WHILE))
            visit.answer("fine")
            assert (visit.query, browser.result().text) == ("code=quick", "fine")
        slow.sendall(b"\r\n")

        visit = next(loopback.visits(within=A_WHILE))

        assert visit.query == "code=slow"
        visit.answer("fine, too")
        assert slow.recv(4096).endswith(b"\r\n\r\nfine, too")


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
        assert "has ended" in page.text


def test_who_comes_too_late_is_told_that_it_is_over(browsers, port):
    with Loopback(port) as loopback:
        late = socket.create_connection((HOST, port), timeout=30)
        browser = coming(browsers, port, "code=c")
        visit = next(loopback.visits(within=A_WHILE))
        late.sendall(b"GET /callback?code=c HTTP/1.1\r\n\r\n")
        visit.answer("fine")
        assert browser.result().text == "fine"

    with late:
        assert late.recv(4096).startswith(b"HTTP/1.1 410 ")


def test_a_browser_that_is_gone_before_its_page_is_no_error(loopback, browsers, port):
    with socket.create_connection((HOST, port)) as gone:
        gone.sendall(b"GET /callback?code=c HTTP/1.1\r\n\r\n")
        visit = next(loopback.visits(within=A_WHILE))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset

    visit.answer("to nobody")

    browser = coming(browsers, port, "code=d")
    next(loopback.visits(within=A_WHILE)).answer("fine")
    assert browser.result().text == "fine"


def test_who_connects_and_says_nothing_holds_nobody_up(browsers, port):
    with Loopback(port) as loopback:
        silent = socket.create_connection((HOST, port), timeout=1)
        browser = coming(browsers, port, "code=c")
        next(loopback.visits(within=A_WHILE)).answer("fine")
        assert browser.result().text == "fine"

    with silent:  # closed with the port, not by a time-out
        assert silent.recv(1) == b""


def test_after_it_is_closed_the_port_can_be_had_again(port, browsers):
    for _ in range(3):
        with Loopback(port) as loopback:
            browser = coming(browsers, port, "code=c")
            next(loopback.visits(within=A_WHILE)).answer("fine")
            browser.result()
