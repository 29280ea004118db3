"""A server of one history, rendered beforehand, for any token: it has next to nothing to do.

`python -m bench.pages COUNT SPACING LATENCY`: prints its address and serves until its standard
input ends. Knows the paging parameters of the API (`limit`, `offset`, `sort=newestfirst`,
`afterTimestamp`, `beforeTimestamp`); `LATENCY` is in seconds for each request.
"""

from __future__ import annotations

import asyncio
import bisect
import re
import sys
import time
from urllib.parse import parse_qs, urlsplit

from bench import data

LIMIT = 250
REQUEST = re.compile(rb"GET (\S+) HTTP/1\.1\r\n")
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"X-RateLimit-Limit: 500\r\nX-RateLimit-Remaining: 499\r\nContent-Length: %d\r\n\r\n"
)
META = b'{"meta":{"code":200,"requestId":"5f0000000000000000000000"},"response":%b}'
USER = (
    b'{"user":{"id":"1","firstName":"Ada","lastName":"Lovelace","photo":{"prefix":"https://'
    b'fastly.4sqi.net/img/user/","suffix":"/1.jpg"},"checkins":{"count":%d,"items":[]}}}'
)


class History:
    """All answers there are, by their request."""

    def __init__(self, count: int, spacing: int) -> None:
        midnight = int(time.time()) // 86_400 * 86_400
        self.items = list(data.items(count, newest=midnight, spacing=spacing))
        self.times = [-int(re.search(rb'"createdAt":(\d+)', item)[1]) for item in self.items]
        self._known: dict[bytes, bytes] = {}
        for offset in range(0, count, LIMIT):
            self.answer(b"/v2/users/self/checkins?limit=250&offset=%d" % offset)

    def answer(self, target: bytes) -> bytes:
        """Return the whole answer to a request; each is rendered once."""
        url = urlsplit(target.decode())
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = b"".join(
            b"%s=%s;" % (name.encode(), query[name].encode())
            for name in ("limit", "offset", "afterTimestamp", "beforeTimestamp")
            if name in query
        )
        if not url.path.endswith("/checkins"):
            return self._whole(USER % len(self.items))
        if key not in self._known:
            self._known[key] = self._whole(self._page(query))
        return self._known[key]

    def _page(self, query: dict[str, str]) -> bytes:
        first, last = 0, len(self.items)
        if "beforeTimestamp" in query:
            first = bisect.bisect_right(self.times, -int(query["beforeTimestamp"]))
        if "afterTimestamp" in query:
            last = bisect.bisect_left(self.times, -int(query["afterTimestamp"]))
        first += int(query.get("offset", 0))
        last = min(last, first + min(int(query.get("limit", 20)), LIMIT))
        page = b",".join(self.items[first:last])
        return b'{"checkins":{"count":%d,"items":[%b]}}' % (len(self.items), page)

    @staticmethod
    def _whole(response: bytes) -> bytes:
        body = META % response
        return HEAD % len(body) + body


class Connection(asyncio.Protocol):
    """One client, whose requests are answered one after the other."""

    def __init__(self, history: History, latency: float) -> None:
        self._history, self._latency = history, latency
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while b"\r\n\r\n" in self._held:
            head, _, self._held = self._held.partition(b"\r\n\r\n")
            asked = REQUEST.match(head + b"\r\n")
            assert asked, head
            answer = self._history.answer(asked[1])
            if self._latency:
                loop = asyncio.get_running_loop()
                loop.call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def serve(history: History, latency: float) -> None:
    """Print the address and serve."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(history, latency), "127.0.0.1", 0, backlog=256
    )
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}/v2", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(History(int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3])))
