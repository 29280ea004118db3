"""HTTP as it goes over the socket: answers sent slowly, cut off, or not at all, if so wished."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Event, Thread
from typing import Any

from checkinsync.simulator.answers import Answer
from checkinsync.simulator.seen import Request

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, with no time to linger: closing sends RST instead of FIN."""


class Talk(BaseHTTPRequestHandler):
    """One connection; many requests follow each other on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def talk(self) -> None:
        """Answer one request, whatever its method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request.of(self.command, self.path, dict(self.headers.items()), body)
        answer = self.server.answer(request)
        if answer.reset:
            self._reset()
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = talk  # noqa: N815 (named by http.server)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (named by http.server)
        """Say nothing: the server keeps its own log."""

    def _send(self, answer: Answer) -> None:
        for status in answer.preliminary:
            self.wfile.write(f"HTTP/1.1 {status} Preliminary\r\nLink: <x>\r\n\r\n".encode())
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) + answer.missing))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.delay:
            self._send_slowly(answer)
        else:
            self.wfile.write(answer.body)
        if answer.missing:
            self.close_connection = True

    def _send_slowly(self, answer: Answer) -> None:
        size = max(1, -(-len(answer.body) // answer.pieces))
        for start in range(0, len(answer.body), size):
            if start and self.server.closing.wait(answer.delay / (answer.pieces - 1)):
                return
            self.wfile.write(answer.body[start : start + size])

    def _reset(self) -> None:
        """Close at once: the orderly way, at the end of the thread, would send FIN before RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        os.close(self.connection.detach())
        self.close_connection = True


class Listener(ThreadingHTTPServer):
    """Accepts connections, each in a thread, and ends them all when it is closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.closing = Event()
        self.problems: list[BaseException] = []
        self._talks: dict[Thread, socket.socket] = {}
        super().__init__(address, Talk)

    def server_bind(self) -> None:
        """Bind without asking the name service what we are called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Talk in a thread that is known, so that closing can wait for it."""
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._talks = {talk: sock for talk, sock in self._talks.items() if talk.is_alive()}
        self._talks[thread] = request
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up; anything else is remembered and raised when we are closed."""
        problem = sys.exception()
        if problem and not isinstance(problem, ConnectionError):
            self.problems.append(problem)

    def server_close(self) -> None:
        """Stop listening, close all connections, and wait for the threads."""
        self.closing.set()
        super().server_close()
        for thread, sock in self._talks.items():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join(5)
