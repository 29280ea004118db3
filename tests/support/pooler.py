"""A pooler in front of a real server, in session or transaction mode; speaks PostgreSQL's protocol.

Like pgbouncer it greets each client itself, with a made-up process id.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict

GREETINGS = {80877103, 80877104}
"""Requests for encryption (SSL and GSSAPI), sent before the startup message."""

ENDS = {b"Q", b"S"}
"""Messages of a client after which the server answers up to ReadyForQuery."""


ROWS_END = {b"c", b"f"}
"""Messages of a client that end the rows of a COPY, or break it off."""


class Pooler:
    """Listens on a loopback port; `transactional`: another server connection per transaction."""

    def __init__(self, server: str, role: str, database: str, *, transactional: bool) -> None:
        self.server, self.role, self.database = server, role, database
        self.transactional = transactional
        self.idle: list[Peer] = []
        self.peers: list[Peer] = []
        self.threads: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"postgresql://{role}@127.0.0.1:{self.port}/{database}"
        self.begin(self.accept)

    def begin(self, target: Callable[..., None], *peers: Peer) -> None:
        self.peers += peers
        self.threads.append(threading.Thread(target=target, args=peers))
        self.threads[-1].start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an answer has parts
                self.begin(self.serve, Peer(client))

    def serve(self, client: Peer) -> None:
        with suppress(OSError, EOFError):
            while struct.unpack("!i", client.startup()[:4])[0] in GREETINGS:
                client.send(b"N")
            server, greeting = self.connected()
            client.send(greeting)
            self.idle.append(server)
            held: Peer | None = None
            while True:
                request = client.request()
                held = held or (self.idle.pop() if self.idle else self.connected()[0])
                held.send(request)
                ready, state = client.relay(held)
                if state == b"I" and self.transactional:
                    self.idle.append(held)
                    held = None
                client.send(ready)

    def connected(self) -> tuple[Peer, bytes]:
        """Open a connection to the server; return it and its greeting, with another process id."""
        peer = Peer(socket.socket(socket.AF_UNIX))
        self.peers.append(peer)
        peer.socket.connect(f"{self.server}/.s.PGSQL.5432")
        words = b"".join(f"{w}\0".encode() for w in ("user", self.role, "database", self.database))
        message = struct.pack("!i", 196608) + words + b"\0"
        peer.send(struct.pack("!i", len(message) + 4) + message)
        said = []
        while not said or said[-1][:1] != b"Z":
            kind, body = peer.message()
            if kind == b"K":
                body = body[:4] + struct.pack("!ii", 2**30, 0)
            said.append(kind + body)
        return peer, b"".join(said)

    def close(self) -> None:
        """Close all connections and threads."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join()
        self.listener.close()
        for peer in self.peers:
            with suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for peer in self.peers:
            peer.stream.close()
            peer.socket.close()


class Peer:
    """A connection to a client or a server that sends and receives whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.stream = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def startup(self) -> bytes:
        return self.take(struct.unpack("!i", self.take(4))[0] - 4)

    def message(self) -> tuple[bytes, bytes]:
        """Receive a message; return its kind, and its length together with its body."""
        kind, length = self.take(1), self.take(4)
        return kind, length + self.take(struct.unpack("!i", length)[0] - 4)

    def request(self) -> bytes:
        """Receive what a client sends until it waits for an answer."""
        said = b""
        while True:
            kind, body = self.message()
            if kind == b"X":
                raise EOFError
            said += kind + body
            if kind in ENDS:
                return said

    def pass_rows_to(self, server: Peer) -> None:
        """Pass on rows, to their end."""
        kind = b""
        while kind not in ROWS_END:
            kind, body = self.message()
            server.send(kind + body)

    def relay(self, server: Peer) -> tuple[bytes, bytes]:
        """Pass on an answer; return its last message, after which the client goes on, and the
        server's state: `I` outside a transaction."""
        while True:
            kind, body = server.message()
            if kind == b"Z":
                return kind + body, body[4:]
            if kind == b"G":  # COPY: the server waits for rows
                self.send(kind + body)
                self.pass_rows_to(server)
                continue
            self.send(kind + body)


@contextmanager
def pooled(url: str, *, transactional: bool) -> Iterator[str]:
    """Run a pooler in front of the database at `url` (a local socket); yield its address."""
    at = conninfo_to_dict(url)
    pooler = Pooler(at["host"], at["user"], at["dbname"], transactional=transactional)
    try:
        yield pooler.url
    finally:
        pooler.close()
