"""Real web servers in threads, serving minimal applications behind the middleware."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
import uvicorn
import waitress
from waitress import wasyncore

from checkinsync.web import AsyncTokenAuth, TokenAuth, middleware
from support.factories import NOW

PATIENCE = 30.0
"""Seconds for a server to start or stop."""


def answer(user: middleware.WebUser | None) -> bytes:
    """Return the applications' answer: the user of the request."""
    return json.dumps(None if user is None else dataclasses.asdict(user)).encode()


def wsgi_page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The WSGI application."""
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Reached", "yes")])
    return [answer(environ[middleware.USER])]


async def asgi_page(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json"), (b"x-reached", b"yes")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer(scope[middleware.USER])})
    elif scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            await send({"type": f"lifespan.{event}.complete"})
    else:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": answer(scope[middleware.USER]).decode()})
        await send({"type": "websocket.close"})


@dataclass
class Site:
    """An application behind the middleware, by its address."""

    kind: str
    at: datetime = NOW
    """The time as the middleware sees it."""
    url: str = ""
    open_ones: ExitStack = field(default_factory=ExitStack)

    def serve(self, url: str, *, threads: int = 8, **more: Any) -> Site:
        """Start the server, on this database."""
        more.setdefault("now", lambda: self.at)
        if self.kind == "wsgi":
            app = TokenAuth(wsgi_page, url=url, **more)
            self.open_ones.callback(app.close)
            serving = waitress_serving(app, threads=threads)
        else:
            serving = uvicorn_serving(AsyncTokenAuth(asgi_page, url=url, **more))
        self.url = self.open_ones.enter_context(serving)
        return self

    def get(self, path: str = "/", *, method: str = "GET", **headers: str) -> requests.Response:
        """Send a request on a connection of its own."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, headers=named, timeout=30)

    def ask(self, path: str = "/", **headers: str) -> tuple[int, bool, Any]:
        """Return the status, True if the application was reached, and the answer."""
        told = self.get(path, **headers)
        assert told.headers["Content-Type"] == "application/json"
        return told.status_code, "X-Reached" in told.headers, told.json()


@contextmanager
def waitress_serving(app: Any, *, threads: int = 8) -> Iterator[str]:
    """Serve a WSGI application; yields its address."""
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=threads)
    with _running(server.run):
        try:
            yield f"http://127.0.0.1:{server.effective_port}"
        finally:
            server.task_dispatcher.shutdown()  # first: its threads may still use the trigger
            with suppress(OSError):  # if awake already, it may close everything earlier
                server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))


@contextmanager
def uvicorn_serving(app: Any, *, lifespan: Any = "auto") -> Iterator[str]:
    """Serve an ASGI application; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan=lifespan)
    )
    with _running(server.run) as thread:
        end = time.monotonic() + PATIENCE
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < end, "the server did not start in time"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True


@contextmanager
def _running(run: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive(), "the server did not stop"
