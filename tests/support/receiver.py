"""A web server that takes notices, and does with them what a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Taken:
    """A request."""

    path: str
    query: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Keeps all requests, answers with `status`, and with nothing before `answers` is set."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                receiver.taken.append(Taken(parts.path, query, body))
                receiver.answers.wait(60)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def paths(self, below: str = "/") -> list[str]:
        """The paths of the requests, in their order."""
        return [taken.path for taken in self.taken if taken.path.startswith(below)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver; no request of it outlives the block."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.answers.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
