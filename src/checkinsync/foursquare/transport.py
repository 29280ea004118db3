"""One HTTP request to Foursquare: bounded in time and size, and silent about tokens.

Knows nothing of what answers mean: any status is an `Answer`, anything else is FoursquareAway.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests import PreparedRequest
from requests.auth import AuthBase

from checkinsync import __version__
from checkinsync.config import validators
from checkinsync.errors import FoursquareAway
from checkinsync.foursquare import redaction, transport_errors
from checkinsync.foursquare.responses import Answer

HEADERS: Mapping[str, str] = {
    "User-Agent": f"checkinsync/{__version__} (check-in archiver)",  # without one: the bot wall
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Accept-Language": "en",  # with another, every city, country and category would "change"
}

CHUNK = 64 * 1024
GZIP = zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how much to take."""

    connect: float = 10.0
    """Seconds to a connection; a lost first packet is sent again after 1, 3 and 7 s."""
    silence: float = 30.0
    """Seconds without a byte. A page of 250 takes Foursquare a few seconds to put together."""
    whole: float = 120.0
    """Seconds for all of one answer: a body that drips must not hold a worker for ever. Looked at
    whenever bytes come, so that an answer may take `silence` more."""
    size: int = 64 * 1024 * 1024
    """Bytes of one answer, unpacked; a page of 250 has about 430 KB."""


class _Nobody(AuthBase):
    """No token at all. Without an `auth`, `requests` would look for one in a `.netrc`."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request


class _Session(requests.Session):
    """A session that follows no redirect, nor even reads one: it would take the token along."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class Transport:
    """Gets answers from below one address; one session of connections per thread."""

    def __init__(
        self,
        url: str,
        *,
        proxies_from_environment: bool,
        patience: Patience,
        setting: str = validators.API,
    ) -> None:
        """`setting`: the name of the one that holds the address.

        Raises SettingsError where the address would give tokens away.
        """
        self._base = validators.base_url(url, setting=setting)
        self._patience = patience
        # In the clear, which is for this machine only, a proxy would carry the token elsewhere.
        self._trust_env = proxies_from_environment and self._base.startswith("https:")
        self._mine = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        redaction.install()

    def get(self, path: str, query: Mapping[str, str | int], auth: AuthBase) -> Answer:
        """The answer to `GET base/path?query`, whatever its status. Raises FoursquareAway."""
        return self._asked("GET", path, params=query, auth=auth)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """The answer to `POST base/path` with a form, sent without a token. Raises as `get`."""
        return self._asked("POST", path, data=form, auth=_Nobody())

    def _asked(self, method: str, path: str, **sent: Any) -> Answer:
        try:
            return self._answer(method, f"{self._base}/{path}", **sent)
        except transport_errors.FAULTS as fault:
            problem = transport_errors.told(fault)
        # Raised out here, so that ours has no __context__: the fault's text may hold the token.
        raise FoursquareAway(f"Foursquare can't be reached: {problem}; try again later")

    def _answer(self, method: str, url: str, **sent: Any) -> Answer:
        deadline = time.monotonic() + self._patience.whole
        timeout = (self._patience.connect, self._patience.silence)
        with self._session().request(
            method, url, timeout=timeout, stream=True, allow_redirects=False, **sent
        ) as response:
            body = self._body(response.raw, deadline)
            if response.headers.get("Content-Encoding", "").strip().lower() == "gzip":
                body = self._unpacked(body)
            return Answer(response.status_code, response.headers, body)

    def _body(self, stream: urllib3.HTTPResponse, deadline: float) -> bytes:
        """As sent. `read1` comes back with what is there; `read` would wait for a whole chunk."""
        body = bytearray()
        while chunk := stream.read1(CHUNK, decode_content=False):
            body += chunk
            if len(body) > self._patience.size:
                raise self._too_large()
            if time.monotonic() > deadline:
                raise FoursquareAway(
                    f"Foursquare's answer took longer than {self._patience.whole:g} s; "
                    "try again later"
                )
        return bytes(body)

    def _unpacked(self, body: bytes) -> bytes:
        """Unpacked here, and not while reading, so that the size is bounded before it is taken."""
        unpacker = zlib.decompressobj(GZIP)
        unpacked = unpacker.decompress(body, self._patience.size)
        if unpacker.unconsumed_tail:
            raise self._too_large()
        return unpacked

    def _too_large(self) -> FoursquareAway:
        return FoursquareAway(
            f"Foursquare's answer is larger than {self._patience.size} bytes; try again later"
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._mine.session = self._new_session()
        return session

    def _new_session(self) -> requests.Session:
        session = _Session()
        session.headers.update(HEADERS)
        session.trust_env = self._trust_env
        # One user's cookies must not go along with the next one's token.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        with self._lock:
            self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close every thread's connections; a thread that asks again gets a new session."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        self._mine = threading.local()
        for session in sessions:
            session.close()
