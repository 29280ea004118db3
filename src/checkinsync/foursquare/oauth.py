"""Foursquare's login by OAuth 2: the address that asks, the way back, and a token for a code.

No scopes, no expiry, no refresh: a token is good until its user revokes it (documented).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from checkinsync.config import validators
from checkinsync.errors import (
    CheckinsyncError,
    FoursquareAway,
    LoginFailed,
    RequestRefused,
    SettingsError,
    StrayReturn,
    TokenUnreadable,
)
from checkinsync.foursquare import auth, envelope, outline, sanitize, unexpected
from checkinsync.foursquare.envelope import Answer
from checkinsync.foursquare.transport import Transport

FAULTY = 500
"""From this HTTP status on the error is Foursquare's own."""

LONGEST_CODE = 1000
"""Characters; Foursquare's codes have 48 (seen)."""

_NAME = re.compile(r"[a-z_]{1,40}")
"""OAuth's errors look like this; anything else is not repeated in a message."""


@dataclass(frozen=True, slots=True)
class Client:
    """The application, as it is registered at Foursquare."""

    id: str
    secret: str = field(repr=False)


class OAuth:
    """The two endpoints, for one application and one address to come back to."""

    def __init__(
        self,
        oauth_url: str,
        *,
        client: Client,
        redirect: str,
        proxies_from_environment: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        """`redirect`: the address that Foursquare sends browsers back to, as it is registered
        there; `ca_file`: certificates to trust instead of the usual ones.

        Raises SettingsError where `oauth_url` would give secrets away, or `ca_file` can't be used.
        """
        self._base = validators.base_url(oauth_url, setting=validators.OAUTH)
        self._client = client
        self._redirect = redirect
        self._transport = Transport(
            oauth_url,
            proxies_from_environment=proxies_from_environment,
            ca_file=ca_file,
            setting=validators.OAUTH,
        )

    def address(self, state: str) -> str:
        """Return the address that asks a browser's user; `state` comes back with the browser."""
        asked = {
            "client_id": self._client.id,
            "response_type": "code",
            "redirect_uri": self._redirect,
            "state": state,
        }
        return f"{self._base}/authenticate?{urlencode(asked)}"

    def token(self, code: str) -> str:
        """Return the token for a code, which can be used once.

        By POST, though GET is documented and both are in use: the secret and the code then stand
        in no address, and addresses are what logs and errors show.
        Raises LoginFailed, SettingsError, RequestRefused, ApiGone, FoursquareAway,
        CertificateRejected.
        """
        form = {
            "client_id": self._client.id,
            "client_secret": self._client.secret,
            "grant_type": "authorization_code",
            "redirect_uri": self._redirect,
            "code": code,
        }
        answer = self._transport.post("access_token", form)
        outer = envelope.decoded(answer.body)
        words = envelope.words_of(outer, self._client.secret, code)
        if outer is None or unexpected.is_redirect(answer.status):
            raise unexpected.not_understood(answer, outer, words, setting=validators.OAUTH)
        token = _member(answer.body, "access_token")
        if token is None:
            error = _name_of(outer.error)
            if not error:
                raise unexpected.not_understood(answer, outer, words, setting=validators.OAUTH)
            raise self._refusal(answer, error, words)
        try:
            return auth.sendable(token)
        except (AttributeError, TokenUnreadable):
            pass
        raise FoursquareAway(f"{_came(answer)} with a token that can't be one; try again later")

    def _refusal(self, answer: Answer, error: str, words: str) -> CheckinsyncError:
        """The error that an answer without a token means."""
        said = f"{error}: {words}" if words and words != error else error
        match error:
            case "invalid_grant":
                return LoginFailed(
                    f"Foursquare does not accept the code it sent ({said}): it was used "
                    "before, or is too old; run `checkinsync login` again"
                )
            case "invalid_client" | "unauthorized_client":
                return SettingsError(
                    f"Foursquare does not know this application ({said}); check "
                    "CHECKINSYNC_CLIENT_ID and CHECKINSYNC_CLIENT_SECRET"
                )
            case "redirect_uri_mismatch":
                return SettingsError(
                    f"Foursquare does not know the address to come back to ({said});"
                    f" register exactly {self._redirect} for the application there"
                )
        if answer.status >= FAULTY:
            return FoursquareAway(f"{_came(answer)} with an error ({said}); try again later")
        return RequestRefused(f"Foursquare calls our request for a token wrong: {said}")

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def code_in(query: str, *, state: str) -> str:
    """Return the code in the query that a browser comes back with; `state` is this login's.

    Raises StrayReturn where it is not of this login, LoginFailed where Foursquare gave no code.
    A refusal may come without a `state` (none is documented there); it can do no more than end
    the login.
    """
    back = {name: values[0] for name, values in parse_qs(query).items() if len(values) == 1}
    refused = "error" in back and "code" not in back
    if not _is_ours(back, state) and not (refused and "state" not in back):
        raise StrayReturn(
            "this address is not of the login that waits here: its `state` is missing or another; "
            "go by the address that was printed last"
        )
    if refused:
        raise LoginFailed(_reason(_name_of(back["error"])))
    code = back.get("code", "")
    if not code.isascii() or not code.isprintable() or not 0 < len(code) <= LONGEST_CODE:
        raise StrayReturn("this address holds no code of Foursquare's; log in there once more")
    return code


def _is_ours(back: Mapping[str, str], state: str) -> bool:
    given = back.get("state", "").encode(errors="replace")
    return hmac.compare_digest(given, state.encode())  # takes as long for any other


def _reason(error: str) -> str:
    if error == "access_denied":
        return "access was denied at Foursquare; nothing was changed"
    return f"Foursquare ended the login ({error or 'for no known reason'}); nothing was changed"


def _member(body: bytes, name: str) -> Any:
    """A value of the answer's object; None where it is missing, or can't be read."""
    try:
        return sanitize.lenient(sanitize.fit(outline.members(body).get(name, b"null")))
    except sanitize.NotJsonError:
        return None


def _came(answer: Answer) -> str:
    return f"Foursquare's login answered HTTP {answer.status}"


def _name_of(error: object) -> str:
    return error if isinstance(error, str) and _NAME.fullmatch(error) else ""
