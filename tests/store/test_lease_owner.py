"""Dead is only what surely is: a process of this very host that can be seen to live no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checkinsync.store import lease_owner
from checkinsync.store.lease_owner import Owner

NOBODY = 2**22 + 1
"""Above the largest process number there can be."""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is alive."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def owner(pid: int) -> Owner:
    """As that process would call itself."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return replace(lease_owner.me(), pid=pid, started=int(stat[19]))


def is_dead(who: Owner, **more: Path) -> bool:
    return lease_owner.is_dead(str(who), **more)


def test_this_process_and_a_living_or_a_stopped_one_are_not_dead(child):
    assert lease_owner.me() == owner(os.getpid())
    assert not is_dead(lease_owner.me())
    assert not is_dead(owner(child.pid))
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert not is_dead(owner(child.pid))


def test_one_that_was_killed_is_dead_waited_for_or_not(child):
    who = owner(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    assert is_dead(who)
    child.wait()
    assert is_dead(who)


def test_a_number_that_another_process_has_now_is_no_sign_of_life(child):
    assert is_dead(replace(owner(child.pid), started=1))


@pytest.fixture
def proc(tmp_path) -> Path:
    """A /proc that shows this process only, as `hidepid=2` has it for another user."""
    (tmp_path / "sys").symlink_to("/proc/sys")
    (tmp_path / str(os.getpid())).symlink_to("/proc/self")
    (tmp_path / "self").symlink_to(str(os.getpid()))
    return tmp_path


def test_what_is_hidden_from_us_may_be_alive(child, proc):
    assert lease_owner.me(proc=proc) == lease_owner.me()

    assert not is_dead(owner(child.pid), proc=proc)
    assert is_dead(replace(lease_owner.me(), pid=NOBODY), proc=proc)


def test_other_processes_of_our_numbers_tell_nothing_of_ours(child, proc):
    """A container that sees its host's /proc has other numbers than are shown there."""
    (proc / str(child.pid)).symlink_to(f"/proc/{os.getppid()}")
    (proc / "self").unlink()
    (proc / "self").symlink_to("/proc/self")

    assert not is_dead(owner(child.pid), proc=proc)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_another_name_boot_or_name_space_is_another_host(part):
    parts = lease_owner.me().host.split("/")
    parts[part] = "0"
    elsewhere = Owner("/".join(parts), NOBODY, 1)

    assert len(parts) == 4
    assert not is_dead(elsewhere)


@pytest.mark.parametrize(
    "text", ["", "host", "host 1", "host one 1", "host 1 1 1", "elsewhere 1 1"]
)
def test_what_names_no_process_of_ours_is_not_dead(text):
    assert not lease_owner.is_dead(text)


def test_where_the_kernel_tells_no_more_than_a_name_nobody_is_dead(tmp_path):
    """Two containers may have the same name."""
    who = lease_owner.me(proc=tmp_path)

    assert "/" not in who.host
    assert not is_dead(replace(who, pid=NOBODY), proc=tmp_path)
