"""The README's server set-up, run to the letter on a fresh copy of this machine.

The copy is an overlay in memory over this machine's files, in mount and process namespaces of its
own: what is created and started there is gone when the test ends. Replaced is only what cannot be
there: the packages of Debian are installed already, the program comes as a wheel, and without a
running systemd the timer is enabled but not started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World
from test_docs import README, ROOT, blocks

PROGRAMS = (
    "unshare",
    "chroot",
    "bash",
    "runuser",
    "openssl",
    "useradd",
    "pg_createcluster",
    "systemctl",
)
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
PYTHON = "/usr/bin/python3"
TOKEN = "A-TOKEN-NOBODY-MAY-SEE-0001"
CHECKINS = 300
PATIENCE = 200
END = "--- what is there now ---"

FRESH_MACHINE = """
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p mnt/checkout mnt/packages mnt/wheel
mount --bind "$2" mnt/checkout
mount --bind "$3" mnt/packages
mount --bind "$4" mnt/wheel
rm -rf etc/postgresql var/lib/postgresql/* opt/checkinsync etc/checkinsync var/lib/checkinsync
exec chroot . bash -eux -c "$5"
"""
"""$1: an empty folder; $2: the checkout; $3: the packages that we depend on; $4: the folder of the
wheel; $5: the script."""

APT = "pg_createcluster $(ls /usr/lib/postgresql | tail -n 1) main -o listen_addresses= --start"
"""The last step of `apt-get install postgresql`; without a TCP port, which is the host's."""

PIP = """\
echo /mnt/packages > $(echo /opt/checkinsync/lib/python3.*/site-packages)/dependencies.pth
/opt/checkinsync/bin/pip install --quiet --no-index --no-deps /mnt/wheel/checkinsync-*.whl"""

LOOK = f"""
echo '{END}'
stat -c '%a %U:%G %n' /etc/checkinsync /etc/checkinsync/*
readlink -f /etc/systemd/system/timers.target.wants/checkinsync.timer
runuser -u postgres -- psql -tAc 'SELECT count(*) FROM checkins' checkinsync
"""

PRIVATE = """
rm -r /etc/checkinsync
checkinsync setup --yes --private --token-file /mnt/wheel/token --import --schedule systemd
stat -c '%a %U:%G %n' /etc/checkinsync /etc/checkinsync/* /var/lib/checkinsync/encryption.key
grep ^home /etc/checkinsync/checkinsync.toml
runuser -u checkinsync -- checkinsync users list
"""
"""The same with a private database, which belongs to the account."""


def on_a_fresh_machine(
    folder: Path, script: str, *, wheel: Path, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a script there, as root, with `given` on standard input and no environment of ours."""
    folder.mkdir()
    mounted = [str(folder), str(ROOT), sysconfig.get_path("purelib"), str(wheel)]
    env = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    env["SYSTEMD_OFFLINE"] = "1"
    return subprocess.run(
        [*NAMESPACES, "sh", "-eu", "-c", FRESH_MACHINE, "sh", *mounted, script],
        input=given, env=env, timeout=PATIENCE, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder to make copies in; skips the test where none can be made."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        pytest.skip(f"needs root on a Debian with PostgreSQL (no {', '.join(absent) or 'root'})")
    ask = f"{PYTHON} -c 'import sys, ensurepip; print(*sys.version_info[:2])'"
    tried = on_a_fresh_machine(tmp_path / "tried", ask, wheel=tmp_path)
    if tried.returncode:
        pytest.skip(f"no copy of this machine can be made: {tried.stderr.splitlines()[-1]}")
    if tried.stdout.split() != [str(number) for number in sys.version_info[:2]]:
        pytest.skip(f"{PYTHON} is not the version that runs the tests")
    return tmp_path


def build_wheel(folder: Path) -> Path:
    """The program as it would be released, in an empty folder."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    return folder


def commands() -> list[str]:
    """The README's commands for a server, without those that are not here."""
    text = README.read_text(encoding="utf-8").split("\n## On a server\n")[1]
    typed = blocks(text.split("\n## ")[0], "sh")
    script = "".join(typed)
    for beginning, instead in {"apt-get": APT, "/opt/checkinsync/bin/pip": PIP}.items():
        script, count = re.subn(
            rf"^{beginning} install .*$", lambda _, i=instead: i, script, flags=re.M
        )
        assert count == 1, beginning
    return script.splitlines()


@pytest.mark.db
@pytest.mark.long
def test_a_server_is_set_up_as_the_readme_says(machine: Path):
    wheel = build_wheel(machine / "wheel")
    (wheel / "token").write_text(TOKEN)
    world = World()
    world.add_account(TOKEN, count=CHECKINS)

    with Server(world) as foursquare:
        typed = [f"export CHECKINSYNC_API_URL={foursquare.url}", "cd /mnt/checkout", *commands()]
        script = "\n".join([*typed, LOOK, f"echo '{END}'", PRIVATE])
        done = on_a_fresh_machine(machine / "root", script, wheel=wheel, given=f"{TOKEN}\n")

    assert done.returncode == 0, done.stderr[-3000:]
    told, there, private = done.stdout.split(f"{END}\n")
    assert f"{CHECKINS} new" in told
    assert "\nproblem " not in told
    assert TOKEN not in done.stdout + done.stderr
    assert there.splitlines() == [
        "750 root:checkinsync /etc/checkinsync",
        "640 root:checkinsync /etc/checkinsync/checkinsync.toml",
        "640 root:checkinsync /etc/checkinsync/database.url",
        "640 root:checkinsync /etc/checkinsync/encryption.key",
        "/etc/systemd/system/checkinsync.timer",
        str(CHECKINS),
    ]
    assert "all is well" in private
    assert private.splitlines()[-6:-2] == [
        "750 root:checkinsync /etc/checkinsync",
        "640 root:checkinsync /etc/checkinsync/checkinsync.toml",
        "600 checkinsync:checkinsync /var/lib/checkinsync/encryption.key",
        'home = "/var/lib/checkinsync"',
    ]
    assert private.splitlines()[-1].split()[3:5] == ["ok", str(CHECKINS)]
