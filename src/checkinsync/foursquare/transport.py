"""One HTTP request to Foursquare: bounded in time and size, and silent about tokens.

Knows nothing of the meaning of answers: any status is an `Answer`, anything else FoursquareAway.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection

from checkinsync import __version__
from checkinsync.config import validators
from checkinsync.errors import CertificateRejected, FoursquareAway, SettingsError
from checkinsync.foursquare import encoding, redaction, transport_errors
from checkinsync.foursquare.envelope import Answer

HEADERS: Mapping[str, str] = {
    "User-Agent": f"checkinsync/{__version__} (check-in archiver)",  # without one: the bot wall
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Accept-Language": "en",  # with another, every city, country and category would "change"
}

FORM: Mapping[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}

CHUNK = 64 * 1024

MOST_CONNECTIONS = 600
"""Connections that are kept: 64 workers may have eight pages each asked for ahead, and one that is
not kept is a warning of urllib3 in a good night."""

MOST_PRELIMINARY = 20
"""Preliminary responses before the one that counts."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of one request: how long to wait, and how much to take."""

    connect: float = 10.0
    """Seconds to a connection; a lost first packet is sent again after 1, 3 and 7 s."""
    silence: float = 30.0
    """Seconds without a byte. A page of 250 takes Foursquare a few seconds to put together."""
    whole: float = 120.0
    """Seconds for all of one answer: a body that drips must not hold a worker for ever. Looked at
    whenever bytes come, so that an answer may take `silence` more."""
    size: int = 64 * 1024 * 1024
    """Bytes of one answer, unpacked; a page of 250 has about 430 KB."""


class _Response(http.client.HTTPResponse):
    """A response that comes behind any number of preliminary ones, such as 103 Early Hints.

    Python itself steps over 100 Continue only.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_PRELIMINARY):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.UnknownProtocol("nothing but preliminary responses")


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Adapter(HTTPAdapter):
    """Chooses connections as `requests` does: by proxies and certificates."""

    def pool(
        self, url: str, *, verify: str | bool, proxies: dict[str, str]
    ) -> urllib3.HTTPConnectionPool:
        """Return the connections to an address, which read such responses, also through proxies."""
        request = PreparedRequest()
        request.prepare("GET", url)
        pool: Any = self.get_connection_with_tls_context(request, verify, proxies=proxies)
        self.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
        pool.ConnectionCls = _SecureConnection if pool.scheme == "https" else _Connection
        return pool  # type: ignore[no-any-return]


class Transport:
    """Gets answers from below one address, by connections that all threads share.

    Past `requests.Session` and `HTTPAdapter.send`, which would choose the connection, prepare the
    address, and merge settings, cookies and a `.netrc` anew for each request, and double its cost.
    No redirect is followed: it would take the token along.
    """

    def __init__(
        self,
        url: str,
        *,
        proxies_from_environment: bool = False,
        ca_file: Path | None = None,
        setting: str = validators.API,
    ) -> None:
        """`ca_file`: certificates to trust instead of the usual ones, a file or a folder;
        `setting`: the name of the setting that holds the address.

        Raises SettingsError where the address would give tokens away, or `ca_file` can't be used.
        """
        self._base = validators.base_url(url, setting=setting)
        self._path = urlsplit(self._base).path
        self._trusted: str | bool = True if ca_file is None else _trusted(ca_file)
        self.patience = Patience()
        # In the clear, which is for this machine only, a proxy would carry the token elsewhere.
        by_proxy = proxies_from_environment and self._base.startswith("https:")
        self._proxies = get_environ_proxies(self._base) if by_proxy else {}
        self._adapter = _Adapter(pool_maxsize=MOST_CONNECTIONS)
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._lock = threading.Lock()
        redaction.install()

    def get(self, path: str, query: Mapping[str, str | int], headers: Mapping[str, str]) -> Answer:
        """Return the answer to `GET base/path?query`, whatever its status.

        Raises FoursquareAway, CertificateRejected.
        """
        return self._asked("GET", f"{path}?{urlencode(query)}", headers)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Return the answer to `POST base/path` with a form, sent without a token. Raises as `get`
        does."""
        return self._asked("POST", path, FORM, urlencode(form))

    def _asked(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> Answer:
        try:
            return self._answer(method, f"{self._path}/{path}", {**HEADERS, **headers}, body)
        except transport_errors.FAULTS as fault:
            certificate = transport_errors.certificate_problem(fault)
            problem = transport_errors.told(fault)
        # Raised out here, so that ours has no __context__: the fault's text may hold the token.
        if certificate is not None:
            raise CertificateRejected(
                f"the certificate shown for Foursquare's address is not accepted ({certificate}); "
                "nothing was sent. Check this machine's clock; if a proxy on the way opens "
                "encrypted connections, name its certificate in CHECKINSYNC_CA_FILE"
            )
        raise FoursquareAway(f"Foursquare can't be reached: {problem}; try again later")

    def _answer(
        self, method: str, target: str, headers: dict[str, str], body: str | None
    ) -> Answer:
        deadline = time.monotonic() + self.patience.whole
        response = self._connections.urlopen(
            method,
            target,
            body,
            headers,
            retries=self._adapter.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=self.patience.connect, read=self.patience.silence),
            preload_content=False,
            decode_content=False,
        )
        try:
            packed = self._body(response, deadline)
        finally:
            response.close()  # with its connection, unless all was read
        encodings = response.headers.get("Content-Encoding", "")
        unpacked = encoding.unpacked(packed, encodings, most=self.patience.size)
        return Answer(response.status, response.headers, unpacked)

    @property
    def _connections(self) -> urllib3.HTTPConnectionPool:
        """Chosen with the first request, so that what is wrong with a proxy is an error of it."""
        with self._lock:
            if self._pool is None:
                self._pool = self._adapter.pool(
                    self._base, verify=self._trusted, proxies=self._proxies
                )
            return self._pool

    def _body(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """The body as sent. `read1` comes back with what is there; `read` would wait for a whole
        chunk. It is unpacked later, so that its size is bounded before it is taken."""
        body = bytearray()
        while chunk := response.read1(CHUNK, decode_content=False):
            body += chunk
            if len(body) > self.patience.size:
                raise encoding.too_large(self.patience.size)
            if time.monotonic() > deadline:
                raise FoursquareAway(
                    f"Foursquare's answer took longer than {self.patience.whole:g} s; "
                    "try again later"
                )
        return bytes(body)

    def close(self) -> None:
        """Close all connections that are not in use; who asks again gets a new one."""
        with self._lock:
            self._pool = None
        self._adapter.close()


def _trusted(ca_file: Path) -> str:
    """The path of certificates to trust, once they could be read. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    folder = ca_file.is_dir()
    try:
        context.load_verify_locations(
            cafile=None if folder else ca_file, capath=ca_file if folder else None
        )
    except ssl.SSLError:
        problem = "holds no certificate that can be read (PEM)"
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
    else:
        return str(ca_file)
    raise SettingsError(
        "CHECKINSYNC_CA_FILE (or REQUESTS_CA_BUNDLE, SSL_CERT_FILE, CURL_CA_BUNDLE): "
        f"{ca_file} {problem}"
    )
