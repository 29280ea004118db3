"""A simulated Foursquare at an address: a world, its switches and its faults, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock, Thread
from types import TracebackType

from checkinsync.simulator import control, listing
from checkinsync.simulator.answers import Answer
from checkinsync.simulator.api import Api
from checkinsync.simulator.faults import Fault, Faults, spoil
from checkinsync.simulator.oauth import Client, OAuth
from checkinsync.simulator.seen import Request, Seen
from checkinsync.simulator.switches import Switches
from checkinsync.simulator.wire import Listener
from checkinsync.simulator.world import Rejection, World

__all__ = ["Client", "Fault", "Seen", "Server", "Switches"]


class Server:
    """A context manager: listens while it is open.

    `now` (Unix seconds) is the clock of the limits and of the log. `on_request` is called, under
    `lock`, when an answer has been made and before it is sent: what it changes is seen by the next
    request. Code that changes the world from elsewhere while requests are under way takes `lock`.
    """

    def __init__(
        self,
        world: World,
        switches: Switches | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], float] = time.time,
        on_request: Callable[[Seen], object] | None = None,
        client: Client | None = None,
    ) -> None:
        self.world = world
        self.switches = switches or Switches()
        self.faults = Faults()
        self.client = client or Client()
        self.on_request = on_request
        self.requests: list[Seen] = []
        self.lock = RLock()
        self._now = now
        self._api = Api(world, self.switches)
        self._oauth = OAuth(world, self.switches, self.client)
        self._control = control.Control(world, self.switches, self.faults, self.requests)
        self._listener = Listener((host, port), self.answer)
        self._address = f"http://{host}:{self._listener.server_port}"
        self._thread = Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The API's base address, as `https://api.foursquare.com/v2`."""
        return f"{self._address}/v2"

    @property
    def oauth_url(self) -> str:
        """The base address of the login, as `https://foursquare.com/oauth2`."""
        return f"{self._address}/oauth2"

    @property
    def control_url(self) -> str:
        """The base address by which another process steers; see `control`."""
        return f"{self._address}/simulator"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if error is None and self._listener.problems:
            raise self._listener.problems[0]

    def close(self) -> None:
        """Stop, and close all connections."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.server_close()

    def wait(self) -> None:
        """Block until another thread closes the server, or an interrupt comes."""
        self._thread.join()

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; one request at a time."""
        with self.lock:
            if request.path.startswith(control.PREFIX) and not request.api:
                return self._control.answer(request)
            now = self._now()
            answer = self._decide(request, now)
            seen = Seen.of(request, status=0 if answer.reset else answer.status, at=now)
            self.requests.append(seen)
            if self.on_request:
                self.on_request(seen)
            return answer

    def fail(self, *faults: Fault) -> None:
        """Let these faults strike the requests that they fit."""
        with self.lock:
            self.faults.add(*faults)

    def revoke(self, token: str, error_type: Rejection = "invalid_auth") -> None:
        """Let the API reject a token from now on."""
        with self.lock:
            self.world.revoke(token, error_type)

    def shown_ids(self, token: str) -> list[str]:
        """Return the ids of all check-ins that can be fetched, newest first: the truth."""
        with self.lock:
            entries = self.world.accounts[token].newest_first()
            return [entry.id for entry in entries if not listing.hidden(entry, self.switches)]

    def _decide(self, request: Request, now: float) -> Answer:
        if request.api or not request.path.startswith("oauth2/"):
            answer = self._api.answer(request, now=now)
        else:
            answer = self._oauth.answer(request)
        fault = self.faults.striking(request)
        return spoil(answer, fault, switches=self.switches, now=now) if fault else answer
