"""Foursquare's check-in API: pages of check-ins, and the user of a token. Stores nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import tenacity

from checkinsync.config import validators
from checkinsync.errors import FoursquareAway, RequestRefused
from checkinsync.foursquare import auth, limits, parse, responses
from checkinsync.foursquare.responses import CredentialsNotSeen, InvalidAuth
from checkinsync.model.checkin import Item
from checkinsync.model.listing import Page
from checkinsync.model.user import Profile
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.foursquare.transport import Transport

T = TypeVar("T")

log = logging.getLogger(__name__)

ALWAYS: Mapping[str, str] = {
    "v": "20240601",  # pinned: the API's form of that day; required
    "locale": "en",  # the language of cities, countries and categories must not change
}

FAULTY = 500
"""From this HTTP status on the error is Foursquare's own."""

NO_SUCH_ID = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}
"""Statuses of a `param_error` that speaks about the id asked for: the same request without one
was answered just before, so that nothing else in it is wrong."""

PAGES = "users/"
"""The group of endpoints that pages come from."""

TRIES = 3
"""Requests in all where the service fails; longer waits are the run's business."""

WAITS = tenacity.wait_exponential(multiplier=0.5) + tenacity.wait_random(0, 0.25)
"""Seconds: 0.5, then 1, and a little more by chance, so that workers don't retry together."""


class Foursquare:
    """The part of the API's client that all threads share: address, connections, the way that
    worked."""

    def __init__(
        self,
        *,
        api_url: str,
        token_in: str,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
        remembered_way: str | None = None,
        proxies_from_environment: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        """`token_in`: `auto`, `header` or `query`; `remembered_way`: an earlier `token_way`;
        `ca_file`: certificates to trust instead of the usual ones.

        `sleep` takes seconds and may raise, which ends the request; `now` is aware, UTC.
        Raises SettingsError.
        """
        self._lock = threading.Lock()
        self._opened: Transport | None = None
        self._connect = partial(
            _transport,
            validators.base_url(api_url),
            proxies_from_environment=proxies_from_environment,
            ca_file=ca_file,
        )
        if ca_file is not None:
            self._opened = self._connect()
        self.ways = auth.TokenPlacement(token_in, remembered_way)
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(FoursquareAway),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=WAITS,
            sleep=sleep,
            reraise=True,
        )
        """Asks again while the service fails; what it knows of an attempt is its thread's."""
        self.now = now
        self._requests = 0
        self.heard: tuple[datetime, datetime, datetime] | None = None
        """Foursquare's clock as its last answer told it, and ours before and after; aware, UTC."""
        self._told_of: set[str] = set()

    @property
    def transport(self) -> Transport:
        """The connections; HTTP is loaded with the first request, so that a night with nobody due
        does without."""
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    @property
    def token_way(self) -> str | None:
        """The way in which tokens were sent for check-ins when it worked: `header`, `query`; None:
        not yet known."""
        return self.ways.worked.get(auth.CHECKINS)

    @property
    def requests(self) -> int:
        """HTTP requests sent for all users, retries included."""
        return self._requests

    def user_client(self, token: str, *, defer_retry: bool = False) -> UserClient:
        """Return the client of one user. Raises TokenUnreadable where the token can't be one.

        `defer_retry`: where no way of sending tokens is known yet, a token that is refused in one
        way is not sent in the other at once: other users may show which way works, and spare a
        request.
        """
        return UserClient(self, auth.sendable(token), defer_retry=defer_retry)

    def count(self, client: UserClient) -> None:
        """Count one more request, of this user."""
        with self._lock:
            self._requests += 1
            client.requests += 1

    def tell_once(self, subject: str, notice: str) -> None:
        """Log a warning the first time there is one on this subject."""
        with self._lock:
            known = subject in self._told_of
            self._told_of.add(subject)
        if not known:
            log.warning(notice)

    def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            self._opened.close()


def _transport(url: str, *, proxies_from_environment: bool, ca_file: Path | None) -> Transport:
    with signals_deferred():
        from checkinsync.foursquare.transport import Transport  # noqa: PLC0415 - loads HTTP

    return Transport(url, proxies_from_environment=proxies_from_environment, ca_file=ca_file)


