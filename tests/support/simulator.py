"""Plain requests to the simulator for its own tests, without the importer's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from checkinsync.simulator.server import Server

CHECKINS = "users/self/checkins"


class Caller:
    """One client with one token, sent in the query unless a call says otherwise."""

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self.token = token
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str = CHECKINS, **params: Any) -> requests.Response:
        """GET with a good `v` and the token; parameters of None are left out."""
        sent = {"v": "20240101", "oauth_token": self.token, **params}
        return self.session.get(f"{self.server.url}/{path}", params=sent, timeout=10)

    def by_header(self, path: str = CHECKINS, *, token: str | None = None) -> requests.Response:
        """GET with the token in the header."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.session.get(
            f"{self.server.url}/{path}", params={"v": "20240101"}, headers=headers, timeout=10
        )

    def ids(self, **params: Any) -> list[str]:
        """Return the ids on a page."""
        return [item["id"] for item in self.checkins(**params)["items"]]

    def checkins(self, **params: Any) -> Any:
        """Return `response.checkins` of a page."""
        return self.get(**params).json()["response"]["checkins"]

    def walk(self, limit: int = 250) -> list[str]:
        """Return all ids, page by page, until a page is empty."""
        found: list[str] = []
        offset = 0
        while page := self.ids(limit=limit, offset=offset):
            found += page
            offset += limit
        return found


@contextmanager
def calling(server: Server, token: str) -> Iterator[Caller]:
    """Yield a caller; close its connections in the end."""
    caller = Caller(server, token)
    with caller.session:
        yield caller


def error_of(response: requests.Response) -> tuple[int, int, str]:
    """Return HTTP status, `meta.code` and `meta.errorType` of a refusal."""
    meta = response.json()["meta"]
    return response.status_code, meta["code"], meta["errorType"]
