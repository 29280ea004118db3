"""What goes wrong below HTTP, told without the address: it may hold a token."""

from __future__ import annotations

import http.client
import ssl
import zlib
from collections.abc import Iterator

import requests
import urllib3

FAULTS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    zlib.error,
)
"""What comes out of `requests` and, while a body is read, out of the layers below it."""

TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
CUT = (
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.IncompleteRead,
    http.client.IncompleteRead,
)
MOST_CAUSES = 20


def told(fault: BaseException) -> str:
    """Half a sentence: the operating system's words where there are any, else what kind it is.

    The texts of the faults themselves are never used.
    """
    causes = list(_causes(fault))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({cause.verify_message})"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return cause.strerror
    if any(isinstance(cause, TIMEOUTS) for cause in causes):
        return "it did not answer in time"
    if any(isinstance(cause, CUT) for cause in causes):
        return "the answer was cut off"
    return f"the connection failed ({type(causes[-1]).__name__})"


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The fault and what lies beneath it: causes, contexts, and what urllib3 wraps as arguments."""
    waiting, seen = [fault], set[int]()
    while waiting and len(seen) < MOST_CAUSES:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        beneath = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [cause for cause in beneath if isinstance(cause, BaseException)]
