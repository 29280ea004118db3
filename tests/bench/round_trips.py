"""Counts the round trips between a program and the database, by a proxy on another socket."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

READY = ord("Z")
"""The server's message that ends each answer."""


class Messages:
    """Counts the ends of answers in what a server sends."""

    def __init__(self) -> None:
        self.answers = 0
        self._held = b""

    def take(self, received: bytes) -> None:
        """Take in what has arrived; a message may come in pieces."""
        self._held += received
        at = 0
        while len(self._held) >= at + 5:
            length = 1 + int.from_bytes(self._held[at + 1 : at + 5])
            if len(self._held) < at + length:
                break
            self.answers += self._held[at] == READY
            at += length
        self._held = self._held[at:]


@contextmanager
def counting(url: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the address of a proxy, and a function that returns the round trips so far."""
    given = conninfo_to_dict(url)
    name = f".s.PGSQL.{given['port']}"
    connections: list[Messages] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(f"{given['host']}/{name}")
        messages = Messages()
        connections.append(messages)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(_pass(reader, there[1]), _pass(there[0], writer, messages.take))

    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        started = loop.run_until_complete(asyncio.start_unix_server(meet, Path(folder) / name))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            proxy = make_conninfo(url, host=folder)
            yield proxy, lambda: sum(messages.answers for messages in connections)
        finally:
            asyncio.run_coroutine_threadsafe(_end(started), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    look: Callable[[bytes], None] = lambda _: None,
) -> None:
    try:
        while received := await reader.read(2**16):
            look(received)
            writer.write(received)
            await writer.drain()
    finally:
        writer.close()
