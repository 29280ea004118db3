"""Machines on a network of their own: name spaces with an address each, on one bridge; for root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import psycopg

from checkinsync.embedded import serving
from checkinsync.embedded.cluster import PORT, ROLE
from checkinsync.migrations import migrate
from checkinsync.simulator.seen import Seen
from checkinsync.workers import schema
from support.database import open_folder
from support.engines import QUICK
from support.stories import QUIET, Started, Story, telling

FORWARD = """
import os, shutil, socket, threading

def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

def serve(listener, to):
    while True:
        one, _ = listener.accept()
        threading.Thread(target=forward, args=(one, to), daemon=True).start()

def forward(one, to):
    with one:
        with socket.create_connection(to, timeout=10) as other:
            other.settimeout(None)
            back = threading.Thread(target=copy, args=(other, one), daemon=True)
            back.start()
            copy(one, other)
            back.join()

listener = socket.create_server(("127.0.0.1", 0))
to = os.environ["FORWARD"].split(":")
threading.Thread(target=serve, args=(listener, (to[0], int(to[1]))), daemon=True).start()
port = listener.getsockname()[1]
os.environ["CHECKINSYNC_API_URL"] = f"http://127.0.0.1:{port}" + os.environ["API_PATH"]
"""
"""Lets a loopback port of the machine lead to the simulator: elsewhere no plain HTTP is sent."""

WORKER = """
import sys
from checkinsync.__main__ import main

