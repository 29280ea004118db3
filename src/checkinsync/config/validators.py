"""What a setting may be: parsers of text, whose ValueError says what is allowed.

None of them shows an address or a key in its refusal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from checkinsync.config.durations import parse_duration
from checkinsync.errors import SettingsError

_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:@\[\]]*)(:[0-9]+)?")


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text.strip()) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"{text!r} is no whole number from {least} to {most}")

    return parse


def duration(least: str, most: str) -> Callable[[str], timedelta]:
    """A duration within bounds."""

    def parse(text: str) -> timedelta:
        span = parse_duration(text)
        if parse_duration(least) <= span <= parse_duration(most):
            return span
        raise ValueError(f"{text!r} is not from {least} to {most}")

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"{text!r} is none of {', '.join(words)}")

    return parse


def path(text: str) -> Path:
    """A path; a relative one counts from where the program was started."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{text!r} names a home folder that nobody knows") from None


def keys(text: str) -> tuple[str, ...]:
    """Keys separated by commas; or one on each of several lines, taken whole, commas and all."""
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    several = len(lines) > 1
    if several and any(line.endswith(",") for line in lines):
        raise ValueError("a line ends with a comma; give one key on each line, without commas")
    found = tuple(lines) if several else tuple(k.strip() for k in text.split(",") if k.strip())
    if not found:
        raise ValueError("holds no key; give keys separated by commas")
    return found


def word(text: str) -> str:
    """One word of printable ASCII, such as Foursquare's ids and secrets are."""
    found = text.strip()
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise ValueError("must be one word, as Foursquare shows it")
    return found


def postgres_address(text: str) -> str:
    """A PostgreSQL URL or DSN that has one meaning only.

    Read as libpq does: of a password with a raw `@` or `/` the rest becomes a host, which error
    messages show.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator and "=" in scheme:
        return text.strip()
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a URL (postgresql://user@host/name) or a DSN (host=… dbname=…)")
    credentials, _, hosts = rest.partition("/")[0].rpartition("@")
    names = hosts.partition("?")[0].split(",")
    if "@" in credentials or not all(map(_HOST.fullmatch, names)):
        raise ValueError("its host can't be told; in a password write @ as %40 and / as %2F")
    return text.strip()


def web_address(text: str) -> str:
    """An https address; plain http only to this very machine. Without the slash at the end."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - most settings name no address

    problem = ValueError("must be https://host/… (http:// to a loopback address only), no password")
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host or ""))
    if not (secure and host) or "@" in parts.netloc or parts.query or parts.fragment:
        raise problem
    return text.strip().rstrip("/")


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


API = "CHECKINSYNC_API_URL"


OAUTH = "CHECKINSYNC_OAUTH_URL"


EXAMPLES = {API: "https://api.foursquare.com/v2", OAUTH: "https://foursquare.com/oauth2"}
"""What each setting usually is."""


def base_url(url: str, *, setting: str = API) -> str:
    """The base address that a setting holds, without a slash at its end.

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
            f"{setting} is no plain address such as {EXAMPLES[setting]} "
            "(scheme, host and path; no user, no query)"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts)):
        raise SettingsError(
            f"{setting} must begin with https://, since tokens are sent there; "
            "http:// is for 127.0.0.1, [::1] and localhost only"
        )
    return parts.geturl().rstrip("/")


def is_loopback(parts: SplitResult) -> bool:
    """Whether the host is this machine: `localhost` or a loopback address."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
