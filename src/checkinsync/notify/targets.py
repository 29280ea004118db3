"""Where notices go: one class per kind of target. Their addresses are secrets and never shown."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from checkinsync import __version__
from checkinsync.config.settings import Settings
from checkinsync.errors import MissingExtra, NotSent
from checkinsync.notify.digest import START, Digest

TIMEOUT = 10.0
"""Seconds for a connection, and without a byte of the answer."""


@dataclass(frozen=True, slots=True)
class Http:
    """Sends by the settings for certificates and proxies."""

    certificates: str | None
    by_environment: bool
    """Use the proxy that the environment names."""

    def post(self, url: str, **content: Any) -> None:
        """Send `content` (`params`, and `data` or `json`), and look at nothing but the status.

        Raises NotSent.
        """
        import requests  # noqa: PLC0415 - only where there is something to send

        headers = {"User-Agent": f"checkinsync/{__version__}"}
        request = requests.Request("POST", url, headers=headers, **content)
        with requests.Session() as session:
            session.trust_env = self.by_environment
            if self.certificates is not None:
                session.verify = self.certificates
            try:
                prepared = session.prepare_request(request)
                with session.send(prepared, timeout=TIMEOUT, stream=True) as response:
                    status = response.status_code
            except requests.Timeout:
                raise NotSent(f"no answer within {TIMEOUT:g} s") from None
            except requests.exceptions.SSLError:
                raise NotSent("its certificate is not trusted") from None
            except (requests.RequestException, ValueError):  # its text repeats the address
                raise NotSent("no connection") from None
            if status >= HTTPStatus.BAD_REQUEST:
                raise NotSent(f"HTTP {status}")


@dataclass(frozen=True, slots=True)
class Ping:
    """A check in the manner of healthchecks: `/start`, then nothing, the exit code, or `/fail`."""

    url: str = field(repr=False)
    http: Http
    rid: str
    """The same for the start and the end of a run: the check then measures its time."""
    name: str = "ping"

    def wants(self, digest: Digest) -> bool:
        """Return True: a check hears of everything."""
        del digest
        return True

    def send(self, digest: Digest) -> None:
        """Send it once. Raises NotSent."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{digest.signal}".rstrip("/") or "/"
        address, rid = parts._replace(path=path).geturl(), {"rid": self.rid}
        self.http.post(address, params=rid, data=digest.text.encode())


@dataclass(frozen=True, slots=True)
class Webhook:
    """A program that takes each run's digest as JSON."""

    url: str = field(repr=False)
    http: Http
    name: str = "webhook"

    def wants(self, digest: Digest) -> bool:
        """Return True for the end of a run, good or bad."""
        return digest.signal != START

    def send(self, digest: Digest) -> None:
        """Send it once. Raises NotSent."""
        self.http.post(self.url, json=digest.json)


@dataclass(frozen=True, slots=True)
class Ntfy:
    """A topic of ntfy."""

    url: str = field(repr=False)
    http: Http
    name: str = "ntfy"

    def wants(self, digest: Digest) -> bool:
        """Return True if an operator should know."""
        return digest.alert

    def send(self, digest: Digest) -> None:
        """Send it once. Raises NotSent."""
        about = {"title": digest.title}
        if digest.signal:
            about |= {"priority": "high", "tags": "warning"}
        self.http.post(self.url, params=about, data=digest.text.encode())


@dataclass(frozen=True, slots=True)
class Apprise:
    """An address of apprise: mail, chats, telephones."""

    url: str = field(repr=False)
    name: str

    def wants(self, digest: Digest) -> bool:
        """Return True if an operator should know."""
        return digest.alert

    def send(self, digest: Digest) -> None:
        """Send it once. Raises NotSent, MissingExtra."""
        try:
            import apprise  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtra("CHECKINSYNC_NOTIFY", "notify") from None
        service = apprise.Apprise()
        kind = apprise.NotifyType.WARNING if digest.signal else apprise.NotifyType.INFO
        if not service.add(self.url):
            raise NotSent("apprise does not know an address like this")
        if not service.notify(digest.text, title=digest.title, notify_type=kind):
            raise NotSent("the service did not take it")


Target = Ping | Webhook | Ntfy | Apprise
"""A place that takes notices: it says which ones it wants, and sends one."""


def targets(settings: Settings, *, rid: str | None = None) -> list[Target]:
    """Return the targets that are set. `rid`: of the run's pings; None: a new one."""
    return list(_targets(settings, rid or str(uuid.uuid4())))


def _targets(settings: Settings, rid: str) -> Iterator[Target]:
    certificates = None if settings.ca_file is None else str(settings.ca_file)
    http = Http(certificates, settings.proxy == "environment")
    if settings.ping_url is not None:
        yield Ping(settings.ping_url, http, rid)
    if settings.webhook_url is not None:
        yield Webhook(settings.webhook_url, http)
    if settings.ntfy_url is not None:
        yield Ntfy(settings.ntfy_url, http)
    for number, url in enumerate(settings.notify, 1):
        yield Apprise(url, f"apprise {number}")
