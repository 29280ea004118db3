"""Foursquare's login by OAuth 2: the address that asks, the way back, and a code made a token.

No scopes, no expiry, no refresh: a token is good until its user takes it back (documented).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec

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
from checkinsync.foursquare import auth
from checkinsync.foursquare.responses import Answer
from checkinsync.foursquare.transport import Patience, Transport

FAULTY = 500
"""From this HTTP status on it is Foursquare that stumbles."""

LONGEST_CODE = 1000
"""Characters; Foursquare's codes have 48 (seen)."""

_NAME = re.compile(r"[a-z_]{1,40}")
"""What OAuth's errors look like; anything else is not repeated in a message."""


@dataclass(frozen=True, slots=True)
class Client:
    """The application, as it is registered at Foursquare."""

    id: str
    secret: str = field(repr=False)


class _Said(msgspec.Struct, frozen=True):
    """`{"access_token": …}` or `{"error": …}`, without the envelope of the API."""

    access_token: Any = None
    error: Any = None


_said = msgspec.json.Decoder(_Said).decode


class OAuth:
    """The two endpoints, for one application and one address to come back to."""

    def __init__(
        self,
        oauth_url: str,
        *,
        client: Client,
        redirect: str,
        proxies_from_environment: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """`redirect`: where Foursquare sends browsers back to, as it is registered there.

        Raises SettingsError where `oauth_url` would give secrets away.
        """
        self._base = validators.base_url(oauth_url, setting=validators.OAUTH)
        self._client = client
        self._redirect = redirect
        self._transport = Transport(
            oauth_url,
            proxies_from_environment=proxies_from_environment,
            patience=patience or Patience(),
            setting=validators.OAUTH,
        )

    def address(self, state: str) -> str:
        """Where a browser is to go, so that its user is asked; `state` comes back with it."""
        asked = {
            "client_id": self._client.id,
            "response_type": "code",
            "redirect_uri": self._redirect,
            "state": state,
        }
        return f"{self._base}/authenticate?{urlencode(asked)}"

    def token(self, code: str) -> str:
        """The token for a code, which is good for once.

        By POST, though GET is what is documented and both are in use: the secret and the code then
        stand in no address, and addresses are what logs and errors show.
        Raises LoginFailed, SettingsError, RequestRefused, FoursquareAway.
        """
        form = {
            "client_id": self._client.id,
            "client_secret": self._client.secret,
            "grant_type": "authorization_code",
            "redirect_uri": self._redirect,
            "code": code,
        }
        answer = self._transport.post("access_token", form)
        said = _decoded(answer)
        if said.access_token is None:
            raise self._refusal(answer, _name_of(said.error))
        try:
            return auth.sendable(said.access_token)
        except (AttributeError, TokenUnreadable):
            problem = "with a token that can't be one"
        raise FoursquareAway(f"{_came(answer)} {problem}; try again later")

    def _refusal(self, answer: Answer, error: str) -> CheckinsyncError:
        """What an answer without a token means."""
        match error:
            case "invalid_grant":
                return LoginFailed(
                    "Foursquare does not accept the code it sent (invalid_grant): it was used "
                    "before, or is too old; run `checkinsync login` again"
                )
            case "invalid_client" | "unauthorized_client":
                return SettingsError(
                    f"Foursquare does not know this application ({error}); check "
                    "CHECKINSYNC_CLIENT_ID and CHECKINSYNC_CLIENT_SECRET"
                )
            case "redirect_uri_mismatch":
                return SettingsError(
                    "Foursquare does not know the address to come back to (redirect_uri_mismatch);"
                    f" register exactly {self._redirect} for the application there"
                )
        if not error or answer.status >= FAULTY:
            return FoursquareAway(f"{_came(answer)} with neither token nor reason; try again later")
        return RequestRefused(f"Foursquare calls our request for a token wrong: {error}")

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def code_in(query: str, *, state: str) -> str:
    """The code in the query that a browser comes back with; `state` is this login's.

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


def _decoded(answer: Answer) -> _Said:
    try:
        return _said(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "with something that is not JSON, or is cut off"
    raise FoursquareAway(f"{_came(answer)} {problem}; try again later")


def _came(answer: Answer) -> str:
    return f"Foursquare's login answered HTTP {answer.status}"


def _name_of(error: object) -> str:
    return error if isinstance(error, str) and _NAME.fullmatch(error) else ""
