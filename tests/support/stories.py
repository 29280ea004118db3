"""Whole runs as an operator starts them: real processes, a real PostgreSQL, a simulated Foursquare.

All output of the processes is kept in files and searched for secrets when the story ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from checkinsync.embedded import serving
from checkinsync.keys.keyring import Keyring
from checkinsync.migrations import migrate
from checkinsync.simulator.seen import Seen
from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World
from support import forked
from support.database import open_folder
from support.forked import Forked

KEY = "5ea1" * 16
WRONG_KEY = "bad0" * 16
PASSWORD = "the-password-of-the-database"
PATIENCE = 60.0
"""Seconds; it takes one or two unless the machine is busy."""


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a process."""

    code: int
    out: str = ""
    err: str = ""


QUIET = Done(0)


@dataclass(frozen=True)
class Person:
    """A user and their account at Foursquare."""

    id: int
    name: str
    token: str


@dataclass
class Started:
    """A running process."""

    popen: Forked | subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def type(self, text: str) -> None:
        """Write to its standard input, which has to be a PIPE."""
        self.popen.stdin.write(text.encode())
        self.popen.stdin.flush()

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self, *, within: float = PATIENCE) -> Done:
        code = self.popen.wait(within)
        if self.popen.stdin:
            self.popen.stdin.close()
        return Done(code, self.out.read_text(), self.err.read_text())


@dataclass
class Story:
    """An operator's shell, the application's database, and Foursquare."""

    folder: Path
    url: str
    conn: psycopg.Connection
    simulator: Server
    secrets: set[str] = field(default_factory=lambda: {KEY, WRONG_KEY, PASSWORD})
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[Started] = field(default_factory=list)
    held: socket.socket = field(default_factory=socket.socket)

    def __post_init__(self) -> None:
        self.keyring = Keyring([KEY])
        self.environ = {
            "PATH": os.environ["PATH"],
            **forked.USUAL,
            "HOME": str(self.folder),
            "CHECKINSYNC_HOME": str(self.folder / "home"),
            "CHECKINSYNC_DATABASE_URL": f"{self.url}&password={PASSWORD}",
            "CHECKINSYNC_ENCRYPTION_KEY": KEY,
            "CHECKINSYNC_API_URL": self.simulator.url,
            "CHECKINSYNC_RETRY_DELAY": "0.2s",
            "CHECKINSYNC_STAGGER": "0s",
        }

    # --- the operator's shell ---------------------------------------------------------------------

    def start(self, *words: str, given: str | int | None = None, **settings: str) -> Started:
        """Start a command, with `given` on standard input (or PIPE, for typing); `settings` by
        their short names."""
        own = {f"CHECKINSYNC_{name.upper()}": value for name, value in settings.items()}
        env = {**self.environ, **own}
        return self._started(lambda **streams: forked.start(words, env=env, **streams), given)

    def start_program(
        self,
        command: list[str],
        *,
        given: str | int | None = None,
        env: dict[str, str] | None = None,
    ) -> Started:
        """Start any program; its output is kept, too."""
        env = env or self.environ
        return self._started(lambda **streams: subprocess.Popen(command, env=env, **streams), given)

    def _started(
        self,
        start: Callable[..., Forked | subprocess.Popen[bytes]],
        given: str | int | None,
    ) -> Started:
        number = len(self.processes)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        asked = self.folder / f"{number}.in"
        asked.write_text(given if isinstance(given, str) else "")
        with asked.open("rb") as file, out.open("wb") as stdout, err.open("wb") as stderr:
            stdin = given if isinstance(given, int) else file
            popen = start(stdin=stdin, stdout=stdout, stderr=stderr)
        self.processes.append(Started(popen, out, err))
        return self.processes[-1]

    def run(self, *words: str, given: str | None = None, **settings: str) -> Done:
        """Run a command to its end."""
        return self.start(*words, given=given, **settings).ended()

    # --- Foursquare, and the application's database -----------------------------------------------

    def account(self, name: str, count: int, **more: object) -> str:
        """Add an account with check-ins, the newest an hour old; return its token."""
        token = f"A-TOKEN-NOBODY-MAY-SEE-{len(self.simulator.world.accounts):04X}"
        self.secrets.add(token)
        more.setdefault("newest", int(time.time()) - 3600)
        with self.simulator.lock:
            self.simulator.world.add_account(token, count=count, first_name=name, **more)
        return token

    def person(self, name: str, count: int, **more: object) -> Person:
        """Add an account and its user, connected by the application: with an encrypted token."""
        token = self.account(name, count, **more)
        foursquare_id = self.simulator.world.accounts[token].user_id
        [number] = self.conn.execute(
            """
            INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted,
                               secret_token)
            VALUES (%s, %s, %s, 'magic-link-of-' || %s::text)
            RETURNING id
            """,
            [foursquare_id, name, self.keyring.encrypt(token), foursquare_id],
        ).fetchone()
        self.secrets.add(f"magic-link-of-{foursquare_id}")
        return Person(number, name, token)

    def people(self, *counts: int) -> list[Person]:
        """Add one person for each count."""
        names = ("Ada", "Ben", "Chloé", "Dmitri", "Emi", "Farid", "Grete", "Hiro")
        return [self.person(name, count) for name, count in zip(names, counts, strict=False)]

    def stored(self, person: Person) -> list[str]:
        """Return the Foursquare ids of all rows of a person, each as often as it is stored."""
        rows = self.conn.execute(
            "SELECT foursquare_id FROM checkins WHERE user_id = %s ORDER BY 1", [person.id]
        )
        return [row[0] for row in rows]

    def shown(self, person: Person) -> list[str]:
        """Return the ids that Foursquare shows: each has to be stored once."""
        return sorted(self.simulator.shown_ids(person.token))

    def complete(self, *people: Person) -> bool:
        """Return True if everything that Foursquare shows is stored once."""
        return all(self.stored(person) == self.shown(person) for person in people)

    def requests(self, person: Person | None = None) -> list[Seen]:
        """Return the requests seen so far, of one person or of all."""
        with self.simulator.lock:
            seen = list(self.simulator.requests)
        return [one for one in seen if person is None or one.token == person.token]

    def rows(self, query: str, *values: object) -> list[tuple]:
        """Return the rows of a query."""
        return self.conn.execute(query, values or None).fetchall()

    def contents(self, *without: str) -> dict[str, list[str]]:
        """Return all rows of all tables except those."""
        return {
            name: sorted(row for (row,) in self.rows(_all_of(name)))
            for (name,) in self.rows(TABLES)
            if name not in without
        }

    # --- waiting, and the end ---------------------------------------------------------------------

    @staticmethod
    def until(true: Callable[[], object], *, within: float = PATIENCE) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + within
        while not true():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    def at_request(self, nth: int, do: Callable[[], object]) -> None:
        """Do something at the nth request from now on, before it is answered."""
        first = len(self.requests())

        def on_request(_: Seen) -> None:
            if len(self.simulator.requests) == first + nth:
                do()

        self.simulator.on_request = on_request

    def asleep(self, *words: str, at_request: int = 1) -> Started:
        """Start a command and stop it (SIGSTOP) at its nth request, outside of a transaction."""

        def stop() -> None:  # in one, its locks would be waited for until the server ends it
            self.until(lambda: self.rows(IN_TRANSACTIONS) == [(0,)])
            process.signal(signal.SIGSTOP)

        with self.simulator.lock:
            process = self.start(*words)
            self.at_request(at_request, stop)
        self.until(lambda: _state(process.pid) == "T")
        self.simulator.on_request = None
        return process

    def unplug(self) -> None:
        """Close Foursquare for good; its port is held, so that nobody else gets it."""
        self.simulator.close()
        self.held.bind(("127.0.0.1", urlsplit(self.simulator.url).port))

    def end(self) -> None:
        """End all processes; assert that no output and no table holds a secret."""
        self.held.close()
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()
            if process.popen.stdin:
                process.popen.stdin.close()
        files = [path for path in self.folder.rglob("*") if path.suffix in {".out", ".err", ".log"}]
        told = {str(path): path.read_text(errors="replace") for path in files}
        with suppress(psycopg.OperationalError):  # a story may have taken the server away
            told |= {
                name: "\n".join(rows)
                for name, rows in self.contents("users", "checkins", "checkin_photos").items()
            }
        for place, text in told.items():
            leaked = {secret for secret in self.secrets if secret in text}
            assert not leaked, f"{place} holds {leaked}"


