"""One folder of data seen from several namespaces, as containers and systemd make them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from checkinsync.embedded import serving
from checkinsync.embedded.account import choose
from checkinsync.embedded.cluster import Cluster
from checkinsync.errors import EmbeddedDatabaseError
from support.concurrent import another, start

pytestmark = pytest.mark.db

FAST = {"allow_nobody": True, "for_tests": True}
CONTAINER = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--mount-proc")
ROOTLESS = ("unshare", "--user", "--map-root-user")


def unshared(*command: str) -> tuple[str, ...]:
    """Return that command, if this machine lets it run; else skip."""
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this machine has no unshare")
    if allowed.returncode != 0 or os.geteuid() != 0:
        pytest.skip("this user can't make such namespaces")
    return command


@pytest.fixture
def container() -> tuple[str, ...]:
    return unshared(*CONTAINER)


@pytest.fixture
def far(home: Path) -> Path:
    """A home whose path is too long for a socket, which therefore lies in /tmp."""
    return home / ("x" * 100)


def with_own(socket_dir: Path, uid: int) -> tuple[str, ...]:
    """A shell that hides the socket's folder from others and becomes the program behind it."""
    made = f"mkdir -m 700 {socket_dir} && chown {uid} {socket_dir}"
    mounted = f"mount -t tmpfs -o uid={uid},mode=700 tmpfs {socket_dir}"
    return ("sh", "-c", f'{made} && {mounted} && exec "$@"', "sh")


def cluster_of(home: Path) -> Cluster:
    base = home / "postgres"
    return Cluster(base, choose(None, data=base / "data", allow_nobody=True))


def test_a_server_whose_socket_is_hidden_is_reported_and_not_doubled(
    far: Path, container: tuple[str, ...]
) -> None:
    cluster = cluster_of(far)
    hiding = with_own(cluster.socket_dir, cluster.account.uid)
    with another(far, within=(*container, *hiding)):
        pid_file = (cluster.data / "postmaster.pid").read_text()

        hidden = pytest.raises(EmbeddedDatabaseError, match=r"another container.*PrivateTmp")
        with hidden, serving(far, **FAST):
            pytest.fail("a second server serves the same data")

        assert (cluster.data / "postmaster.pid").read_text() == pid_file
    with serving(far, **FAST) as running, psycopg.connect(running.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


SHARING = """
import pathlib, subprocess, sys
from checkinsync.embedded import serving

home, uid = pathlib.Path(sys.argv[1]), int(sys.argv[2])
server = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
strangers = []
while not strangers or strangers[-1].pid < server:
    strangers.append(subprocess.Popen(["sleep", "600"], user=uid, cwd="/"))
with serving(home, allow_nobody=True, for_tests=True) as running:
    print(running.url)
print([stranger.poll() for stranger in strangers if stranger.pid == server])
"""


def test_a_server_in_another_container_is_shared_and_left_running_there(
    used_home: Path, container: tuple[str, ...]
) -> None:
    """Here its process number is that of another program, which no signal may reach."""
    killed = "os._exit(0)"
    stays = ("sh", "-c", '"$@"; exec sleep 600', "sh")
    with start(used_home, killed, within=(*container, *stays)) as elsewhere:
        try:
            url = elsewhere.stdout.readline().strip()
            assert url, elsewhere.stderr.read()

            shared = shared_by(container, used_home)

            assert shared.splitlines() == [url, "[None]"]
            with psycopg.connect(url) as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)
        finally:
            elsewhere.kill()
    with serving(used_home, **FAST) as running, psycopg.connect(running.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def shared_by(container: tuple[str, ...], home: Path) -> str:
    """Return the output of a program in another container that uses the server briefly."""
    account = str(cluster_of(home).account.uid)
    command = [*container, sys.executable, "-c", SHARING, home, account]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            return process.communicate(timeout=60)[0]
        finally:
            process.kill()


def test_root_of_a_user_namespace_can_not_become_another_user_and_is_told(home: Path) -> None:
    with start(home, "", within=unshared(*ROOTLESS)) as process:
        _, trouble = process.communicate(timeout=60)

    assert "SettingsError: root can't become" in trouble
    assert "user namespace" in trouble
    assert "run checkinsync as an ordinary user" in trouble
    assert list(home.iterdir()) == []
