"""Makes words from outside fit to be logged, stored and shown: one line, bounded, no tokens.

Also masks the tokens in the log of urllib3, which writes whole addresses, queries included.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator

LONGEST = 200
"""Characters of Foursquare's own words in a sentence of ours."""

MOST_READ = 10_000
"""Characters of them that are looked at."""

PIECE = 8
"""Letters and digits: so long a piece of a secret counts as the secret."""

SHORTEST = 6
"""Letters and digits of a secret that is looked for in whatever spelling; real ones have 48."""

MASK = "…"

LOGGERS = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
"""Those of urllib3's loggers that may name an address. A filter of a parent is not asked, so that
each needs its own; their levels are left as the operator set them."""

_PARAMETER = re.compile(
    r"((?:oauth_token|access_token|client_secret)(?:=|%3D)|Bearer\s+(?=\S*[0-9]))[^&\s'\"]+",
    re.IGNORECASE,
)
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{32,}")
"""As long as a token, and no word: perhaps another user's."""

_CHARACTER = re.compile(r"%([0-7][0-9A-Fa-f])|.", re.DOTALL)
"""One character, or one of ASCII that is percent-encoded."""

_ENCODED_AGAIN = re.compile("%(?:25)+")


def words(text: str, *secrets: str) -> str:
    """Words from outside for a sentence of ours, with the secrets in them masked.

    Control characters and line breaks become blanks, direction marks and other invisible
    characters go; a secret is found whole or in pieces, also split, percent-encoded, or in the
    other case.
    """
    text = "".join(map(_visible, text[:MOST_READ]))
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    for secret in secrets:
        text = _masked(text, secret)
    text = " ".join(_OPAQUE.sub(MASK, text).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}{MASK}"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def _masked(text: str, secret: str) -> str:
    """The text with whatever spells the secret, or a piece of it, replaced by `MASK`."""
    needle = "".join(letter for letter, _, _ in _letters(secret))
    if len(needle) < SHORTEST:
        return text.replace(secret, MASK) if secret else text
    size = min(len(needle), PIECE)
    pieces = {needle[at : at + size] for at in range(len(needle) - size + 1)}
    text = _ENCODED_AGAIN.sub("%", text)
    letters = list(_letters(text))
    spelt = "".join(letter for letter, _, _ in letters)
    shown, end = [], 0
    for at in range(len(spelt) - size + 1):
        if spelt[at : at + size] in pieces:
            if letters[at][1] >= end:
                shown += [text[end : letters[at][1]], MASK]
            end = letters[at + size - 1][2]
    return "".join([*shown, text[end:]])


def _letters(text: str) -> Iterator[tuple[str, int, int]]:
    """The letters and digits of a text in one case, each with where it is written."""
    for found in _CHARACTER.finditer(text):
        character = chr(int(found[1], 16)) if found[1] else found[0]
        if character.isalnum():
            yield character.casefold()[:1], found.start(), found.end()


def without_tokens(record: logging.LogRecord) -> bool:
    """Let every record through, its token masked."""
    text = record.getMessage()
    if "oauth_token" in text.lower():
        record.msg, record.args = _PARAMETER.sub(rf"\1{MASK}", text), ()
        record.exc_info = record.exc_text = None
    return True


def install() -> None:
    """Mask tokens from now on; doing so twice is doing so once."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(without_tokens)
