"""The middleware behind real servers: waitress for WSGI, uvicorn for ASGI."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from test_authenticate import FIVE_MINUTES, WRITTEN
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from checkinsync.embedded import serving
from checkinsync.errors import SettingsError
from checkinsync.migrations import migrate
from checkinsync.web import AsyncTokenAuth, TokenAuth, middleware
from support.factories import NOW
from support.web import LONG_AGO, TOKEN, in_column, seen
from support.web_servers import Site, asgi_page, uvicorn_serving, waitress_serving, wsgi_page

ANOTHER = "f" * 64
NOWHERE = "host=/nonexistent dbname=none password=the-password"
ADA = {"foursquare_user_id": "f1", "display_name": "Ada"} | {
    "avatar_url": "https://example.org/ada.png"
}


@pytest.fixture(params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(request.param)
    with site.open_ones:
        yield site


@pytest.fixture
def asgi_site() -> Iterator[Site]:
    site = Site("asgi")
    with site.open_ones:
        yield site


def refused(message: str, *, status: int = 401, error: str = "Unauthorized") -> tuple:
    """Return the result of `ask` for a refused request."""
    return status, False, {"error": error, "message": message}


MISSING = refused("A token is needed: in the query as ?token= or in the header X-Auth-Token")
WRONG = refused("The token is not valid")
AWAY = refused(
    "Users can't be authenticated now; try again later",
    status=503,
    error="Service Unavailable",
)
NOBODY = (200, True, None)


def found(user: int) -> tuple:
    return 200, True, {"id": user, **ADA}


# --- who is let in --------------------------------------------------------------------------------

PERCENT = "".join(f"%{ord(digit):02X}" for digit in TOKEN)
GIVEN = {
    "in the query": (f"/?token={TOKEN}", {}),
    "among other things": (f"/a/b?x=1&token={TOKEN}&y=%FF&z", {}),
    "percent-encoded": (f"/?%74oken={PERCENT}", {}),
    "after an empty one": (f"/?token=&token={TOKEN}", {}),
    "in the header": ("/", {"X_Auth_Token": TOKEN}),
    "in lower case": ("/", {"x_auth_token": TOKEN}),
    "in upper case": ("/", {"X_AUTH_TOKEN": TOKEN}),
    "with spaces behind": ("/", {"X_Auth_Token": f"{TOKEN}  "}),
    "beside an empty query": ("/?token=", {"X_Auth_Token": TOKEN}),
    "beside another header": (f"/?token={TOKEN}", {"X_Auth_Token": ANOTHER}),
    "twice the same": (f"/?token={TOKEN}", {"X_Auth_Token": TOKEN}),
}
NOT_GIVEN = {
    "none": ("/", {}),
    "empty": ("/?token=", {}),
    "no value": ("/?token", {}),
    "empty header": ("/", {"X_Auth_Token": ""}),
    "another parameter": (f"/?Token={TOKEN}&tokens={TOKEN}", {}),
    "another header": ("/", {"Authorization": f"Bearer {TOKEN}", "Auth_Token": TOKEN}),
    "in the fragment": (f"/?x=1#token={TOKEN}", {}),
    "in the cookie": ("/", {"Cookie": f"token={TOKEN}"}),
}
NOT_VALID = {
    "unknown": (f"/?token={ANOTHER}", {}),
    "the query goes first": (f"/?token={ANOTHER}", {"X_Auth_Token": TOKEN}),
    "another case": (f"/?token={TOKEN.upper()}", {}),
    "twice": (f"/?token={TOKEN}&token={TOKEN}", {}),
    "two": (f"/?token={ANOTHER}&token={TOKEN}", {}),
    "a list": ("/", {"X_Auth_Token": f"{TOKEN},{TOKEN}"}),
    "a space": (f"/?token=+{TOKEN}", {}),
    "a line": (f"/?token={TOKEN}%0A", {}),
    "U+0000": (f"/?token=%00{TOKEN[1:]}", {}),
    "non-ASCII": ("/?token=%C3%A9%F0%9F%A6%8A", {}),
    "no UTF-8": ("/?token=%FF%ED%A0%80", {}),
    "bytes": ("/", {"X_Auth_Token": b"\xff\xfe\xe9"}),
    "short": ("/?token=a", {}),
    "a letter more": (f"/?token={TOKEN}0", {}),
    "long": (f"/?token={'f' * 30_000}", {}),
    "long header": ("/", {"X_Auth_Token": "f" * 30_000}),
    "a pattern": ("/?token=%25", {}),
    "SQL": ("/?token=%27%20OR%201=1--", {}),
    "a format": ("/?token=%25(token)s%25s", {}),
}


def test_a_known_token_is_let_in_however_it_is_given(site: Site, db: str, conn, ada: int):
    site.serve(db)

    for path, headers in GIVEN.values():
        site.at += FIVE_MINUTES
        assert site.ask(path, **headers) == found(ada), path
        assert seen(conn) == in_column(site.at), path


def test_without_a_token_nobody_is_let_in(site: Site, db: str, conn, ada: int):
    site.serve(db)

    answers = {how: site.ask(path, **headers) for how, (path, headers) in NOT_GIVEN.items()}

    assert answers == dict.fromkeys(NOT_GIVEN, MISSING)
    assert seen(conn) == in_column(LONG_AGO)


def test_with_a_wrong_token_nobody_is_let_in(site: Site, db: str, conn, ada: int):
    site.serve(db)

    answers = {how: site.ask(path, **headers) for how, (path, headers) in NOT_VALID.items()}

    assert answers == dict.fromkeys(NOT_VALID, WRONG)
    assert seen(conn) == in_column(LONG_AGO)


def test_where_no_login_is_required_everybody_is_let_in_and_users_are_known(
    site: Site, db: str, conn, ada: int
):
    site.serve(db, required=False)
    strangers = {**NOT_GIVEN, **NOT_VALID}

    answers = {how: site.ask(path, **headers) for how, (path, headers) in strangers.items()}

    assert answers == dict.fromkeys(strangers, NOBODY)
    assert seen(conn) == in_column(LONG_AGO)
    assert site.ask(f"/?token={TOKEN}") == found(ada)
    assert seen(conn) == in_column(NOW)


def test_the_application_is_asked_about_options_by_everybody(site: Site, db: str, conn, ada: int):
    """Browsers send OPTIONS first, without the header."""
    site.serve(db)

    for path in ("/", f"/?token={TOKEN}", f"/?token={ANOTHER}"):
        told = site.get(path, method="OPTIONS")

        assert (told.status_code, told.json()) == (200, None)
    assert seen(conn) == in_column(LONG_AGO)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_every_other_method_needs_a_token(site: Site, db: str, ada: int, method: str):
    site.serve(db)

    assert site.get(method=method).status_code == 401
    assert site.get(method=method, X_Auth_Token=TOKEN).json()["id"] == ada


def test_an_answer_to_head_has_no_body(site: Site, db: str):
    site.serve(db)
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=30)
    connection.request("HEAD", "/")
    told = connection.getresponse()

    assert (told.status, told.read()) == (401, b"")
    assert int(told.headers["Content-Length"]) > 0
    connection.request("GET", "/")  # nothing was left over on the connection
    assert connection.getresponse().status == 401
    connection.close()


def test_a_user_of_an_outer_layer_is_not_believed(db: str, conn, ada: int):
    """Only the token counts, not what the environ contained before."""
    environ = {"REQUEST_METHOD": "GET", middleware.USER: "an outer layer's"}
    app = TokenAuth(wsgi_page, url=db, required=False)

    assert list(app(environ, lambda *_: None)) == [b"null"]


# --- what is recorded -----------------------------------------------------------------------------


def test_a_login_is_recorded_once_in_five_minutes(site: Site, db: str, conn, ada: int):
    site.serve(db)
    recorded = []
    for seconds in (0, 1, 299, 300, 301, 599, 600, 10, -86400):
        site.at = NOW + timedelta(seconds=seconds)
        assert site.ask(X_Auth_Token=TOKEN) == found(ada)
        recorded.append(seen(conn) - in_column(NOW))

    assert [round(each.total_seconds()) for each in recorded] == [0, 0, 0, 300, 300, 300] + [
        600
    ] * 3


def test_without_a_clock_handed_in_it_is_now(site: Site, db: str, conn, ada: int):
    conn.execute("UPDATE users SET last_login_at = '2020-01-01'")
    before = in_column(datetime.now(UTC))

    site.serve(db, now=None).ask(X_Auth_Token=TOKEN)

    assert before <= seen(conn) <= in_column(datetime.now(UTC))


def test_fifty_requests_at_once_write_once(site: Site, db: str, conn, ada: int):
    site.serve(db, threads=50)
    conn.execute(WRITTEN)
    together = threading.Barrier(50, timeout=60)

    def come(_: int) -> tuple:
        together.wait()
        return site.ask(X_Auth_Token=TOKEN)

    with ThreadPoolExecutor(50) as people:
        for written in (1, 2):
            assert list(people.map(come, range(50))) == [found(ada)] * 50
            assert len(conn.execute("SELECT FROM written").fetchall()) == written
            site.at += FIVE_MINUTES


def test_a_locked_row_holds_up_no_request(site: Site, db: str, conn, ada: int):
    site.serve(db)
    with psycopg.connect(db) as other:
        other.execute("UPDATE users SET display_name = 'Ada L.'")

        assert site.ask(X_Auth_Token=TOKEN) == found(ada)
        assert seen(conn) == in_column(LONG_AGO)


def test_where_nothing_can_be_recorded_the_user_is_let_in(site: Site, db: str, conn, ada: int):
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET default_transaction_read_only = on")
    site.serve(db)

    assert site.ask(X_Auth_Token=TOKEN) == found(ada)
    assert seen(conn) == in_column(LONG_AGO)


# --- the database away ----------------------------------------------------------------------------


def test_without_a_database_nobody_is_called_wrong_who_may_be_right(site: Site):
    site.serve(NOWHERE)

    assert site.ask(X_Auth_Token=TOKEN) == AWAY
    for stranger in NOT_GIVEN.values():
        assert site.ask(stranger[0], **stranger[1]) == MISSING


def test_what_can_be_no_token_never_reaches_the_database(site: Site):
    site.serve(NOWHERE)
    at_sight = set(NOT_VALID) - {"unknown", "the query goes first", "another case", "short"}
    at_sight -= {"a pattern", "a format"}

    for how in at_sight:
        path, headers = NOT_VALID[how]
        assert site.ask(path, **headers) == WRONG, how


def test_without_a_database_and_no_login_required_everybody_is_nobody(site: Site):
    site.serve(NOWHERE, required=False)

    assert site.ask(X_Auth_Token=TOKEN) == NOBODY


def test_a_database_that_stops_and_comes_back(site: Site, used_home, caplog):
    with serving(used_home, allow_nobody=True, for_tests=True) as running:
        migrate.up(running.url)
        with psycopg.connect(running.url) as conn:
            conn.execute(
                "INSERT INTO users (foursquare_user_id, secret_token) VALUES ('f1', %s)", [TOKEN]
            )
        site.serve(running.url)
        assert site.ask(X_Auth_Token=TOKEN)[0] == 200

    with ThreadPoolExecutor(8) as people:
        away = list(people.map(lambda _: site.ask(X_Auth_Token=TOKEN), range(8)))
    assert away == [AWAY] * 8

    with serving(used_home, allow_nobody=True, for_tests=True):
        assert site.ask(X_Auth_Token=TOKEN)[0] == 200
        assert site.ask(X_Auth_Token=TOKEN)[0] == 200
        site.open_ones.close()

    told = [r.getMessage() for r in caplog.records if r.name == "checkinsync.web"]
    assert told[0].startswith("users can't be authenticated: ")
    assert told[-1] == "users can be authenticated again"
    assert len(told) < 6
    assert TOKEN not in caplog.text


def test_a_connection_that_was_cut_off_in_the_pool_fails_no_request(site: Site, db: str, conn, ada):
    site.serve(db)
    assert site.ask(X_Auth_Token=TOKEN) == found(ada)

    cut_off(conn)

    assert site.ask(X_Auth_Token=TOKEN) == found(ada)


def cut_off(conn: psycopg.Connection) -> None:
    """End the sessions of the middleware; there must be some."""
    assert conn.execute(
        """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE application_name = 'checkinsync-web' AND datname = current_database()
        """
    ).fetchall()


def test_on_a_schema_that_lacks_the_function_the_log_says_what_to_do(
    site: Site, db: str, conn, ada: int, caplog
):
    conn.execute("DROP FUNCTION authenticate")
    site.serve(db)

    assert site.ask(X_Auth_Token=TOKEN) == AWAY
    assert "run `checkinsync migrate`" in caplog.text
    assert TOKEN not in caplog.text


def test_what_the_database_refuses_is_told_in_its_words(site: Site, db: str, conn, ada, caplog):
    conn.execute("ALTER TABLE users RENAME COLUMN secret_token TO other")
    site.serve(db)

    assert site.ask(X_Auth_Token=TOKEN) == AWAY
    assert "secret_token does not exist" in caplog.text
    assert TOKEN not in caplog.text


# --- secrets --------------------------------------------------------------------------------------


def test_no_token_is_logged(site: Site, db: str, ada: int, caplog):
    for name in ("checkinsync", "psycopg", "waitress"):  # not the tests' own client
        caplog.set_level(logging.DEBUG, logger=name)
    site.serve(db)
    for path, headers in [*GIVEN.values(), *NOT_VALID.values()]:
        site.ask(path, **headers)

    assert TOKEN not in caplog.text
    assert ANOTHER not in caplog.text


@pytest.mark.parametrize("kind", [TokenAuth, AsyncTokenAuth])
def test_no_repr_shows_the_address(kind: Any):
    app = kind(wsgi_page, url=NOWHERE)

    assert "the-password" not in f"{app!r} {vars(app)!r}"


def test_an_error_of_the_application_has_no_token_of_ours_in_its_frames(db: str, conn, ada: int):
    """Error reporting tools collect the local variables of each frame."""

    def fails(environ: Any, _: Any) -> list[bytes]:
        raise RuntimeError(environ[middleware.USER].display_name)

    async def fails_too(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError(scope[middleware.USER].display_name)

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "query_string": f"token={TOKEN}".encode()}
        app = AsyncTokenAuth(fails_too, url=db)
        try:
            await app(scope, None, None)
        finally:
            await app._logins.close()

    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": f"token={TOKEN}"}
    wsgi = TokenAuth(fails, url=db)
    for run in (lambda: wsgi(environ, None), lambda: asyncio.run(ask())):
        with pytest.raises(RuntimeError, match="Ada") as caught:
            run()
        frames = [e.frame.f_locals for e in caught.traceback if e.path.name == "middleware.py"]
        ours = [f for local in frames for f in local.items() if f[0] not in ("environ", "scope")]
        assert ours
        assert TOKEN not in str(ours)
    wsgi.close()


# --- pools ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"url": ""},
        {"url": "postgresql://host/db", "pool": ConnectionPool("", open=False)},
        {"pool": "postgresql://host/db"},
        {"url": "postgresql://ada:the-password@[host/db"},
        {"url": "the-password"},
    ],
    ids=["neither", "empty", "both", "no pool", "no URL", "no DSN"],
)
@pytest.mark.parametrize("kind", [TokenAuth, AsyncTokenAuth])
def test_what_is_no_database_is_refused_at_the_start(kind: Any, more: dict[str, Any]):
    with pytest.raises(SettingsError) as caught:
        kind(wsgi_page, **more)

    assert "the-password" not in "".join(traceback.format_exception(caught.value))


def test_each_kind_refuses_the_other_one_s_pool():
    with pytest.raises(SettingsError, match="psycopg_pool's ConnectionPool"):
        TokenAuth(wsgi_page, pool=AsyncConnectionPool("", open=False))
    with pytest.raises(SettingsError, match="psycopg_pool's AsyncConnectionPool"):
        AsyncTokenAuth(asgi_page, pool=ConnectionPool("", open=False))


def test_the_application_s_pool_is_used_and_stays_open(db: str, conn, ada: int):
    with ConnectionPool(db, kwargs={"row_factory": dict_row}, min_size=1, open=True) as pool:
        app = TokenAuth(wsgi_page, pool=pool, now=lambda: NOW)
        site = Site("wsgi")
        with waitress_serving(app) as site.url:
            assert site.ask(X_Auth_Token=TOKEN) == found(ada)
        app.close()

        assert seen(conn) == in_column(NOW)
        assert not pool.closed
        assert pool.get_stats()["requests_num"] == 1


def test_the_application_s_async_pool_is_used_and_stays_open(db: str, conn, ada: int):
    pool = AsyncConnectionPool(db, kwargs={"row_factory": dict_row}, min_size=1, open=False)
    closed = []

    @asynccontextmanager
    async def lifespan(_: Starlette):
        async with pool:
            yield
            closed.append(pool.closed)

    inner = Starlette(lifespan=lifespan, routes=[Route("/", whose)])
    app = AsyncTokenAuth(inner, pool=pool, now=lambda: NOW)
    with uvicorn_serving(app, lifespan="on") as url:
        assert requests.get(url, headers={"X-Auth-Token": TOKEN}, timeout=30).json() == ada

    assert seen(conn) == in_column(NOW)
    assert closed == [False]


def test_a_pool_that_nobody_opened_is_told(site: Site, caplog):
    kind = ConnectionPool if site.kind == "wsgi" else AsyncConnectionPool
    pool: Any = kind(NOWHERE, open=False)
    app: Any = {"wsgi": TokenAuth, "asgi": AsyncTokenAuth}[site.kind]
    page: Any = {"wsgi": wsgi_page, "asgi": asgi_page}[site.kind]
    serve: Any = {"wsgi": waitress_serving, "asgi": uvicorn_serving}[site.kind]
    with serve(app(page, pool=pool)) as site.url:
        assert site.ask(X_Auth_Token=TOKEN) == AWAY

    assert "the pool that was given is not open" in caplog.text


async def whose(request: Any) -> JSONResponse:
    user = request.scope[middleware.USER]
    return JSONResponse(user and user.id)


def sessions(conn: psycopg.Connection) -> int:
    [row] = conn.execute(
        """
        SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'checkinsync-web' AND datname = current_database()
        """
    )
    return row[0]


def test_a_pool_of_its_own_is_small_and_closed_at_the_end(site: Site, db: str, conn, ada: int):
    site.serve(db, threads=20)
    assert sessions(conn) == 0
    with ThreadPoolExecutor(20) as people:
        list(people.map(lambda _: site.ask(X_Auth_Token=TOKEN), range(100)))
    assert 1 <= sessions(conn) <= 4

    site.open_ones.close()

    until(lambda: sessions(conn) == 0)


def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


# --- ASGI only ------------------------------------------------------------------------------------


def test_the_lifespan_is_the_application_s(db: str, conn, ada: int):
    events = []

    @asynccontextmanager
    async def lifespan(_: Starlette):
        events.append("startup")
        yield {"kept": ada}
        events.append("shutdown")

    async def kept(request: Any) -> JSONResponse:
        return JSONResponse(request.state.kept)

    inner = Starlette(lifespan=lifespan, routes=[Route("/", kept)])
    inner.add_middleware(AsyncTokenAuth, url=db)
    with uvicorn_serving(inner, lifespan="on") as url:
        assert events == ["startup"]
        told = requests.get(url, headers={"X-Auth-Token": TOKEN}, timeout=30)
        assert told.json() == ada
        assert sessions(conn) == 1

    assert events == ["startup", "shutdown"]
    until(lambda: sessions(conn) == 0)


@pytest.mark.parametrize("lifespan", ["auto", "off"])
def test_an_application_without_a_lifespan_is_served(db: str, ada: int, lifespan: str):
    """It may raise on lifespan events; connections are opened when they are needed."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await asgi_page(scope, receive, send)

    site = Site("asgi")
    with uvicorn_serving(AsyncTokenAuth(page, url=db), lifespan=lifespan) as site.url:
        assert site.ask(X_Auth_Token=TOKEN) == found(ada)