def _state(pid: int) -> str:
    """Return the state of a process: `T` if it was stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


IN_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'checkinsync'
   AND xact_start IS NOT NULL
"""

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


def _all_of(table: str) -> sql.Composed:
    return sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table))


@contextmanager
def telling(folder: Path, url: str, *, host: str = "127.0.0.1") -> Iterator[Story]:
    """Yield a story in a folder and a database with the schema. `host`: of the simulator."""
    with (
        Server(World(), host=host) as simulator,
        psycopg.connect(url, autocommit=True, application_name="story") as conn,
    ):
        story = Story(folder, url, conn, simulator)
        try:
            yield story
        finally:
            story.end()


@pytest.fixture
def story(db: str, tmp_path: Path) -> Iterator[Story]:
    with telling(tmp_path, db) as story:
        yield story


SECRETS = {
    "CHECKINSYNC_CLIENT_SECRET": "the-client-secret",
    "CHECKINSYNC_DATABASE_URL_FILE": "",
    "ENCRYPTION_KEY": "the-old-key-of-the-application",
    "FOURSQUARE_CLIENT_SECRET": "the-secret-of-the-application",
    "MAPS_API_KEY": "the-key-of-something-else",
    "PGPASSWORD": "the-password-of-another-database",
    "CREDENTIALS_DIRECTORY": "/nonexistent",
}
"""Of other programs, in the environment of one who uses the embedded database."""


@pytest.fixture(scope="session")
def owned_once(made_once: Path) -> Iterator[Path]:
    """A home with a stopped database that has the schema and one user."""
    with open_folder() as folder:
        subprocess.run(["cp", "-a", made_once / "postgres", folder], check=True)
        with serving(folder, allow_nobody=True, for_tests=True) as running:
            migrate.up(running.url)
            with psycopg.connect(running.url) as conn:
                conn.execute(
                    """
                    INSERT INTO users (foursquare_user_id, access_token_encrypted, secret_token)
                    VALUES ('1', %s, 'a-magic-link')
                    """,
                    [Keyring([KEY]).encrypt("A-TOKEN")],
                )
        yield folder


@pytest.fixture
def own(story: Story, home: Path, owned_once: Path) -> Story:
    """A story on the embedded database, with one user and secrets in the environment."""
    if (owned_once / "postgres/data").owner() == "nobody":
        pytest.skip("no account of this machine may run a database that is worth something")
    subprocess.run(["cp", "-a", owned_once / "postgres", home], check=True)
    del story.environ["CHECKINSYNC_DATABASE_URL"]
    story.environ |= {**SECRETS, "CHECKINSYNC_HOME": str(home)}
    return story


def utc_now() -> datetime:
    """Return the time as the application's columns hold it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
