"""Sockets that answer with whatever bytes a test has for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Serves fixed bytes, one answer per connection, piece by piece; gives the address."""
    ends: list[Callable[[], None]] = []

    def serve(*answers: bytes | list[bytes]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        hung_up = threading.Event()

        def talk() -> None:
            for answer in answers:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    for piece in [answer] if isinstance(answer, bytes) else answer:
                        try:
                            peer.sendall(piece)
                        except OSError:
                            break
                        if not isinstance(answer, bytes) and hung_up.wait(0.02):
                            break

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()

        def end() -> None:
            hung_up.set()
            thread.join(5)
            listener.close()

        ends.append(end)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v2"

    yield serve
    for end in ends:
        end()
