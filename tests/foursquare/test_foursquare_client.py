"""The client against a simulated Foursquare, and against sockets that answer in odd ways."""

from __future__ import annotations

import gzip
import logging
import re
import socket
import ssl
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from checkinsync.cli.orchestrate import orchestrate
from checkinsync.errors import (
    AccountSuspended,
    ApiGone,
    ApplicationSuspended,
    CertificateRejected,
    FoursquareAway,
    PlanExhausted,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
    SettingsError,
    TokenRejected,
    TokenUnreadable,
)
from checkinsync.foursquare.client import Foursquare, UserClient
from checkinsync.foursquare.transport import MOST_CONNECTIONS, Patience
from checkinsync.model.checkin import Checkin
from checkinsync.simulator.server import Fault, Seen, Server
from checkinsync.simulator.world import World
from checkinsync.sync.ahead import MOST

TOKEN = "token-1"
NOW = datetime(2025, 6, 15, 2, 0, tzinfo=UTC)
QUICK = Patience(connect=5, silence=5, whole=0.3, size=1_000_000)


@pytest.fixture
def simulator() -> Iterator[Server]:
    world = World.generate(accounts=2, count=260)
    with Server(world, now=NOW.timestamp) as server:
        yield server


@pytest.fixture
def naps() -> list[float]:
    """Seconds that were slept, one by one."""
    return []


@pytest.fixture
def connect(naps) -> Iterator[Callable[..., Foursquare]]:
    """Makes clients that sleep into `naps`; closes them."""
    made: list[Foursquare] = []

    def make(url: str, **options: object) -> Foursquare:
        options = {"token_in": "auto", "sleep": naps.append, "now": lambda: NOW} | options
        patience = options.pop("patience", Patience())
        made.append(Foursquare(api_url=url, **options))
        made[-1].transport.patience = patience
        return made[-1]

    yield make
    for foursquare in made:
        foursquare.close()


@pytest.fixture
def foursquare(connect, simulator) -> Foursquare:
    return connect(simulator.url)


@pytest.fixture
def client(foursquare) -> UserClient:
    return foursquare.user_client(TOKEN)


