"""The meaning of answers that are not of Foursquare's form; pure.

They come from proxies and bot walls, from Foursquare's own gateway, or from another address.
"""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from checkinsync.config import validators
from checkinsync.errors import ApiGone, CheckinsyncError, FoursquareAway
from checkinsync.foursquare import limits, redaction
from checkinsync.foursquare.envelope import Answer, Outer, in_brackets

GONE = {404, 410}
"""Statuses of an API that is not there any more, where no `errorType` says otherwise."""

BOT_WALL = {200, 403, 429, 503}
"""Statuses of the HTML page that stands before Foursquare to keep robots out (seen)."""

PROXY = {401, 407, 511}
"""Statuses of the HTML page of a proxy or a network that wants a login first."""

_HOST = re.compile(r"[a-z0-9.:-]{1,100}")


def is_redirect(status: int) -> bool:
    """Return True for the statuses that send elsewhere."""
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def without_envelope(
    answer: Answer, outer: Outer | None, words: str, *, now: datetime
) -> CheckinsyncError:
    """Return the error that an answer of the API means which is not in Foursquare's envelope."""
    is_used_up = limits.is_used_up(
        answer.status, answer.headers, bare=_is_bare(answer, outer), now=now
    )
    if is_used_up and not limits.is_about_plan(answer.status, words):
        return limits.rate_limited(answer.headers, words, now=now)
    return not_understood(answer, outer, words)


def not_understood(
    answer: Answer, outer: Outer | None, words: str, *, setting: str = validators.API
) -> CheckinsyncError:
    """Return the error that an answer means by its status and by what it is, for want of better.

    `setting`: the name of the one that holds the address.
    """
    status, detail = answer.status, in_brackets(words)
    if limits.is_about_plan(status, words):
        return limits.plan_exhausted(words)
    if is_redirect(status):
        return FoursquareAway(
            f"Foursquare's address answered with a redirect to {_target(answer)} (HTTP {status}), "
            f"which was not followed; try again later, and if it stays so, check {setting}"
        )
    form = _form(answer, outer)
    if status in GONE and not _is_cut(answer, outer):
        return ApiGone(
            f"Foursquare's address answered with {form}{detail}: this API is not there any more, "
            f"or {setting} names another address",
            status=status,
        )
    hint = f", and if it stays so, check {setting}" if outer is not None else ""
    return FoursquareAway(
        f"Foursquare's address answered with {form}{detail}; try again later{hint}"
    )


def _form(answer: Answer, outer: Outer | None) -> str:
    """A description of what came instead of an envelope."""
    status, start = answer.status, answer.body.lstrip()[:1]
    if not start:
        return f"an empty answer (HTTP {status})"
    if start == b"<" or "html" in answer.headers.get("Content-Type", "").lower():
        sender = ", as a bot wall sends it" if status in BOT_WALL else ""
        sender = ", as a proxy sends it" if status in PROXY else sender
        return f"an HTML page (HTTP {status}){sender}, not JSON"
    if outer is not None:
        return f"JSON that is not of Foursquare's form (HTTP {status})"
    return f"something that is not JSON, or is cut off (HTTP {status})"


def _is_bare(answer: Answer, outer: Outer | None) -> bool:
    return outer is not None or not answer.body.strip()


def _is_cut(answer: Answer, outer: Outer | None) -> bool:
    """Return True for the beginning of a JSON object: it might have said anything."""
    return outer is None and answer.body.lstrip().startswith(b"{")


def _target(answer: Answer) -> str:
    """The host that a redirect names; never the rest, which may hold a token."""
    location = answer.headers.get("Location", "").strip()
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        host = "?"
    if not host:
        return "another path of the same address" if location else "nowhere"
    return redaction.words(host) if _HOST.fullmatch(host) else "an address that can't be read"
