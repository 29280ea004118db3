"""JSON taken apart one level at a time, by its brackets alone.

For answers that a decoder refuses as a whole since something deep inside is odd: without recursion,
so that no nesting is too deep, and without a look at the values, so that each spoils only itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from checkinsync.foursquare.sanitize import NotJsonError

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[][{},]', re.DOTALL)
_MEMBER = re.compile(rb'\s*("(?:[^"\\]++|\\.)*+")\s*:(.*)', re.DOTALL)
_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


def members(text: bytes) -> dict[str, bytes]:
    """The values of an object by their keys, each as it is written; of a key's values the last.

    Raises NotJsonError where the text is no object, or is cut off.
    """
    found = {}
    for piece in _pieces(text.removeprefix(_BOM), b"{", b"}"):
        member = _MEMBER.fullmatch(piece)
        if member is None:
            raise NotJsonError("it is not JSON")
        found[member[1][1:-1].decode(errors="replace")] = member[2].strip(_BLANKS)
    return found


def elements(text: bytes) -> list[bytes]:
    """The values of an array, each as it is written. Raises NotJsonError, likewise."""
    found = [piece.strip(_BLANKS) for piece in _pieces(text, b"[", b"]")]
    if not all(found):
        raise NotJsonError("it is not JSON")
    return found


def depth(text: bytes) -> int:
    """Return the number of levels to which objects and arrays are nested."""
    return max((level for level, _ in _levels(text)), default=0)


def _pieces(text: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    """The texts between the commas of the outermost level; none where it is empty."""
    text = text.strip(_BLANKS)
    if text[:1] != opening:
        raise NotJsonError("it is not JSON")
    start = 1
    for level, token in _levels(text):
        if level == 1 and token[0] == b",":
            yield text[start : token.start()]
            start = token.end()
        elif level == 0:
            if token[0] != closing or token.end() != len(text):
                break
            if start > 1 or text[start:-1].strip(_BLANKS):
                yield text[start:-1]
            return
    raise NotJsonError("it is not JSON")


def _levels(text: bytes) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Each bracket, comma and string, with the level behind it."""
    level = 0
    for token in _TOKEN.finditer(text):
        if token[0] in (b"[", b"{"):
            level += 1
        elif token[0] in (b"]", b"}"):
            level -= 1
        yield level, token