sys.argv[1:] = ["worker"]
main()
"""
"""The worker as an operator starts it."""


IN_HAND = 8
"""Imports of the worker that is killed, and of that which is cut off, whose end nobody may have
heard of: others then look again, and find nothing new."""


@dataclass(frozen=True)
class Machine:
    """A name space of the network, whose link has one end on the bridge."""

    namespace: str
    link: str
    address: str

    def cut(self) -> None:
        """Take its link down, without a word to either side."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Take its link up again."""
        _ip("link", "set", self.link, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def may_lay_networks() -> bool:
    """Return True if this user may make name spaces and bridges here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"try{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


@contextmanager
def laid(count: int) -> Iterator[tuple[str, list[Machine]]]:
    """Make a bridge and so many machines on it; yield the bridge's address and the machines."""
    number = os.getpid() % 65536
    bridge, net = f"csb{number}", f"10.{200 + number // 16384}.{number // 64 % 256}"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        host = number % 64 * 4
        _ip("addr", "add", f"{net}.{host + 1}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        machines = []
        for each in range(count):
            address = f"{net}.{host + 2 + each}"
            machine = Machine(f"cs{number}n{each}", f"cs{number}v{each}", address)
            _ip("netns", "add", machine.namespace)
            stack.callback(_ip, "netns", "del", machine.namespace)
            inside = ("-n", machine.namespace)
            _ip("link", "add", machine.link, "type", "veth",
                "peer", "name", "eth0", "netns", machine.namespace)  # fmt: skip
            _ip("link", "set", machine.link, "master", bridge, "up")
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            machines.append(machine)
        yield f"{net}.{host + 1}", machines


@contextmanager
def reachable(home: Path, address: str) -> Iterator[tuple[str, str]]:
    """Serve a database that listens on the bridge, too; yield its address here and there."""
    with (
        serving(home, allow_nobody=True, for_tests=True) as running,
        psycopg.connect(running.url, autocommit=True) as conn,
    ):
        conn.execute(f"ALTER SYSTEM SET listen_addresses = '{address}'")
    with serving(home, allow_nobody=True, for_tests=True) as running:
        rules = home / "postgres/hba.conf"
        rules.write_text(f"{rules.read_text()}host all all samenet trust\n")
        with psycopg.connect(running.url, autocommit=True) as conn:
            conn.execute("SELECT pg_reload_conf()")
        migrate.up(running.url)
        schema.up(running.url, sleep=time.sleep)
        yield running.url, f"postgresql://{ROLE}@{address}:{PORT}/checkinsync"


@dataclass(frozen=True)
class Office:
    """Machines, and a story at the place where the database and Foursquare are."""

    story: Story
    machines: list[Machine]
    api: SplitResult
    url: str

    def worker(self, machine: Machine, *, quick: bool) -> Started:
        """Start a worker on a machine. `quick`: one that takes others for dead after a second, and
        its own connections after two."""
        program = FORWARD + (QUICK if quick else WORKER)
        hasty = "?tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1&connect_timeout=2"
        own = {
            "CHECKINSYNC_DATABASE_URL": self.url + (hasty if quick else ""),
            "FORWARD": self.api.netloc,
            "API_PATH": self.api.path,
        }
        inside = ["ip", "netns", "exec", machine.namespace, sys.executable, "-W", "error"]
        return self.story.start_program([*inside, "-c", program], env={**self.story.environ, **own})


@contextmanager
def office(folder: Path, home: Path, *, machines: int) -> Iterator[Office]:
    """Yield a story whose database and simulator are reached from so many machines."""
    with (
        laid(machines) as (address, found),
        reachable(home, address) as (url, there),
        telling(folder, url, host=address) as story,
    ):
        api, story.environ["CHECKINSYNC_API_URL"] = story.simulator.url, "http://127.0.0.1:9/v2"
        yield Office(story, found, urlsplit(api), there)


def share_a_night(place: Office, *, users: int, minute: float | None = None) -> float:
    """Let three machines import so many users, while one worker is killed and another is cut off;
    check that each user was synced once, and return the seconds that it took.

    `minute`: the time without a network, in seconds, with workers as an operator starts them;
    None: until the others have done most of the work, with time-outs of a second or two.
    """
    story, quick = place.story, minute is None
    people = [story.person(f"Person {number}", 2) for number in range(users)]
    crew = [place.worker(machine, quick=quick) for machine in place.machines]
    story.until(lambda: at_work(story) == len(crew))
    cut: list[None] = []

    def trouble(_: Seen) -> None:
        count = len(story.simulator.requests)
        if count == users // 4:
            crew[0].signal(signal.SIGKILL)
        elif count == users // 2:
            cut.append(place.machines[1].cut())

    story.simulator.on_request = trouble
    began = time.monotonic()
    run = story.start("orchestrate", "--engine", "procrastinate", "--wait")
    story.until(lambda: cut)
    if minute is None:
        give_up(story, crew[1].pid, place.machines[1].address)
        story.until(lambda: done(story) >= users * 3 // 4)
    else:
        time.sleep(minute)
    place.machines[1].mend()
    ended, took = run.ended(within=600), time.monotonic() - began
    for worker in crew[1:]:
        worker.signal(signal.SIGTERM)
        assert worker.ended().code == 0
    assert ended == QUIET
    assert story.complete(*people)
    assert story.rows("SELECT due, synced, failed, outcome FROM sync_runs") == [
        (users, users, 0, "ok")
    ]
    [(imported, imports)] = story.rows(
        "SELECT count(DISTINCT user_id), count(*) FROM import_jobs WHERE status = 'completed'"
    )
    assert imported == users
    assert imports <= users + IN_HAND
    return took


def at_work(story: Story) -> int:
    """Count the workers."""
    return story.rows("SELECT count(*) FROM checkinsync_queue.procrastinate_workers")[0][0]


def done(story: Story) -> int:
    """Count the users who are done."""
    query = "SELECT count(*) FROM checkinsync_queue.users WHERE outcome IS NOT NULL"
    return story.rows(query)[0][0]


def give_up(story: Story, pid: int, address: str) -> None:
    """Give a machine up that is cut off, as the server and the leases do within 90 seconds."""
    story.rows(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr = %s::inet
        """,
        address,
    )
    story.conn.execute(
        """
        UPDATE import_leases SET expires_at = now() - interval '1 s'
         WHERE expires_at > now() AND split_part(owner, ' ', 2) = %s
        """,
        [str(pid)],
    )


def main() -> None:
    """Do it as it is promised: 300 users, and a minute without a network."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_folder() as home,
        office(Path(folder), home, machines=3) as place,
    ):
        took = share_a_night(place, users=300, minute=60)
    print(f"300 users on three machines, one killed, one cut off for a minute: {took:.0f} s; "
          "each synced once")  # fmt: skip


if __name__ == "__main__":
    main()
