"""The API's three endpoints, and everything by which it refuses a request; no sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checkinsync.simulator import listing
from checkinsync.simulator.answers import (
    Answer,
    ApiError,
    compact,
    enveloped,
    html,
    param_error,
    refused,
)
from checkinsync.simulator.history import Account, Entry
from checkinsync.simulator.limits import Limits
from checkinsync.simulator.seen import Request
from checkinsync.simulator.switches import Switches
from checkinsync.simulator.venues import Json
from checkinsync.simulator.world import World

OLDEST_VERSION = 20120609
"""A `v` up to this day is refused (documented)."""

DRIFTING = (
    ("stats", "checkinsCount", 3),
    ("stats", "usersCount", 1),
    ("beenHere", "count", 1),
)
"""Counters of a venue that move on, and by how much at a time."""

LIBRARIES = ("python-", "curl/", "Wget/", "Go-http-client")
"""Beginnings of a `User-Agent` that is a library's own."""


class Api:
    """Decides the answer to a request below `/v2/`."""

    def __init__(self, world: World, switches: Switches) -> None:
        self._world = world
        self._switches = switches
        self._limits = Limits(switches)
        self._answered = 0

    def answer(self, request: Request, *, now: float) -> Answer:
        """Return the answer, good or bad; counts towards the limits of the token."""
        self._answered += 1
        if self._switches.bot_wall and _is_library(request.headers.get("user-agent", "")):
            return html(403, "<h1>Access denied</h1>")
        try:
            return self._good(request, now)
        except ApiError as error:
            return refused(error, request_id=None if self._switches.bare else self._request_id)

    def _good(self, request: Request, now: float) -> Answer:
        endpoint, group = self._endpoint(request)
        if request.method != "GET":
            raise param_error("Method not allowed", status=405)
        _check_version(request.params.get("v", ""))
        account = self._account(request)
        headers = self._limits.let_through(account.token, group, now=now)
        response = endpoint(account, request)
        if self._switches.drift:
            self._world.drift()
        return enveloped(response, meta=self._meta(), headers=headers, bare=self._switches.bare)

    def _endpoint(self, request: Request) -> tuple[Callable[[Account, Request], bytes], str]:
        """The function that answers a path, and the group whose limit it counts for."""
        match request.path.split("/") if request.api else []:
            case ["users", "self"]:
                return self._user, "users"
            case ["users", "self", "checkins"]:
                return self._checkins, "users"
            case ["checkins", _] if self._switches.checkin_by_id:
                return self._checkin, "checkins"
        raise ApiError(404, "endpoint_error", f"No matching endpoint: {request.path}")

    def _account(self, request: Request) -> Account:
        """The account whose token came in a way that is accepted."""
        accepted = self._switches.token_in
        way = next((way for way in request.tokens if accepted in ("both", way)), None)
        if way is None:
            raise ApiError(400, "invalid_auth", "Missing access credentials.")
        token = request.tokens[way]
        if self._world.revoked.get(token) == "not_authorized":
            raise ApiError(403, "not_authorized", "The user has revoked your access.")
        if token in self._world.revoked or token not in self._world.accounts:
            raise ApiError(401, "invalid_auth", "OAuth token invalid or revoked.")
        return self._world.accounts[token]

    def _user(self, account: Account, _: Request) -> bytes:
        newest = [entry.item for entry in account.newest_first()[:1]]
        checkins = {"count": len(account.entries), "items": newest}
        return compact({"user": profile(account) | {"checkins": checkins}})

    def _checkins(self, account: Account, request: Request) -> bytes:
        listed = listing.page(account, listing.Query.of(request.params), self._switches)
        items = b",".join(self._encoded(entry) for entry in listed.entries)
        return b'{"checkins":{"count":%d,"items":[%b]}}' % (listed.count, items)

    def _checkin(self, account: Account, request: Request) -> bytes:
        entry = account.entry(request.path.removeprefix("checkins/"))
        if entry is None or listing.hidden(entry, self._switches):
            raise param_error("Invalid checkin id")
        return b'{"checkin":%b}' % self._encoded(entry)

    def _encoded(self, entry: Entry) -> bytes:
        if not self._world.drifted:
            return entry.encoded
        return compact(drifted(entry.item, self._world.drifted))

    def _meta(self) -> Json:
        meta: Json = {"code": 200}
        if not self._switches.bare:
            meta["requestId"] = self._request_id
        if self._switches.deprecated:
            meta["errorType"] = "deprecated"
            meta["errorDetail"] = "Please provide a more recent version parameter."
        return meta

    @property
    def _request_id(self) -> str:
        return f"{self._world.seed:08x}{self._answered:016x}"


def profile(account: Account) -> Json:
    """Return a user as `users/self` shows them, with much that should not be stored."""
    named = {"lastName": account.last_name} if account.last_name is not None else {}
    return {
        "id": account.user_id,
        "firstName": account.first_name,
        **named,
        "gender": "none",
        "relationship": "self",
        "photo": {"prefix": "https://fastly.4sqi.net/img/user/", "suffix": "/blank_boy.png"},
        "birthday": 496_108_800,
        "homeCity": "Berlin, Germany",
        "bio": "",
        "contact": {"email": f"user{account.user_id}@example.org", "verifiedPhone": "false"},
        "friends": {"count": 2, "groups": []},
        "createdAt": 1_262_304_000,
    }


def drifted(item: Any, times: int) -> Any:
    """Return the item with its venue's counters moved on so many times."""
    venue = (item.get("venue") if isinstance(item, dict) else None) or {}
    for part, counter, step in DRIFTING:
        counters = venue.get(part, {})
        if counter in counters:
            counters[counter] += step * times
    return item


def _check_version(v: str) -> None:
    if not (v.isascii() and v.isdigit() and len(v) == 8) or int(v) <= OLDEST_VERSION:
        detail = "The Foursquare API no longer supports requests without a recent v parameter."
        raise param_error(detail, status=410)


def _is_library(agent: str) -> bool:
    return not agent or agent.startswith(LIBRARIES)
