"""The two OAuth 2 endpoints: the page that asks the user, and the exchange of codes for tokens."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from checkinsync.simulator.answers import Answer, as_json, html, redirect
from checkinsync.simulator.history import Account
from checkinsync.simulator.seen import Request
from checkinsync.simulator.switches import Switches
from checkinsync.simulator.world import World


@dataclass(frozen=True, slots=True)
class Client:
    """The application that is registered at the simulated Foursquare."""

    id: str = "demo-client-id"
    secret: str = "demo-client-secret"  # noqa: S105 (of a simulated Foursquare)
    redirect_uris: tuple[str, ...] = ()
    """The registered redirect addresses, ports included; none: every address will do."""


class OAuth:
    """Hands out codes to users who allow it, and tokens for codes."""

    def __init__(self, world: World, switches: Switches, client: Client) -> None:
        self._world = world
        self._switches = switches
        self._client = client
        self._handed_out = 0
        self._codes: dict[str, tuple[Account, str]] = {}

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request below `/oauth2/`."""
        match request.path, request.method:
            case "oauth2/authenticate", "GET":
                return self._authenticate(request)
            case "oauth2/access_token", "GET" | "POST":
                return self._access_token(request.params)
            case "oauth2/authenticate" | "oauth2/access_token", _:
                return html(405, "<h1>Method not allowed</h1>")
        return html(404, "<h1>Not found</h1>")

    def _authenticate(self, request: Request) -> Answer:
        asked = request.params
        account = self._signed_in(asked.get("user"))
        if problem := self._problem(asked):
            return html(400, f"<h1>{problem}</h1>")
        if account is None:
            return html(400, "<h1>No account has this id</h1>")
        match asked.get("decision", self._switches.login):
            case "allow":
                return _back(asked, code=self._code(account, asked["redirect_uri"]))
            case "deny":
                return _back(asked, error="access_denied")
        return html(200, _question(account, list(self._world.accounts.values()), asked))

    def _problem(self, asked: dict[str, str]) -> str | None:
        registered = self._client.redirect_uris
        address = asked.get("redirect_uri")
        if asked.get("client_id") != self._client.id:
            return "No application has this client_id"
        if asked.get("response_type") != "code":
            return "response_type has to be code"
        if not address or (registered and address not in registered):
            return "redirect_uri is not the registered one"
        return None

    def _signed_in(self, user_id: str | None) -> Account | None:
        """The user at the browser: the first account, unless the page was told otherwise."""
        accounts = self._world.accounts.values()
        return next((one for one in accounts if user_id in (None, one.user_id)), None)

    def _code(self, account: Account, redirect_uri: str) -> str:
        self._handed_out += 1
        code = f"CODE{self._world.seed:04X}{self._handed_out:08X}"
        self._codes[code] = (account, redirect_uri)
        return code

    def _access_token(self, asked: dict[str, str]) -> Answer:
        if (asked.get("client_id"), asked.get("client_secret")) != (
            self._client.id,
            self._client.secret,
        ):
            return as_json({"error": "invalid_client"}, status=400)
        if asked.get("grant_type") != "authorization_code":
            return as_json({"error": "unsupported_grant_type"}, status=400)
        account, address = self._codes.pop(asked.get("code", ""), (None, None))
        if account is None or address != asked.get("redirect_uri"):
            return as_json({"error": "invalid_grant"}, status=400)
        return as_json({"access_token": self._world.grant(account)})


def _back(asked: dict[str, str], **result: str) -> Answer:
    """Send the browser back to the application, with its `state` as it came."""
    if "state" in asked:
        result["state"] = asked["state"]
    address = asked["redirect_uri"]
    return redirect(f"{address}{'&' if '?' in address else '?'}{urlencode(result)}")


def _question(account: Account, accounts: list[Account], asked: dict[str, str]) -> str:
    """The page that asks; the other users are a link away, so that a demo can log in any."""
    others = " ".join(
        _link(_name(other), asked | {"user": other.user_id})
        for other in accounts
        if other is not account
    )
    mine = asked | {"user": account.user_id}
    return (
        f"<h1>{escape(_name(account))}, may this application see your check-ins?</h1>"
        f"<p>{_link('Allow', mine | {'decision': 'allow'})} "
        f"{_link('Deny', mine | {'decision': 'deny'})}</p>"
        f"<p>Not {escape(account.first_name)}? {others}</p>"
    )


def _link(text: str, asked: dict[str, str]) -> str:
    address = f"/oauth2/authenticate?{urlencode(asked)}"
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def _name(account: Account) -> str:
    return " ".join(filter(None, (account.first_name, account.last_name)))
