"""Makes JSON texts fit for PostgreSQL, which refuses U+0000 and lone surrogates."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any

import msgspec

REPLACEMENT = "\ufffd"
"""Stands in Unicode for a character that can't be told."""

MOST_DIGITS = 300
"""Digits of the largest integer a float can hold, about."""

ENDLESS = 4000
"""Digits of a number that PostgreSQL's `json` keeps and Python (4,300 at most) can't read back."""

_ENDLESS_NUMBER = re.compile(rb"[0-9]{%d}" % ENDLESS)
_DIGIT = re.compile(rb"[0-9]")

_ESCAPES = re.compile(
    rb"\\(?:"
    rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    rb"|(u0000|u[dD][89a-fA-F][0-9a-fA-F]{2})"  # U+0000, or half a pair
    rb"|.)",  # any other escape, taken whole, so that \\u0000 is read as a backslash and "u0000"
    re.DOTALL,
)
_UNFIT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_GRAMMAR = msgspec.json.Decoder(msgspec.Raw)


class NotJsonError(ValueError):
    """A text that no decoder takes; the message is half a sentence."""


def is_utf8(body: bytes) -> bool:
    """Return True if the bytes are UTF-8, as all JSON has to be."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def fit(body: bytes) -> bytes:
    """Return the JSON text in `body`, with U+FFFD for half a character or U+0000.

    Works on the text, not on its values, so that all the rest stays as received, UTF-8 or not.
    """
    text = body.removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        text = text.replace(b"\0", REPLACEMENT.encode())
    if b"\\" in text and _UNFIT.search(text):
        text = _ESCAPES.sub(_fit_escape, text)
    return text


def _fit_escape(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


def is_json(text: bytes) -> bool:
    """Return True if the text is JSON to the letter, as PostgreSQL's `json` wants it, and no number
    in it is too long to be read back."""
    try:
        _GRAMMAR.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return not has_endless_number(text)


def has_endless_number(text: bytes) -> bool:
    """Return True if there may be a number in it that Python could not read back.

    The search is slow; of so many digits in a row, every ENDLESS-th byte meets one.
    """
    return (
        len(text) > ENDLESS
        and _DIGIT.search(text[ENDLESS - 1 :: ENDLESS]) is not None
        and _ENDLESS_NUMBER.search(text) is not None
    )


class WrittenFloat(float):
    """A float that keeps how it was written: its digits are exact, the float's are not."""

    text: str


def lenient(text: bytes) -> Any:
    """Return the value of a text that is nearly JSON: bare control characters, NaN, huge numbers.

    Numbers that no column holds (NaN, infinities, hundreds of digits) become None, and what is not
    UTF-8 becomes U+FFFD.
    Raises NotJsonError, also for values nested deeper than Python can follow.
    """
    try:
        return _LENIENT.decode(text.decode(errors="replace"))
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError:
        problem = "it is not JSON"
    raise NotJsonError(problem)


def dumped(value: Any) -> str:
    """Return `value` as JSON to the letter; raises NotJsonError where it is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        problem = "it is nested too deeply"
    raise NotJsonError(problem)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_DIGITS else None


def _float(digits: str) -> float | None:
    number = WrittenFloat(digits)
    number.text = digits
    return number if math.isfinite(number) else None


_LENIENT = json.JSONDecoder(
    strict=False,
    parse_constant=lambda _: None,
    parse_int=_integer,
    parse_float=_float,
)