class UserClient:
    """The client bound to one user's token."""

    def __init__(self, foursquare: Foursquare, token: str, *, defer_retry: bool = False) -> None:
        self._foursquare = foursquare
        self._token = token
        self._defer_retry = defer_retry
        self.requests = 0
        """HTTP requests sent, retries included."""
        self.answered = False
        """True once any of them had an answer that is Foursquare's and not a 5xx."""
        self.remaining: int | None = None
        """`X-RateLimit-Remaining` as last seen: requests for pages left in this moving hour. Each
        top-level group of endpoints has an hour of its own."""

    def __repr__(self) -> str:
        return f"<UserClient: {self.requests} requests>"

    @property
    def token_way(self) -> str | None:
        """See `Foursquare.token_way`."""
        return self._foursquare.token_way

    def page(self, *, offset: int, limit: int) -> Page:
        """Return the user's check-ins from `offset` on, at most `limit` (250 is the API's most).

        Newest first is asked for; the caller has to check the order. The time filters are never
        sent: behind them the end of the window can't be told from a short page.
        Raises TokenRejected, AccountSuspended, RateLimited, QuotaExceeded, PlanExhausted,
        RequestRefused, ApiGone, FoursquareAway, CertificateRejected.
        """
        query: dict[str, str | int] = {"limit": limit, "offset": offset, "sort": "newestfirst"}
        return self._ask(
            auth.CHECKINS,
            query,
            lambda response: parse.page(response, offset=offset, limit=limit),
        )

    def checkin(self, checkin_id: str) -> Item | None:
        """Return one check-in by its id; None: Foursquare says that there is none.

        Source: documented; an unknown or deleted one is answered by 400 `param_error`.
        Raises as `page` does; RequestRefused, or ApiGone, where the endpoint does not exist.
        """
        path = f"checkins/{quote(checkin_id, safe='')}"
        try:
            return self._ask(path, {}, parse.one_checkin, way_of="checkins")
        except RequestRefused as refusal:
            if refusal.error_type == "param_error" and refusal.status in NO_SUCH_ID:
                return None
            raise

    def who_is(self) -> Profile:
        """Return the user that the token belongs to. Raises as `page` does."""
        return self._ask("users/self", {}, parse.profile)

    def _ask(
        self,
        path: str,
        query: Mapping[str, str | int],
        read: Callable[[bytes], T],
        *,
        way_of: str | None = None,
    ) -> T:
        """Ask in the way that works; where none is known, the header first, once the query.

        `way_of`: the endpoint whose way it is, where the path is not its name.
        """
        ways, endpoint = self._foursquare.ways, way_of or path
        refusals: list[InvalidAuth | CredentialsNotSeen] = []
        for way in ways.candidates(endpoint, self._token):
            try:
                value = self._persist(path, query, way, read)
            except (InvalidAuth, CredentialsNotSeen) as refusal:
                refusals.append(refusal)
                if ways.is_final(endpoint, refusal):
                    break
                if self._is_left_to_others(endpoint, way, refusal):
                    raise
            else:
                ways.remember(endpoint, way)
                return value
        if (endpoint, self._token) in ways.doubted:  # refused in the header before, now for good
            raise InvalidAuth(responses.REJECTED.format(words=""))
        raise worst(refusals)

    def _is_left_to_others(self, path: str, way: auth.Way, refusal: Exception) -> bool:
        """Return True if other users are to show whether the way or the token is at fault."""
        if not self._defer_retry or way != "header" or not isinstance(refusal, InvalidAuth):
            return False
        refusal.sure = not self._foursquare.ways.may_be_placement(path, self._token)
        return not refusal.sure

    def _persist(
        self, path: str, query: Mapping[str, str | int], way: auth.Way, read: Callable[[bytes], T]
    ) -> T:
        """Ask again while the service fails, a few times within seconds."""
        return self._foursquare.retrying(lambda: read(self._response(path, query, way)))

    def _response(self, path: str, query: Mapping[str, str | int], way: auth.Way) -> bytes:
        """One request, one answer, its `response`; or the error that the answer means."""
        self._foursquare.count(self)
        headers, token = auth.placed(self._token, way)
        before = self._foursquare.now()
        answer = self._foursquare.transport.get(path, {**ALWAYS, **query, **token}, headers)
        if (theirs := limits.date(answer.headers)) is not None:
            self._foursquare.heard = (theirs, before, self._foursquare.now())
        remaining = limits.remaining(answer.headers)
        if remaining is not None and path.startswith(PAGES):
            self.remaining = remaining
        now = self._foursquare.now()
        envelope = responses.opened(answer, token=self._token, now=now)
        self.answered = self.answered or answer.status < FAULTY
        response = responses.response(answer, envelope, now=now)
        if envelope.error_type is not None:
            self._foursquare.tell_once(
                envelope.name_of_error,
                f"Foursquare answers {path} with a warning: {envelope.name_of_error}"
                f"{envelope.detail}; the answer is used all the same",
            )
        return response


def worst(
    refusals: list[InvalidAuth | CredentialsNotSeen],
) -> InvalidAuth | CredentialsNotSeen:
    """Return what the refusals of all ways mean: one about the token outweighs "not seen"."""
    about_token = [refusal for refusal in refusals if isinstance(refusal, InvalidAuth)]
    return (about_token or refusals)[-1]
