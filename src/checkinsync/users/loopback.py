"""The loopback port at which a browser comes back from Foursquare; it answers nothing else.

There is one thread only: the code that takes a visit decides about it and then answers it, so that
no page says that a login worked before it did. All connections are waited for at once: a browser
that connects and says nothing, or not everything, does not delay another.
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
"""Reachable from this machine only."""

PORT = 8902
"""The default; the address below is registered at Foursquare, port included."""

PATH = "/callback"

A_MOMENT = 5.0
"""Seconds for a page to be sent, and at the end for all of them."""

LONGEST_HEAD = 64 * 1024
"""Bytes of a request that are taken; a browser sends about one thousand."""

OVER = "This login has ended; the program that started it shows the result.\n"

HEADERS = {
    "Server": "checkinsync",
    "Cache-Control": "no-store",  # its address holds the code
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def redirect(port: int) -> str:
    """Return the address to which Foursquare is to send browsers back.

    By name, as in clients that are known to work there; browsers resolve it to 127.0.0.1.
    """
    return f"http://localhost:{port}{PATH}"


class Visit:
    """A browser's connection: what it brings, and the page that it waits for."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.query = ""
        """The part of the address after the `?`; may contain a code, so it is never shown."""
        self._head = b""

    def request_line(self) -> str | None:
        """Read what is there; None until the request is complete, empty if it never will be."""
        chunk = b""
        with suppress(OSError):
            chunk = self.sock.recv(LONGEST_HEAD)
        self._head += chunk
        if b"\r\n\r\n" in self._head:
            return self._head.partition(b"\r\n")[0].decode("latin-1")
        return None if chunk and len(self._head) < LONGEST_HEAD else ""

    def answer(self, page: str, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send this page and close; without effect after another one, or if the browser left."""
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
        """Answer the browsers that wait for a page that the login has ended; close all others."""
        end = time.monotonic() + A_MOMENT
        while (ready := self._selector.select(0)) and time.monotonic() < end:
            for key, _ in ready:
                self._read(key.data)
        for visit in self._visits:
            visit.answer(OVER, status=HTTPStatus.GONE)
        for key in self._selector.get_map().values():
            (key.data.sock if key.data else self._listener).close()
        self._selector.close()

    def visits(self, *, within: timedelta) -> Iterator[Visit]:
        """Yield the browsers that come back. Raises LoginFailed when the time is up."""
        deadline = time.monotonic() + within.total_seconds()
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if self._read(key.data):
                    yield key.data
        raise time_is_up(within)

    def _read(self, visit: Visit | None) -> bool:
        """Accept a browser, or read from it; True once it has asked for the one path."""
        if visit is None:
            with suppress(OSError):  # it has left already
                sock, _ = self._listener.accept()
                self._selector.register(sock, selectors.EVENT_READ, Visit(sock))
            return False
        line = visit.request_line()
        if line is None:
            return False
        self._selector.unregister(visit.sock)
        query = _query(line)
        if query is None:
            visit.answer("Not found.\n", status=HTTPStatus.NOT_FOUND)
            return False
        visit.query = query
        self._visits.append(visit)
        return True


def _query(line: str) -> str | None:
    """Return the query of a request for the one path; None for others, such as `/favicon.ico`."""
    try:
        method, target, _ = line.split()
        asked = urlsplit(target)
    except ValueError:
        return None
    return asked.query if (method, asked.path) == ("GET", PATH) else None


def time_is_up(within: timedelta) -> LoginFailed:
    """Return the error that says so."""
    return LoginFailed(
        f"no answer from Foursquare within {written(within)}; run `checkinsync login` "
        "again, or give it more time with --timeout"
    )