def test_each_request_may_have_an_event_loop_of_its_own(db: str, conn, ada: int):
    """As in test clients, and in servers that run functions."""
    app = AsyncTokenAuth(asgi_page, url=db)
    scope = {"type": "http", "method": "GET", "headers": [(b"X-Auth-Token", TOKEN.encode())]}
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message.get("body") or message["status"])

    for _ in range(3):
        asyncio.run(app(scope, None, send))
        cut_off(conn)

    assert [json.loads(body)["id"] for body in told[1::2]] == [ada] * 3


def test_a_query_that_waits_holds_up_no_other_request(asgi_site: Site, db: str, conn, ada: int):
    """The event loop answers other requests while one waits for a locked table."""
    asgi_site.serve(db)
    with psycopg.connect(db) as other, ThreadPoolExecutor(1) as background:
        other.execute("LOCK TABLE users")
        waiting = background.submit(asgi_site.ask, X_Auth_Token=TOKEN)
        until(lambda: sessions(conn) == 1 and blocked(conn))

        assert asgi_site.ask() == MISSING
        assert asgi_site.ask("/?token=no%20token") == WRONG
        assert not waiting.done()

        other.rollback()
        assert waiting.result(30) == found(ada)


def blocked(conn: psycopg.Connection) -> bool:
    return bool(
        conn.execute(
            """
            SELECT FROM pg_stat_activity
             WHERE application_name = 'checkinsync-web' AND wait_event_type = 'Lock'
            """
        ).fetchall()
    )


