"""A loopback port in front of the server's socket: all who come in that way are the reader.

The server listens on no network, since its port is also the name of its socket, and by the socket
this process is its superuser. So the first message of a client is not passed on: it is read, and
written anew for the reader's role, whatever role was asked for. The server then asks for that
role's password. After that, bytes go to and fro unread.
"""

from __future__ import annotations

import select
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from checkinsync.embedded.configuration import READER
from checkinsync.embedded.server import DATABASE
from checkinsync.errors import SettingsError

LOOPBACK = "127.0.0.1"

PROTOCOL_3, CANCEL, SSL, GSS = 3 << 16, 80877102, 80877103, 80877104
"""The codes that a client's first message may have (PostgreSQL's documentation, 53.7)."""

KNOWN = frozenset({"application_name", "client_encoding", "datestyle", "timezone", "intervalstyle"})
"""Parameters of a client's first message that are passed on, in lower case."""

SHORTEST, LONGEST = 8, 10_000
"""Bytes of a first message, as PostgreSQL takes it."""

SILENCE = 60.0
"""Seconds in which a client has to send its first message."""

CHUNK = 65536


@contextmanager
def open_gateway(port: int, server: Path) -> Iterator[int]:
    """Listen on a loopback port (0: any that is free) before the server's socket; yields the port.

    Raises SettingsError where the port can't be used.
    """
    try:
        listener = _Gateway((LOOPBACK, port), _Session)
    except OSError as error:
        raise SettingsError(
            f"port {port} can't be used ({error.strerror}); choose another with --port"
        ) from None
    listener.server = str(server)
    thread = threading.Thread(target=listener.serve_forever, name="gateway", daemon=True)
    thread.start()
    try:
        yield int(listener.server_address[1])
    finally:
        listener.shutdown()
        listener.server_close()


class _Gateway(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    server = ""
    """The path of the server's socket."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away in the middle is no trouble."""


class _Session(socketserver.BaseRequestHandler):
    """One client."""

    server: _Gateway
    request: socket.socket

    def handle(self) -> None:
        """Read its first message, and connect it as the reader."""
        self.request.settimeout(SILENCE)
        first = _first_message(self.request)
        if first is None:
            return
        self.request.settimeout(None)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.connect(self.server.server)
            server.sendall(first)
            _copy(self.request, server)


def _first_message(client: socket.socket) -> bytes | None:
    """Return what the server is to receive first; None where the client is sent away."""
    while True:
        (length,) = struct.unpack("!I", _exactly(client, 4))
        if not SHORTEST <= length <= LONGEST:
            return None
        body = _exactly(client, length - 4)
        (code,) = struct.unpack("!I", body[:4])
        if code in {SSL, GSS}:
            client.sendall(b"N")  # no encryption: it never leaves the machine
        elif code == CANCEL:
            return struct.pack("!I", length) + body
        elif code >> 16 == PROTOCOL_3 >> 16:
            return startup(_parameters(body[4:]))
        else:
            return None


def startup(asked: Mapping[str, str]) -> bytes:
    """Return the first message of the reader's session, with what of the client's is passed on."""
    values = {"user": READER, "database": DATABASE}
    values |= {name: value for name, value in asked.items() if name.lower() in KNOWN}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in values.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, PROTOCOL_3) + body


def _parameters(body: bytes) -> dict[str, str]:
    words = body.decode("utf-8", "replace").split("\0")
    return dict(zip(words[::2], words[1::2], strict=False))


def _exactly(client: socket.socket, count: int) -> bytes:
    """Read so many bytes. Raises OSError where the client goes away, or is silent."""
    held = b""
    while len(held) < count:
        chunk = client.recv(count - len(held))
        if not chunk:
            raise ConnectionResetError
        held += chunk
    return held


def _copy(client: socket.socket, server: socket.socket) -> None:
    """Pass bytes on in both directions until one side ends."""
    other = {client: server, server: client}
    with suppress(OSError):
        while True:
            readable, _, _ = select.select([client, server], [], [])
            for side in readable:
                chunk = side.recv(CHUNK)
                if not chunk:
                    return
                other[side].sendall(chunk)
