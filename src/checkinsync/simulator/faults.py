"""Faults: the requests that are to go wrong, and how a good answer is spoilt."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from checkinsync.simulator.answers import (
    HTML,
    Answer,
    ApiError,
    as_json,
    compact,
    html,
    redirect,
    refused,
)
from checkinsync.simulator.limits import quota_exceeded, rate_limit_exceeded
from checkinsync.simulator.seen import Request
from checkinsync.simulator.switches import Switches

Kind = Literal[
    "server_error",  # 500 in an envelope
    "bad_gateway",  # 502 with HTML
    "html",  # 200 with HTML
    "html_401",  # of a proxy
    "html_403",  # of a bot wall
    "cut_json",  # half of the body, announced as all of it
    "cut_transfer",  # half of the body, then the connection ends
    "empty",  # 200 with an empty body
    "slow",  # half of the body, the rest after `seconds`
    "trickle",  # the body in twenty pieces over `seconds`
    "reset",  # the connection is reset
    "items_missing",  # 200, the list without its items
    "error_in_200",  # HTTP 200 with an error in the envelope
    "rate_limit_exceeded",  # 403, reset in `seconds`
    "not_authorized",  # 403
    "invalid_auth",  # 401
    "quota_exceeded",  # 429
    "no_endpoint",  # 404 endpoint_error
    "limit_unnamed",  # 403 with an empty body; headers say that nothing is left until `seconds`
    "credits_exhausted",  # 402: the application's plan is used up
    "credits_message",  # 429 as the newer gateway says it, without an envelope
    "user_suspended",  # 403
    "application_suspended",  # 403
    "gone",  # 410 deprecated, with an empty response
    "gone_html",  # 410 with HTML
    "redirect",  # 302 to the address in `body`
    "early_hints",  # 103 before the answer
    "latin_1",  # the whole body in ISO-8859-1, where it has to be UTF-8
    "latin_1_item",  # the first item of the page alone
    "gzip",  # packed
    "gzip_members",  # packed in three members, one behind the other
    "x_gzip",  # packed, under the old name
    "deflate",  # packed by zlib
    "deflate_raw",  # packed by deflate without zlib's header
    "gzip_damaged",  # called packed, and not
    "says",  # `body` with `status` and `headers`, whatever was asked
]


REQUEST_ID = "0" * 24
"""The `requestId` of an answer that was spoilt."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it strikes the `nth` request that fits, and the next ones, `times` in all.

    Conditions left at None fit every request; requests are counted from when the fault is added.
    """

    kind: Kind
    token: str | None = None
    path: str | None = None
    """`users/self/checkins`, `users/self`, `oauth2/access_token`, …"""
    offset: int | None = None
    nth: int = 1
    times: int | None = 1
    """None: from the `nth` request on for ever."""
    seconds: float = 0.0
    """Time for a slow answer, or until the reset."""
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """Said instead of the good answer by `says`; a `Content-Type` replaces that of JSON."""

    def fits(self, request: Request) -> bool:
        """Return True if a request meets all conditions."""
        offset = request.params.get("offset", "0")
        return (
            self.token in (None, request.token)
            and self.path in (None, request.path)
            and (self.offset is None or offset == str(self.offset))
        )

    def strikes(self, nth: int) -> bool:
        """Return True if the nth request that fits is struck."""
        return nth >= self.nth and (self.times is None or nth < self.nth + self.times)


@dataclass
class Faults:
    """All faults that wait for their request; of several that strike, the first one shows."""

    waiting: list[Fault] = field(default_factory=list)
    _fitted: list[int] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        """Let these strike, too."""
        self.waiting += faults
        self._fitted += [0] * len(faults)

    def clear(self) -> None:
        """Let nothing strike any more."""
        self.waiting.clear()
        self._fitted.clear()

    def striking(self, request: Request) -> Fault | None:
        """Return the fault that strikes this request; counts the request for all that it fits."""
        struck = None
        for number, fault in enumerate(self.waiting):
            if fault.fits(request):
                self._fitted[number] += 1
                if struck is None and fault.strikes(self._fitted[number]):
                    struck = fault
        return struck


def spoil(answer: Answer, fault: Fault, *, switches: Switches, now: float) -> Answer:
    """Return what goes back instead of a good answer."""
    if fault.kind in LIMITED:
        error = rate_limit_exceeded(switches, reset=now + fault.seconds, now=now)
        refusal = refused(error, request_id=REQUEST_ID)
        return refusal if fault.kind == "rate_limit_exceeded" else replace(refusal, body=b"")
    return SPOILT[fault.kind](answer, fault)


def _cut_transfer(answer: Answer, _: Fault) -> Answer:
    half = len(answer.body) // 2
    return replace(answer, body=answer.body[:half], missing=len(answer.body) - half)


def _items_missing(answer: Answer, _: Fault) -> Answer:
    if answer.content_type == HTML:
        return answer
    whole = json.loads(answer.body)
    whole.get("response", {}).get("checkins", {}).pop("items", None)
    return replace(answer, body=compact(whole))


def _recoded(answer: Answer, *, first_only: bool) -> Answer:
    """The answer with its characters in ISO-8859-1, as far as they are in there."""
    if answer.content_type == HTML:
        return answer
    whole = json.loads(answer.body)
    items = whole.get("response", {}).get("checkins", {}).get("items", [])
    text = json.dumps(whole, ensure_ascii=False)
    if not first_only or not items:
        return replace(answer, body=text.encode("latin-1", "replace"))
    item = json.dumps(items[0], ensure_ascii=False)
    before, _, behind = text.partition(item)
    body = before.encode() + item.encode("latin-1", "replace") + behind.encode()
    return replace(answer, body=body)


def _packed(name: str, pack: Callable[[bytes], bytes]) -> Callable[[Answer, Fault], Answer]:
    return lambda answer, _: replace(
        answer, body=pack(answer.body), headers={**answer.headers, "Content-Encoding": name}
    )


def _in_members(body: bytes) -> bytes:
    third = len(body) // 3 + 1
    return b"".join(gzip.compress(body[at : at + third]) for at in range(0, len(body), third))


def _deflated_raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _said(answer: Answer, fault: Fault) -> Answer:
    headers = dict(fault.headers)
    content_type = headers.pop("Content-Type", answer.content_type)
    return replace(
        answer,
        status=fault.status,
        body=fault.body.encode(),
        headers={**answer.headers, **headers},
        content_type=content_type,
    )


def _page(status: int, text: str) -> Callable[[Answer, Fault], Answer]:
    return lambda _answer, _fault: html(status, f"<h1>{status}</h1><p>{text}</p>")


def _refusal(error: ApiError, *, status: int | None = None) -> Callable[[Answer, Fault], Answer]:
    answer = refused(error, request_id=REQUEST_ID)
    return lambda _answer, _fault: replace(answer, status=status or error.status)


LIMITED = ("rate_limit_exceeded", "limit_unnamed")
"""Kinds whose headers follow the switches."""

_broken = ApiError(500, "server_error", "Foursquare servers are experiencing problems.")

SPOILT: dict[Kind, Callable[[Answer, Fault], Answer]] = {
    "server_error": _refusal(_broken),
    "bad_gateway": _page(502, "Bad Gateway"),
    "html": _page(200, "Please enable JavaScript to continue."),
    "html_401": _page(401, "Proxy: please log in."),
    "html_403": _page(403, "Access denied: are you a robot?"),
    "cut_json": lambda answer, _: replace(answer, body=answer.body[: len(answer.body) // 2]),
    "cut_transfer": _cut_transfer,
    "empty": lambda answer, _: replace(answer, body=b""),
    "slow": lambda answer, fault: replace(answer, delay=fault.seconds),
    "trickle": lambda answer, fault: replace(answer, delay=fault.seconds, pieces=20),
    "reset": lambda answer, _: replace(answer, reset=True),
    "items_missing": _items_missing,
    "error_in_200": _refusal(_broken, status=200),
    "not_authorized": _refusal(ApiError(403, "not_authorized", "Access was revoked.")),
    "invalid_auth": _refusal(ApiError(401, "invalid_auth", "OAuth token invalid or revoked.")),
    "quota_exceeded": _refusal(quota_exceeded()),
    "no_endpoint": _refusal(ApiError(404, "endpoint_error", "No matching endpoint.")),
    "credits_exhausted": _refusal(ApiError(402, "credits_exhausted", "No API credits remaining.")),
    "credits_message": lambda _answer, _fault: as_json(
        {"message": "No API credits remaining."}, status=429
    ),
    "user_suspended": _refusal(ApiError(403, "user_suspended", "This account was suspended.")),
    "application_suspended": _refusal(
        ApiError(403, "application_suspended", "This application was suspended.")
    ),
    "gone": _refusal(
        ApiError(410, "deprecated", "Usage of the V2 API has been deprecated for new Projects.")
    ),
    "gone_html": _page(410, "Gone"),
    "redirect": lambda _answer, fault: redirect(fault.body),
    "early_hints": lambda answer, _: replace(answer, preliminary=(103,)),
    "latin_1": lambda answer, _: _recoded(answer, first_only=False),
    "latin_1_item": lambda answer, _: _recoded(answer, first_only=True),
    "gzip": _packed("gzip", gzip.compress),
    "gzip_members": _packed("gzip", _in_members),
    "x_gzip": _packed("x-gzip", gzip.compress),
    "deflate": _packed("deflate", zlib.compress),
    "deflate_raw": _packed("deflate", _deflated_raw),
    "gzip_damaged": _packed("gzip", lambda body: b"\x1f\x8b" + body[:100]),
    "says": _said,
}
