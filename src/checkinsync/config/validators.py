"""Parsers for the values of settings; each raises ValueError saying what is allowed.

None of them shows an address or a key in its refusal.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from checkinsync.config.durations import is_bare, parse_duration
from checkinsync.config.sources import QUOTES, Noted
from checkinsync.errors import SettingsError

A_MINUTE = timedelta(minutes=1)


def whole(least: int, most: int, *, words: Mapping[str, int] | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers within bounds, and of words that stand for numbers."""
    known = words or {}

    def parse(text: str) -> int:
        text = text.strip()
        if text.lower() in known:
            return known[text.lower()]
        if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
            return int(text)
        others = "".join(f", or {word}" for word in known)
        raise ValueError(f"{text!r} is not a whole number from {least} to {most}{others}")

    return parse


def duration(least: str, most: str, *, bare: bool = True) -> Callable[[str], timedelta]:
    """Return a parser of durations within bounds.

    `bare`: False refuses a number without a unit that would be less than a minute.
    """

    def parse(text: str) -> timedelta:
        span = parse_duration(text)
        if not bare and is_bare(text) and timedelta(0) < span < A_MINUTE:
            n = text.strip()
            raise ValueError(f"{n!r} would be {n} seconds; write {n}h, {n}m or {n}s")
        if parse_duration(least) <= span <= parse_duration(most):
            return span
        raise ValueError(f"{text!r} is not from {least} to {most}")

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of these words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"{text!r} is none of {', '.join(words)}")

    return parse


def path(text: str) -> Path:
    """Return a path; a relative one counts from where the program was started."""
    try:
        found = Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{text!r} names the home folder of an unknown user") from None
    except FileNotFoundError:
        raise ValueError(f"{text!r} counts from the current folder, which is gone") from None
    try:
        found.lstat()
    except ValueError:  # a NUL, or a letter that the locale's encoding lacks
        raise ValueError(f"{text!r} can't be a path here") from None
    except OSError:
        pass
    return found


def certificates(text: str) -> Path:
    """Return the path of a file that holds certificates in PEM."""
    import ssl  # noqa: PLC0415 - few settings name certificates

    found = path(text)
    try:
        if not stat.S_ISREG(found.stat().st_mode):
            raise ValueError(f"{found} is not a file")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(found)
    except ssl.SSLError:
        raise ValueError(f"{found} does not hold certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"{found} can't be read ({error.strerror})") from None
    return found


def keys(text: str) -> Noted:
    """Return keys separated by commas; or one on each of several lines, whole, commas and all."""
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    several = len(lines) > 1
    if several and any(line.endswith(",") for line in lines):
        raise ValueError("a line ends with a comma; give one key on each line, without commas")
    found = tuple(lines) if several else tuple(k.strip() for k in text.split(",") if k.strip())
    if not found:
        raise ValueError("holds no key; give keys separated by commas")
    return _noted(found)


def whole_key(text: str) -> Noted:
    """Return the text as the one key that it is, blanks and all."""
    return _noted((text,))


def _noted(found: tuple[str, ...]) -> Noted:
    """Tell what may have been copied along with a key, and would be a piece of a pass phrase."""
    notes = []
    for key in found:
        if re.match(r"(?:export\s+)?[A-Z_]*KEY[A-Z_]*\s*=\s*[^=\s]", key):
            raise ValueError("must be the key alone, without a name and = in front of it")
        if len(key) > 1 and {key[0], key[-1]} <= QUOTES:
            notes.append("a key stands in quotes, and they count as a part of it")
        if re.fullmatch(r"0[xX][0-9a-fA-F]+", key):
            notes.append("a key begins with 0x, so it counts as a pass phrase, not as hex digits")
    return Noted(found, tuple(notes))


def is_word(text: str) -> bool:
    """Return True for one word of printable ASCII, such as Foursquare's ids, secrets and tokens."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def word(text: str) -> str:
    """Return one word of printable ASCII, such as Foursquare's ids and secrets are."""
    found = text.strip()
    if not is_word(found):
        raise ValueError("must be one word, as Foursquare shows it")
    if QUOTES & set(found):
        raise ValueError("must be as Foursquare shows it, without quotes")
    return found


def addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of a list; a comma within an address does not end it."""
    found = tuple(word for word in re.split(r",?\s+|,(?=\w+://)", text.strip().rstrip(",")) if word)
    if not found:
        raise ValueError("holds no address")
    return found


def yes_or_no(text: str) -> bool:
    """Return True for `yes`, False for `no`."""
    return one_of("yes", "no")(text.strip().lower()) == "yes"


def hook(text: str) -> str:
    """Return a web address that notices are sent to; it may hold a password or a secret path."""
    found = text.strip()
    try:
        parts = urlsplit(found)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # its text repeats the address
        usable = False
    if not usable or parts.scheme not in {"http", "https"} or not is_word(found):
        raise ValueError("must be an address that begins with https:// or http://")
    return found


def web_address(text: str) -> str:
    """Return an https address without a slash at its end; plain http only to this very machine."""
    try:
        return base_url(text)
    except SettingsError:
        raise ValueError(
            "must be https://host/… (http:// to a loopback address only), no password"
        ) from None


API = "CHECKINSYNC_API_URL"
OAUTH = "CHECKINSYNC_OAUTH_URL"
EXAMPLES = {API: "https://api.foursquare.com/v2", OAUTH: "https://foursquare.com/oauth2"}
"""The usual value of each."""


def base_url(url: str, *, setting: str = API) -> str:
    """Return the base address that a setting holds, without a slash at its end.

    Raises SettingsError unless it is `https://`, or `http://` to this machine itself: in the clear
    a token could be read on the way.
    """
    try:
        parts = urlsplit(url.strip())
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # its text repeats the address, which may hold a password
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"{setting} is not a plain address such as {EXAMPLES[setting]} "
            "(scheme, host and path; no user, no query)"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts)):
        raise SettingsError(
            f"{setting} must begin with https://, since tokens are sent there; "
            "http:// is for 127.0.0.1, [::1] and localhost only"
        )
    return parts.geturl().rstrip("/")


def is_loopback(parts: SplitResult) -> bool:
    """Return True if the host is this machine: `localhost` or a loopback address."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
