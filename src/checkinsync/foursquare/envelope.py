"""An answer's outermost level: Foursquare's envelope, or whatever came in its place; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from checkinsync.foursquare import outline, redaction, sanitize

_NAME = re.compile(r"[a-z_]{1,40}")
"""Foursquare's error types look like this; anything else is not repeated in a message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came over HTTP."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names are looked up in any case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    """`{"meta": …, "response": …}`, and Foursquare's own words about an error."""

    meta: Mapping[str, Any]
    response: bytes
    """As JSON; it may be missing (`null`), or of a wrong type."""
    words: str
    """Harmless, and without the token; empty where there are none."""

    @property
    def error_type(self) -> str | None:
        """`meta.errorType`, where there is one."""
        return _text(self.meta, "errorType")

    @property
    def name_of_error(self) -> str:
        """The error type for a message."""
        name = self.error_type or ""
        return name if _NAME.fullmatch(name) else "no known error type"

    @property
    def detail(self) -> str:
        """The words, in brackets behind a sentence of ours."""
        return in_brackets(self.words)

    @property
    def has_response(self) -> bool:
        """Return True if `response` is an object with something in it."""
        inside = self.response.strip()
        return inside.startswith(b"{") and bool(inside[1:-1].strip())


class Outer(msgspec.Struct, frozen=True, rename="camel"):
    """The outermost level of an answer, of Foursquare's form or not."""

    meta: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")
    message: Any = None
    error: Any = None
    error_detail: Any = None
    error_message: Any = None
    error_description: Any = msgspec.field(default=None, name="error_description")


_outer = msgspec.json.Decoder(Outer).decode


def decoded(body: bytes) -> Outer | None:
    """Return the outermost level of a body; None where it is not a JSON object, or is cut off."""
    try:
        return _outer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # something in it is odd: that must spoil no more than itself
        parts = outline.members(body)
        response = msgspec.Raw(parts.pop("response", b"null"))
        known = {name: parts[name] for name in Outer.__struct_encode_fields__ if name in parts}
        values = {name: sanitize.lenient(sanitize.fit(part)) for name, part in known.items()}
    except sanitize.NotJsonError:
        return None
    return msgspec.convert({**values, "response": response}, Outer)


def words_of(outer: Outer | None, *secrets: str) -> str:
    """Return the words in which an answer tells of an error, harmless and without the secrets."""
    if outer is None:
        return ""
    meta = outer.meta if isinstance(outer.meta, dict) else {}
    inside = outer.error if isinstance(outer.error, dict) else {}
    said = [meta.get(name) for name in ("errorDetail", "errorMessage", "message")]
    said += [outer.message, outer.error_detail, outer.error_message, outer.error_description]
    said += [inside.get("message"), outer.error]
    text = next((text for text in said if isinstance(text, str) and text.strip()), None)
    return "" if text is None else redaction.words(text, *secrets)


def in_brackets(words: str) -> str:
    """Return words as they stand behind a sentence of ours."""
    return f" ({words})" if words else ""


def _text(value: object, key: str) -> str | None:
    text = value.get(key) if isinstance(value, dict) else None
    return text if isinstance(text, str) and text else None
