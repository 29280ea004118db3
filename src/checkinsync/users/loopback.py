"""The loopback port at which a browser comes back from Foursquare; it answers nothing else.

There is one thread only: whoever takes a visit decides what it is worth and then answers it, so
that no page says that a login worked before it did. What is not a whole request is waited for
beside the others: a browser that connects and says nothing holds up nobody.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit

from checkinsync.config.durations import written
from checkinsync.errors import LoginFailed, SettingsError

HOST = "127.0.0.1"
"""Where it listens: for this very machine only."""

PORT = 8902
"""The default; the address below is registered at Foursquare, port included."""

PATH = "/callback"

A_MOMENT = 5.0
"""Seconds for a page to be on its way, and at the end for all of them."""

LONGEST_HEAD = 64 * 1024
"""Bytes of a request that are taken; a browser sends about one thousand."""

OVER = "This login is over; the program that began it says how it went.\n"

HEADERS = {
    "Server": "checkinsync",
    "Cache-Control": "no-store",  # its address holds the code
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def redirect(port: int) -> str:
    """The address to which Foursquare is to send browsers back.

    By name, as in clients that are known to work there; a browser finds us under 127.0.0.1.
    """
    return f"http://localhost:{port}{PATH}"


class Visit:
    """A browser's connection: what it brings, and the page that it waits for."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.query = ""
        """What stands behind the `?`; it may hold a code, so it is shown nowhere."""
        self._head = b""

    def request_line(self) -> str | None:
        """Take what has come; None until it is a whole request, empty if it will be none."""
        chunk = b""
        with suppress(OSError):
            chunk = self.sock.recv(LONGEST_HEAD)
        self._head += chunk
        if b"\r\n\r\n" in self._head:
            return self._head.partition(b"\r\n")[0].decode("latin-1")
        return None if chunk and len(self._head) < LONGEST_HEAD else ""

    def answer(self, page: str, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Show this page and hang up; no effect after another one, or if the browser is gone."""
        body = page.encode()
        kind = "html" if page.startswith("<") else "plain"
        headers = HEADERS | {
            "Content-Type": f"text/{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
        }
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", *map(": ".join, headers.items())]
        with suppress(OSError), self.sock:
            self.sock.settimeout(A_MOMENT)
            self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)


class Loopback:
    """A context manager: listens on 127.0.0.1 until it is closed."""

    def __init__(self, port: int) -> None:
        """Raises SettingsError if the port can't be used."""
        try:
            self._listener = socket.create_server((HOST, port))
        except OSError as error:
            raise SettingsError(
                f"port {port} of 127.0.0.1 can't be used ({error.strerror}); stop the program that "
                "uses it, or choose another with --port, and register that at Foursquare, too"
            ) from None
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._visits: list[Visit] = []

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell everyone who waits for a page that it is over; hang up on all others."""
        end = time.monotonic() + A_MOMENT
        while (ready := self._selector.select(0)) and time.monotonic() < end:
            for key, _ in ready:
                self._hear(key.data)
        for visit in self._visits:
            visit.answer(OVER, status=HTTPStatus.GONE)
        for key in self._selector.get_map().values():
            (key.data.sock if key.data else self._listener).close()
        self._selector.close()

    def visits(self, *, within: timedelta) -> Iterator[Visit]:
        """Browsers that come back, one after the other. Raises LoginFailed when time is up."""
        deadline = time.monotonic() + within.total_seconds()
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if self._hear(key.data):
                    yield key.data
        raise nobody_came(within)

    def _hear(self, visit: Visit | None) -> bool:
        """Accept a browser, or hear what it has to say; True once it has come back."""
        if visit is None:
            with suppress(OSError):  # it is gone already
                sock, _ = self._listener.accept()
                self._selector.register(sock, selectors.EVENT_READ, Visit(sock))
            return False
        line = visit.request_line()
        if line is None:
            return False
        self._selector.unregister(visit.sock)
        query = _query(line)
        if query is None:
            visit.answer("There is nothing here.\n", status=HTTPStatus.NOT_FOUND)
            return False
        visit.query = query
        self._visits.append(visit)
        return True


def _query(line: str) -> str | None:
    """The query of a request for the one path; None for all others: `/favicon.ico`, a port scan."""
    try:
        method, target, _ = line.split()
        asked = urlsplit(target)
    except ValueError:
        return None
    return asked.query if (method, asked.path) == ("GET", PATH) else None


def nobody_came(within: timedelta) -> LoginFailed:
    """The error that says that time is up."""
    return LoginFailed(
        f"nobody came back from Foursquare within {written(within)}; run `checkinsync login` "
        "again, or give it more time with --timeout"
    )