# --- websockets -----------------------------------------------------------------------------------


def talk(site: Site, path: str = "/", **headers: str) -> str:
    """Return the first message on a websocket."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = site.url.replace("http://", "ws://") + path
    with connect(address, additional_headers=named, open_timeout=30) as socket:
        return str(socket.recv(30))


def test_a_websocket_with_a_token_is_accepted(asgi_site: Site, db: str, conn, ada: int):
    asgi_site.serve(db)

    assert f'"id": {ada}' in talk(asgi_site, f"/?token={TOKEN}")
    assert f'"id": {ada}' in talk(asgi_site, X_Auth_Token=TOKEN)
    assert seen(conn) == in_column(NOW)


@pytest.mark.parametrize(
    ("path", "answer"), [("/", MISSING), (f"/?token={ANOTHER}", WRONG), ("/?token=%00", WRONG)]
)
def test_a_websocket_of_nobody_is_answered_before_it_opens(
    asgi_site: Site, db: str, path: str, answer: tuple
):
    asgi_site.serve(db)

    with pytest.raises(InvalidStatus) as caught:
        talk(asgi_site, path)

    told = caught.value.response
    assert told.status_code == 401
    assert told.headers["Content-Type"] == "application/json"
    assert json.loads(told.body) == answer[2]


def test_a_websocket_where_no_login_is_required_is_nobody_s(asgi_site: Site, db: str):
    asgi_site.serve(db, required=False)

    assert talk(asgi_site) == "null"


def test_a_websocket_without_a_database_is_told_to_come_again(asgi_site: Site):
    asgi_site.serve(NOWHERE)

    with pytest.raises(InvalidStatus) as caught:
        talk(asgi_site, X_Auth_Token=TOKEN)

    assert caught.value.response.status_code == 503


@pytest.mark.parametrize(("url", "code"), [(None, 1008), (NOWHERE, 1013)])
def test_a_server_that_can_only_close_a_websocket_closes_it(db: str, url: str | None, code: int):
    """Without the extension the server answers 403, and gets the close code."""
    closed = []
    app = AsyncTokenAuth(asgi_page, url=url or db)

    async def older(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            closed.append(message)
            await send(message)

        noting = noted if scope["type"] == "websocket" else send
        await app({**scope, "extensions": None}, receive, noting)

    site = Site("asgi")
    with uvicorn_serving(older) as site.url, pytest.raises(InvalidStatus) as caught:
        talk(site, X_Auth_Token=ANOTHER)

    assert caught.value.response.status_code == 403
    assert [(message["type"], message["code"]) for message in closed] == [("websocket.close", code)]
    assert len(closed[0]["reason"].encode()) <= 123  # what a close frame holds


# --- what it brings along -------------------------------------------------------------------------


def test_importing_it_loads_neither_the_command_line_nor_http():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, checkinsync.web; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert "psycopg" in loaded
    assert not {"click", "requests", "rich", "cryptography", "msgspec"} & set(loaded)
