"""An address of Foursquare's as it was set, held to what is safe: tokens go there."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from checkinsync.errors import SettingsError

API = "CHECKINSYNC_API_URL"
OAUTH = "CHECKINSYNC_OAUTH_URL"

EXAMPLES = {API: "https://api.foursquare.com/v2", OAUTH: "https://foursquare.com/oauth2"}
"""What each setting usually is."""


def checked(url: str, *, setting: str = API) -> str:
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
