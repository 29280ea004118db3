"""Faults below HTTP, told without the address: it may hold a token."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import requests
import urllib3

FAULTS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
"""Raised by `requests` and, while a body is read, by the layers below it."""

TOLD: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError),
        "it did not answer in time",
    ),
    (
        (
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.IncompleteRead,
            urllib3.exceptions.InvalidChunkLength,
            http.client.IncompleteRead,
        ),
        "the answer was cut off",
    ),
    ((http.client.RemoteDisconnected,), "it closed the connection without an answer"),
    ((http.client.LineTooLong,), "a line of the answer's headers is too long"),
    (
        (http.client.BadStatusLine, http.client.UnknownProtocol),
        "something other than HTTP came back",
    ),
    (
        (urllib3.exceptions.InvalidHeader, requests.exceptions.InvalidHeader),
        "the answer's headers contradict each other",
    ),
    ((http.client.HTTPException,), "the answer's headers are too many, or are not HTTP"),
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError),
        "the proxy did not let the connection through",
    ),
    ((ssl.SSLError,), "the encrypted connection could not be made"),
)
"""Half a sentence for each kind of fault that has no words of the operating system; the first kind
that fits counts."""

MOST_CAUSES = 20


def certificate_problem(fault: BaseException) -> str | None:
    """Return why a certificate is not accepted, in OpenSSL's words; None: the fault is another."""
    for cause in _causes(fault):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or "certificate verify failed"
    return None


def told(fault: BaseException) -> str:
    """Return half a sentence: the operating system's words where there are any, else the kind.

    The texts of the faults themselves are never used.
    """
    causes = list(_causes(fault))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            reason = cause.reason.lower().replace("_", " ")
            return f"the encrypted connection could not be made ({reason})"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return cause.strerror
    for kinds, words in TOLD:
        if any(isinstance(cause, kinds) for cause in causes):
            return words
    deepest = type(causes[-1])
    return f"the connection failed ({deepest.__module__}.{deepest.__qualname__})"


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The fault and all beneath it: causes, contexts, and what urllib3 wraps as arguments."""
    waiting, seen = [fault], set[int]()
    while waiting and len(seen) < MOST_CAUSES:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        beneath = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [cause for cause in beneath if isinstance(cause, BaseException)]
