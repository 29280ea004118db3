"""The loopback port at which a browser comes back from Foursquare; it answers nothing else.

A visit waits for its page until somebody has decided what it is worth: no page says that a login
worked before it did.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from checkinsync.config.durations import written
from checkinsync.errors import LoginFailed, SettingsError

HOST = "127.0.0.1"
"""Where it listens: for this very machine only."""

PORT = 8902
"""Unless told otherwise; the address below is registered at Foursquare, port included."""

PATH = "/callback"

A_MOMENT = 5.0
"""Seconds for a page to be on its way, and for a browser to say what it wants."""

OVER = "This login is over; the program that began it says how it went.\n"

HEADERS = {
    "Cache-Control": "no-store",  # its address holds the code
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def redirect(port: int) -> str:
    """Where Foursquare is to send browsers back to.

    By name, as in clients that are known to work there; a browser finds us under 127.0.0.1.
    """
    return f"http://localhost:{port}{PATH}"


class Visit:
    """A browser that has come back: what it brings, and the page it waits for."""

    def __init__(self, query: str) -> None:
        self.query = query
        """What stands behind the `?`; it may hold a code, so it is shown nowhere."""
        self._status = HTTPStatus.GONE
        self._page = OVER
        self._decided = Event()
        self._shown = Event()

    def answer(self, page: str, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Show this page; comes back when it is on its way, or the browser is gone."""
        self._status, self._page = status, page
        self._decided.set()
        self._shown.wait(A_MOMENT)

    def turn_away(self) -> None:
        """Nobody looks at it any more; without effect where it was answered."""
        self._decided.set()
        self._shown.wait(A_MOMENT)

    def wait(self) -> tuple[HTTPStatus, str]:
        """What to show, once that is decided."""
        self._decided.wait()
        return self._status, self._page

    def shown(self) -> None:
        """Its page is on its way, or can't be sent."""
        self._shown.set()


class _Talk(BaseHTTPRequestHandler):
    """One request of a browser, in a thread of its own."""

    server: _Listener
    timeout = A_MOMENT  # browsers connect in advance and may then say nothing

    def do_GET(self) -> None:
        """A visit for the one path, nothing for all others: `/favicon.ico`, a port scan."""
        with suppress(ValueError):  # no address at all
            asked = urlsplit(self.path)
            if asked.path == PATH:
                self._receive(Visit(asked.query))
                return
        self._show(HTTPStatus.NOT_FOUND, "There is nothing here.\n")

    def _receive(self, visit: Visit) -> None:
        try:
            self.server.receive(visit)
            self._show(*visit.wait())
        finally:
            visit.shown()

    def _show(self, status: HTTPStatus, page: str) -> None:
        kind = "html" if page.startswith("<") else "plain"
        body = page.encode()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def version_string(self) -> str:
        """What we are called; not which Python runs us."""
        return "checkinsync"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by http.server
        """Say nothing: the line asked for may hold a code."""


class _Listener(ThreadingHTTPServer):
    """Accepts connections, and ends all of them when it is closed."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.visits: queue.SimpleQueue[Visit] = queue.SimpleQueue()
        self._received: list[Visit] = []
        self._closing = Event()
        self._talks: dict[Thread, socket.socket] = {}
        super().__init__((HOST, port), _Talk)

    def server_bind(self) -> None:
        """Bind without asking the name service what we are called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]

    def receive(self, visit: Visit) -> None:
        """A visit to be looked at. Raises ConnectionAbortedError while we close."""
        self._received.append(visit)
        if self._closing.is_set():  # looked at last: whoever is not in the list by then is here
            raise ConnectionAbortedError
        self.visits.put(visit)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Talk in a thread that is known, so that closing can wait for it."""
        talk = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._talks = {known: sock for known, sock in self._talks.items() if known.is_alive()}
        self._talks[talk] = request
        talk.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up, or talks nonsense, is no matter of ours."""

    def server_close(self) -> None:
        """Stop listening, turn away who still waits, hang up on who said nothing."""
        self._closing.set()
        super().server_close()
        for visit in self._received:
            visit.turn_away()
        for talk, sock in self._talks.items():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            talk.join(A_MOMENT)


class Loopback:
    """A context manager: listens on 127.0.0.1 while it is open."""

    def __init__(self, port: int) -> None:
        """Raises SettingsError where the port can't be had."""
        try:
            self._listener = _Listener(port)
        except OSError as error:
            raise SettingsError(
                f"port {port} of 127.0.0.1 can't be used ({error.strerror}); end what holds it, or "
                "choose another with --port, and register that at Foursquare, too"
            ) from None
        self._thread = Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def visits(self, *, within: timedelta) -> Iterator[Visit]:
        """Whoever comes back, one after the other. Raises LoginFailed when the time is over."""
        deadline = time.monotonic() + within.total_seconds()
        while True:
            try:
                visit = self._listener.visits.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            yield visit
        raise nobody_came(within)


def nobody_came(within: timedelta) -> LoginFailed:
    """The time is over."""
    return LoginFailed(
        f"nobody came back from Foursquare within {written(within)}; run `checkinsync login` "
        "again, or give it more time with --timeout"
    )