def http(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def talking(talk: Callable[[], None], listener: socket.socket) -> Iterator[int]:
    """Talk to those who connect, in a thread; yield the port."""
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    listener.close()


@dataclass(frozen=True)
class Tls:
    """A server that shows a certificate of its own making."""

    url: str
    certificate: Path


@pytest.fixture
def tls(tmp_path) -> Iterator[Tls]:
    """Answers by TLS on a loopback port, with a self-signed certificate for `localhost`."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with suppress(OSError), peer, context.wrap_socket(peer, server_side=True) as secure:
                    secure.recv(65536)
                    secure.sendall(http("200 OK", body=ME))

    with talking(talk, listener) as port:
        yield Tls(f"https://localhost:{port}/v2", certificate)


@dataclass(frozen=True)
class Proxy:
    """A proxy that opens tunnels."""

    address: str
    asked: list[bytes]
    """What it was sent itself, for each tunnel."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def talk() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer:
                    asked.append(peer.recv(65536))
                    host, port = asked[-1].split()[1].decode().split(":")
                    with socket.create_connection((host, int(port))) as server:
                        peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        back = threading.Thread(target=pump, args=(server, peer), daemon=True)
                        back.start()
                        pump(peer, server)
                        back.join(5)

    with talking(talk, listener) as port:
        yield Proxy(f"127.0.0.1:{port}", asked)


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def self_signed(folder: Path) -> Path:
    """A certificate for `localhost` and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


ME = b'{"meta":{"code":200},"response":{"user":{"id":"12"}}}'
PACKED = gzip.compress(ME, mtime=0)
"""The same each time: workers compare the names of tests, which hold it."""


def page(client: UserClient) -> list[str]:
    return [item.key for item in client.page(offset=0, limit=250).items]


def last(simulator: Server) -> Seen:
    return simulator.requests[-1]


# --- what is asked -------------------------------------------------------------------------------


def test_a_page_is_what_stands_in_the_list_from_the_offset_on(client, simulator):
    page = client.page(offset=200, limit=50)

    assert [item.key for item in page.items] == simulator.shown_ids(TOKEN)[200:250]
    assert all(isinstance(item, Checkin) for item in page.items)
    assert (page.offset, page.limit, page.total) == (200, 50, 260)


def test_only_documented_parameters_are_sent_and_no_time_filters(client, simulator):
    client.page(offset=200, limit=50)

    params = dict(last(simulator).params)
    assert len(params.pop("v")) == 8
    assert params == {"offset": "200", "limit": "50", "sort": "newestfirst", "locale": "en"}
    assert last(simulator).headers["accept-language"] == "en"


def test_the_user_agent_says_who_asks(client, simulator):
    simulator.switches.bot_wall = True

    page(client)

    assert last(simulator).headers["user-agent"].startswith("checkinsync/")


def test_a_token_belongs_to_somebody(client):
    profile = client.who_is()

    assert (profile.foursquare_user_id, profile.name) == ("1000001", "Ada Lovelace")


def test_every_variant_comes_through_the_wire(simulator, foursquare):
    simulator.world.add_account("odd")
    names = simulator.world.add_variants("odd")

    items = foursquare.user_client("odd").page(offset=0, limit=250).items

    assert len(items) == len(names)
    assert sum(not isinstance(item, Checkin) for item in items) == 8  # one of them is too deep


@pytest.mark.parametrize("case", ["title", "lower", "upper"])
def test_the_requests_left_are_known_whatever_the_headers_case(client, simulator, case):
    simulator.switches.header_case = case
    assert client.remaining is None

    page(client)

    assert client.remaining == 499


def test_no_cookie_of_one_user_goes_with_the_next(connect):
    cookies = []

    class Baker(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            cookies.append(self.headers["Cookie"])
            self.wfile.write(http("200 OK", "Set-Cookie: user=12; Path=/", body=ME))

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Baker) as server:
        threading.Thread(target=server.serve_forever).start()
        foursquare = connect(f"http://127.0.0.1:{server.server_port}/v2")
        for token in ("a-token", "another-token"):
            foursquare.user_client(token).who_is()
        foursquare.close()
        server.shutdown()

    assert cookies == [None, None]


# --- how the token travels -----------------------------------------------------------------------


def ways(simulator: Server) -> list[str | None]:
    return [seen.way for seen in simulator.requests]


def test_the_header_is_tried_first_and_remembered(foursquare, simulator):
    assert foursquare.token_way is None

    page(foursquare.user_client("token-1"))
    page(foursquare.user_client("token-2"))

    assert ways(simulator) == ["header", "header"]
    assert foursquare.token_way == "header"


def test_the_query_is_tried_once_where_the_header_is_not_seen(foursquare, simulator):
    simulator.switches.token_in = "query"

    page(foursquare.user_client("token-1"))
    page(foursquare.user_client("token-2"))

    assert ways(simulator) == ["header", "query", "query"]
    assert foursquare.token_way == "query"
    assert "oauth_token" not in last(simulator).params


def test_the_query_is_tried_once_where_the_header_is_called_invalid(foursquare, simulator):
    simulator.fail(Fault("invalid_auth"))

    page(foursquare.user_client(TOKEN))

    assert ways(simulator) == ["header", "query"]
    assert foursquare.token_way == "query"


def test_a_revoked_token_is_rejected_both_ways_and_nothing_is_remembered(foursquare, simulator):
    simulator.revoke(TOKEN)

    with pytest.raises(TokenRejected):
        page(foursquare.user_client(TOKEN))

    assert ways(simulator) == ["header", "query"]
    assert foursquare.token_way is None


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_revoked_token_costs_one_request_once_a_way_is_known(connect, simulator, way):
    foursquare = connect(simulator.url, remembered_way=way)
    simulator.revoke(TOKEN)

    with pytest.raises(TokenRejected):
        page(foursquare.user_client(TOKEN))

    assert ways(simulator) == [way]


def test_a_word_against_the_token_outweighs_credentials_not_seen(foursquare, simulator):
    simulator.switches.token_in = "query"
    simulator.revoke(TOKEN)

    with pytest.raises(TokenRejected):
        page(foursquare.user_client(TOKEN))


@pytest.mark.parametrize(("token_in", "accepted"), [("header", "query"), ("query", "header")])
def test_a_way_that_is_set_is_the_only_one(connect, simulator, token_in, accepted):
    simulator.switches.token_in = accepted
    foursquare = connect(simulator.url, token_in=token_in, remembered_way=accepted)

    with pytest.raises(RequestRefused, match="no credentials"):
        page(foursquare.user_client(TOKEN))

    assert ways(simulator) == [token_in]
    assert foursquare.token_way is None


def test_what_one_endpoint_takes_says_nothing_of_the_next(foursquare, simulator):
    client = foursquare.user_client(TOKEN)
    client.who_is()
    simulator.switches.token_in = "query"

    page(client)

    assert [seen.way for seen in simulator.requests] == ["header", "header", "query"]
    assert foursquare.token_way == "query"


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_remembered_way_that_is_not_seen_any_more_is_found_out_anew(connect, simulator, way):
    simulator.switches.token_in = "query" if way == "header" else "header"
    foursquare = connect(simulator.url, remembered_way=way)

    page(foursquare.user_client(TOKEN))

    assert foursquare.token_way == simulator.switches.token_in


def test_a_patient_refusal_is_one_request_once_another_shows_the_way(foursquare, simulator):
    simulator.revoke(TOKEN)
    for sure in (False, True):
        with pytest.raises(TokenRejected) as refusal:
            page(foursquare.user_client(TOKEN, defer_retry=True))
        assert refusal.value.sure is sure
        page(foursquare.user_client("token-2"))

    assert [seen.token for seen in simulator.requests].count(TOKEN) == 1


@pytest.mark.parametrize("token_in", ["header", "query", "both"])
def test_a_patient_refusal_that_nobody_explains_is_asked_about_in_the_other_way(
    foursquare, simulator, token_in
):
    simulator.switches.token_in = token_in
    simulator.revoke(TOKEN)

    sure = None
    while not sure:
        with pytest.raises(TokenRejected) as refusal:
            page(foursquare.user_client(TOKEN, defer_retry=True))
        sure = refusal.value.sure

    assert len(simulator.requests) == 2


def test_a_patient_user_whose_token_is_taken_in_the_query_only_waits_their_turn(
    foursquare, simulator
):
    simulator.switches.token_in = "query"
    answered_401 = Fault("invalid_auth", token=TOKEN, nth=1)
    simulator.fail(answered_401)

    with pytest.raises(TokenRejected) as refusal:
        page(foursquare.user_client(TOKEN, defer_retry=True))
    page(foursquare.user_client(TOKEN, defer_retry=True))

    assert not refusal.value.sure
    assert foursquare.token_way == "query"


def test_a_way_that_nobody_knows_is_not_remembered(connect, simulator):
    foursquare = connect(simulator.url, remembered_way="by pigeon")

    page(foursquare.user_client(TOKEN))

    assert foursquare.token_way == "header"


def test_a_netrc_does_not_replace_the_token(connect, simulator, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    foursquare = connect(simulator.url, proxies_from_environment=True)

    page(foursquare.user_client(TOKEN))

    assert last(simulator).token == TOKEN


def test_blanks_around_a_token_are_dropped(foursquare, simulator):
    page(foursquare.user_client(f" {TOKEN}\n"))

    assert last(simulator).token == TOKEN


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "schlüssel", "nul\0"])
def test_a_token_that_can_not_be_sent_is_told_without_repeating_it(foursquare, token):
    with pytest.raises(TokenUnreadable) as raised:
        foursquare.user_client(token)

    assert not token.strip() or token not in str(raised.value)


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["server_error", "bad_gateway", "html", "html_401", "html_403", "cut_json", "cut_transfer",
     "empty", "reset", "items_missing", "error_in_200"],
)  # fmt: skip
def test_a_stumble_is_got_over_in_three_tries(client, simulator, naps, kind):
    simulator.fail(Fault(kind, times=2))

    assert page(client) == simulator.shown_ids(TOKEN)[:250]

    assert client.requests == len(simulator.requests) == 3
    assert 0.5 <= naps[0] <= 0.75
    assert 1.0 <= naps[1] <= 1.25


@pytest.mark.parametrize("kind", ["server_error", "html_401", "cut_json", "reset", "items_missing"])
def test_after_three_stumbles_foursquare_is_away(client, simulator, naps, kind):
    simulator.fail(Fault(kind, times=None))

    with pytest.raises(FoursquareAway):
        page(client)

    assert client.requests == len(simulator.requests) == 3
    assert len(naps) == 2
    assert client.answered is (kind == "items_missing")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("not_authorized", TokenRejected),
        ("quota_exceeded", QuotaExceeded),
        ("rate_limit_exceeded", RateLimited),
        ("limit_unnamed", RateLimited),
        ("credits_exhausted", PlanExhausted),
        ("credits_message", PlanExhausted),
        ("user_suspended", AccountSuspended),
        ("application_suspended", ApplicationSuspended),
        ("gone", ApiGone),
        ("gone_html", ApiGone),
    ],
)
def test_a_refusal_is_not_tried_again(client, simulator, naps, kind, error):
    simulator.fail(Fault(kind))

    with pytest.raises(error):
        page(client)

    assert client.requests == len(simulator.requests) == 1
    assert naps == []


def test_a_wrong_request_is_not_tried_again(client, naps):
    with pytest.raises(RequestRefused, match="param_error"):
        client.page(offset=-1, limit=250)

    assert client.requests == 1
    assert naps == []


def test_a_used_up_limit_says_until_when(client, simulator):
    simulator.switches.hourly_limit = 1
    page(client)

    with pytest.raises(RateLimited) as raised:
        page(client)

    assert raised.value.until == NOW + timedelta(hours=1)
    assert client.remaining == 0


def test_a_warning_of_old_age_is_logged_once_and_the_answer_used(foursquare, simulator, caplog):
    simulator.switches.deprecated = True

    for token in ("token-1", "token-2"):
        assert len(page(foursquare.user_client(token))) == 250

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "deprecated" in warnings[0].getMessage()


def test_warnings_in_changing_words_are_one_warning(foursquare, simulator, caplog):
    for number in (1, 2):
        words = f'"errorType": "deprecated", "errorDetail": "request {number}"'
        body = f'{{"meta": {{"code": 200, {words}}}, "response": {{"user": {{"id": "12"}}}}}}'
        simulator.fail(Fault("says", body=body))
        foursquare.user_client(TOKEN).who_is()
        simulator.faults.clear()

    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "(request 1)" in warned[0]


def test_an_interrupted_sleep_ends_the_request(connect, simulator):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    simulator.fail(Fault("bad_gateway"))

    with pytest.raises(KeyboardInterrupt):
        page(connect(simulator.url, sleep=interrupt).user_client(TOKEN))


def test_requests_are_counted_per_conversation_and_altogether(foursquare, simulator):
    first, second = foursquare.user_client("token-1"), foursquare.user_client("token-2")
    simulator.fail(Fault("reset", token="token-2"))

    page(first)
    page(second)

    assert (first.requests, second.requests, foursquare.requests) == (1, 2, 3)


# --- the time and the size of an answer ----------------------------------------------------------


def test_an_answer_that_drips_is_not_waited_for(connect, simulator):
    foursquare = connect(simulator.url, patience=QUICK)
    simulator.fail(Fault("trickle", seconds=4, times=None))

    with pytest.raises(FoursquareAway, match=r"longer than 0\.3 s"):
        page(foursquare.user_client(TOKEN))


def test_a_packed_answer_that_drips_is_not_waited_for_either(connect, answering):
    body = gzip.compress(b" " * 100_000)
    head = http("200 OK", "Content-Encoding: gzip", body=body)[: -len(body)]
    drips = [head, *(body[at : at + 1] for at in range(len(body)))]
    foursquare = connect(answering(*[drips] * 3), patience=QUICK)

    with pytest.raises(FoursquareAway, match=r"longer than 0\.3 s"):
        foursquare.user_client(TOKEN).who_is()


def test_silence_is_not_waited_out(connect, answering):
    silent = [b"", *[b""] * 100]
    patience = Patience(silence=0.05)
    foursquare = connect(answering(*[silent] * 3), patience=patience)

    with pytest.raises(FoursquareAway, match="did not answer in time"):
        foursquare.user_client(TOKEN).who_is()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_too_large_is_not_taken(connect, answering, encoding):
    body = b" " * 1_000_001
    sent = gzip.compress(body) if encoding == "gzip" else body
    answer = http("200 OK", f"Content-Encoding: {encoding}", body=sent)
    foursquare = connect(answering(*[answer] * 3), patience=Patience(size=1_000_000))

    with pytest.raises(FoursquareAway, match="larger than 1000000 bytes"):
        foursquare.user_client(TOKEN).who_is()


def test_a_packed_answer_is_unpacked(connect, answering):
    answer = http("200 OK", "Content-Encoding: GZIP", body=PACKED)

    profile = connect(answering(answer)).user_client(TOKEN).who_is()

    assert profile.foursquare_user_id == "12"


@pytest.mark.parametrize(
    "kind", ["gzip", "gzip_members", "x_gzip", "deflate", "deflate_raw", "early_hints"]
)
def test_a_good_answer_is_read_in_whichever_form_it_comes(client, simulator, kind):
    simulator.fail(Fault(kind, times=None))

    assert page(client) == simulator.shown_ids(TOKEN)[:250]
    assert page(client) == simulator.shown_ids(TOKEN)[:250]
    assert client.requests == 2


@pytest.mark.parametrize("packed", [PACKED + b"\0" * 512, PACKED + b"\n"])
def test_what_stands_behind_a_packed_answer_does_no_harm(connect, answering, packed):
    answer = http("200 OK", "Content-Encoding: gzip", body=packed)

    assert connect(answering(answer)).user_client(TOKEN).who_is().foursquare_user_id == "12"


def test_several_members_are_bounded_together(connect, answering):
    packed = gzip.compress(b" " * 600_000) * 2
    answer = http("200 OK", "Content-Encoding: gzip", body=packed)
    foursquare = connect(answering(*[answer] * 3), patience=Patience(size=1_000_000))

    with pytest.raises(FoursquareAway, match="larger than 1000000 bytes"):
        foursquare.user_client(TOKEN).who_is()


def test_an_answer_in_chunks_is_put_together(connect, answering):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (ME[:9], ME[9:])]

    profile = connect(answering([head, *chunks, b"0\r\n\r\n"])).user_client(TOKEN).who_is()

    assert profile.foursquare_user_id == "12"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 two-hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: soon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ME,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        CHUNKED + b"zz\r\n" + ME,
        CHUNKED + b"5\r\n{}",
        http("200 OK", "Content-Encoding: gzip", body=b"not packed"),
        http("200 OK", "Content-Encoding: gzip", body=PACKED[:20]),
        http("200 OK", "Content-Encoding: br", body=ME[::-1]),
        http("204 No Content"),
        http("302 Found", "Location: https://elsewhere.test/?oauth_token=token-1"),
        http("302 Found", "Location: \xff\xfe://["),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 30 + http("200 OK", body=ME),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        http("200 OK", "Content-Encoding: deflate", body=zlib.compress(ME)[:20]),
        http("200 OK", "Content-Encoding: deflate", body=b"not packed"),
        http("200 OK", "Content-Encoding: zstd, gzip", body=PACKED),
        http("307 Temporary Redirect", "Location: /v2/users/self", body=ME),
    ],
)
def test_what_is_no_answer_of_an_api_is_foursquare_away(connect, answering, answer):
    url = answering(*[answer] * 3)

    with pytest.raises(FoursquareAway) as raised:
        connect(url, token_in="query").user_client(TOKEN).who_is()

    assert_silent(raised.value)
    assert not re.search(r"\((error|HTTPException)\)|Error\b|http\.client", str(raised.value))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "closed the connection without an answer"),
        (b"nonsense\r\n\r\n", "something other than HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "headers are too many"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "headers is too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ME, "was cut off"),
        (CHUNKED + b"zz\r\n" + ME, "was cut off"),
        (http("200 OK", "Content-Encoding: gzip", body=b"no"), r"packed body \(gzip\).*damaged"),
        (http("200 OK", "Content-Encoding: gzip", body=PACKED[:20]), "was cut off"),
        (http("200 OK", "Content-Encoding: br", body=b"xyz"), r"not asked for \(br\)"),
        (http("204 No Content"), "an empty answer"),
        (http("302 Found", "Location: https://elsewhere.test/"), "a redirect to elsewhere.test"),
    ],
)
def test_what_went_wrong_is_told_in_words(connect, answering, answer, told):
    url = answering(*[answer] * 3)

    with pytest.raises(FoursquareAway, match=told):
        connect(url).user_client(TOKEN).who_is()


# --- certificates --------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_told_and_not_tried_again(connect, tls, naps):
    client = connect(tls.url).user_client(TOKEN)

    with pytest.raises(CertificateRejected, match="CHECKINSYNC_CA_FILE") as raised:
        client.who_is()

    assert "self-signed certificate" in str(raised.value)
    assert "try again" not in str(raised.value)
    assert_silent(raised.value)
    assert (client.requests, naps, raised.value.exit_code) == (1, [], 69)


@pytest.mark.parametrize("variable", [None, "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("from_environment", [False, True])
def test_a_certificate_is_trusted_by_name(connect, tls, monkeypatch, variable, from_environment):
    if variable:  # what is set here outweighs it, also where proxies come from the environment
        monkeypatch.setenv(variable, certifi.where())
    foursquare = connect(
        tls.url, ca_file=tls.certificate, proxies_from_environment=from_environment
    )

    assert foursquare.user_client(TOKEN).who_is().foursquare_user_id == "12"


def test_a_certificate_for_another_host_is_not_trusted_though_its_maker_is(connect, tls):
    foursquare = connect(tls.url.replace("localhost", "127.0.0.1"), ca_file=tls.certificate)

    with pytest.raises(CertificateRejected, match="IP address mismatch"):
        foursquare.user_client(TOKEN).who_is()


def test_plain_http_where_tls_is_expected_is_told_as_such(connect, answering):
    url = answering(*[http("400 Bad Request")] * 3).replace("http:", "https:")

    with pytest.raises(FoursquareAway, match="encrypted connection could not be made"):
        connect(url).user_client(TOKEN).who_is()


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), ("", "no certificate"), ("nonsense", "no certificate")],
)
def test_a_ca_file_that_can_not_be_used_is_a_matter_of_settings(connect, tmp_path, content, told):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)

    with pytest.raises(SettingsError, match=f"CHECKINSYNC_CA_FILE.*: .*{told}"):
        connect("https://api.foursquare.com/v2", ca_file=ca_file)


# --- secrets -------------------------------------------------------------------------------------


def assert_silent(error: BaseException, token: str = TOKEN) -> None:
    """No part of the error shows the token, and nothing hangs on it that could."""
    assert token not in "".join(traceback.format_exception(error))
    assert token not in repr(error) + str(error.args) + repr(vars(error))
    assert error.__cause__ is None
    assert error.__context__ is None or "tenacity" in type(error.__context__).__module__


def refused_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v2"


@pytest.mark.parametrize("way", ["header", "query"])
@pytest.mark.parametrize("kind", ["reset", "cut_transfer", "html", "server_error", "invalid_auth"])
def test_no_error_and_no_log_shows_the_token(connect, simulator, caplog, way, kind):
    caplog.set_level(logging.DEBUG)
    simulator.fail(Fault(kind, times=None))

    with pytest.raises((FoursquareAway, TokenRejected)) as raised:
        page(connect(simulator.url, token_in=way).user_client(TOKEN))

    assert_silent(raised.value)
    assert TOKEN not in caplog.text
    assert "/v2/users/self/checkins" in caplog.text or kind == "reset"


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_refused_connection_is_told_in_the_systems_words(connect, caplog, way):
    caplog.set_level(logging.DEBUG)

    with pytest.raises(FoursquareAway, match="Connection refused") as raised:
        page(connect(refused_port(), token_in=way).user_client(TOKEN))

    assert_silent(raised.value)
    assert TOKEN not in caplog.text


def test_no_repr_shows_the_token(foursquare, client):
    page(client)

    assert TOKEN not in repr(client) + repr(foursquare) + repr(vars(foursquare))


# --- where tokens go -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://api.foursquare.com/v2",
        "http://10.0.0.1/v2",
        "http://localhost.evil.test/v2",
        "http://127.0.0.1.evil.test",
        "ftp://127.0.0.1/",
        "api.foursquare.com/v2",
        "https://me:secret@api.foursquare.com/v2",
        "https://api.foursquare.com/v2?x=secret",
        "https://api.foursquare.com/v2#secret",
        "https://api.foursquare.com:port/v2",
        "https://[::1",
        "https://",
        "",
    ],
)
def test_an_address_that_would_give_tokens_away_is_refused(connect, url):
    with pytest.raises(SettingsError, match="CHECKINSYNC_API_URL") as raised:
        connect(url)

    assert "secret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "url", ["https://api.foursquare.com/v2/", "http://127.0.0.7:1/v2", "http://[::1]:1", "http://localhost:1"]
)  # fmt: skip
def test_an_address_may_be_encrypted_or_on_this_machine(connect, url):
    connect(url)


def test_an_unknown_way_of_sending_tokens_is_refused(connect):
    with pytest.raises(SettingsError, match="CHECKINSYNC_TOKEN_IN"):
        connect("https://api.foursquare.com/v2", token_in="cookie")


@pytest.mark.parametrize("on_purpose", [False, True])
def test_no_proxy_gets_what_is_for_this_machine(connect, simulator, monkeypatch, on_purpose):
    monkeypatch.setenv("http_proxy", refused_port().removesuffix("/v2"))
    monkeypatch.delenv("no_proxy", raising=False)
    foursquare = connect(simulator.url, proxies_from_environment=on_purpose)

    assert page(foursquare.user_client(TOKEN))


@pytest.mark.parametrize(
    ("on_purpose", "reason"), [(False, "resolve|known|name"), (True, "refused")]
)
def test_a_proxy_is_used_on_purpose_only(connect, monkeypatch, on_purpose, reason):
    monkeypatch.setenv("https_proxy", refused_port().removesuffix("/v2"))
    foursquare = connect("https://nowhere.invalid/v2", proxies_from_environment=on_purpose)

    with pytest.raises(FoursquareAway, match=reason):
        foursquare.user_client(TOKEN).who_is()


@pytest.mark.parametrize("no_proxy", ["", "localhost"])
def test_a_proxy_opens_a_tunnel_and_is_shown_no_token(connect, tls, proxy, monkeypatch, no_proxy):
    monkeypatch.setenv("https_proxy", f"http://me:word@{proxy.address}")
    monkeypatch.setenv("no_proxy", no_proxy)
    foursquare = connect(tls.url, ca_file=tls.certificate, proxies_from_environment=True)

    for _ in range(2):
        assert foursquare.user_client(TOKEN).who_is().foursquare_user_id == "12"
    foursquare.close()

    assert len(proxy.asked) == (0 if no_proxy else 2)
    for asked in proxy.asked:
        assert asked.startswith(b"CONNECT localhost:")
        assert b"Proxy-Authorization: Basic bWU6d29yZA==" in asked
        assert TOKEN.encode() not in asked


# --- threads -------------------------------------------------------------------------------------


def test_threads_share_what_is_known_and_nothing_else(foursquare, simulator):
    counts: dict[str, int] = {}

    def ask(token: str) -> None:
        client = foursquare.user_client(token)
        for _ in range(10):
            page(client)
        counts[token] = client.requests

    threads = [threading.Thread(target=ask, args=(f"token-{n}",)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == {"token-1": 10, "token-2": 10}
    assert foursquare.requests == len(simulator.requests) == 20
    [pool] = connection_pools(foursquare)
    assert pool.num_connections in {1, 2}


def test_a_closed_client_holds_no_connection(foursquare, client):
    page(client)

    foursquare.close()
    foursquare.close()

    assert connection_pools(foursquare) == []


def test_a_closed_client_that_asks_again_gets_a_new_connection(foursquare, client):
    before = page(client)

    foursquare.close()

    assert page(client) == before
    assert len(connection_pools(foursquare)) == 1


def connection_pools(foursquare):
    """Return what holds the connections, for each address."""
    pools = foursquare.transport._adapter.poolmanager.pools
    return [pools[key] for key in pools.keys()]  # noqa: SIM118 - its iterator is not safe


def test_as_many_connections_are_kept_as_workers_may_need():
    [workers] = [option for option in orchestrate.params if option.name == "workers"]

    assert workers.type.max * (1 + MOST) <= MOST_CONNECTIONS
