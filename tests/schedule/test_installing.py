"""The schedule: the texts for an installation, and how they come into a crontab or to systemd.

The crontab and systemctl of these tests are small programs in a folder of PATH; systemd's own
`systemd-analyze` reads the units where it is installed.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from checkinsync.cli import checkinsync, log
from checkinsync.config import settings
from checkinsync.errors import FileInTheWay, ScheduleRefused
from checkinsync.schedule import cron as cron_lines
from checkinsync.schedule.cron import Cron
from checkinsync.schedule.parts import State
from checkinsync.schedule.systemd import TIMER, Systemd
from support.examples import EXAMPLES, ROOT, USUAL

ME = pwd.getpwuid(os.geteuid()).pw_name
OURS = grp.getgrgid(os.getegid()).gr_name

CRONTAB = """#!/bin/sh
# Keeps one crontab in a file beside itself.
[ "$1" = -u ] && shift 2
table="$(dirname "$0")/table"
[ -e "$table.broken" ] && { echo "crontab: cannot open your crontab" >&2; exit 1; }
case "$1" in
    -l) [ -e "$table" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$table" ;;
    -) cat > "$table" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
"""
OTHERS = b"# other lines\r\nMAILTO=ann\n0 5 * * *\tbackup --name caf\xe9 100\\%\n"


@dataclass
class Machine:
    """A folder of programs, a crontab, and a home."""

    folder: Path

    @property
    def crontab(self) -> bytes:
        return (self.folder / "table").read_bytes()

    @property
    def calls(self) -> list[str]:
        """What systemctl was told."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def give(self, crontab: bytes) -> None:
        (self.folder / "table").write_bytes(crontab)

    def type(self, *words: str, **environ: str) -> Result:
        """A command of `schedule` in this process, with the settings of nobody but this."""
        env = dict.fromkeys((*settings.CERTIFICATES, "DATABASE_URL", "ENCRYPTION_KEY"))
        env |= {"XDG_CONFIG_HOME": str(self.folder / "config"), "CHECKINSYNC_CONFIG": ""}
        env |= {"CHECKINSYNC_LOG_FILE": str(self.folder / "logs" / "log"), **environ}
        (self.folder / "logs").mkdir(exist_ok=True)
        return CliRunner().invoke(checkinsync, ["schedule", *words], env=env)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    for name, text in (("crontab", CRONTAB), ("systemctl", SYSTEMCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    monkeypatch.setattr(cron_lines, "LOGROTATE", tmp_path / "rotated" / "checkinsync")
    (tmp_path / "rotated").mkdir()
    yield Machine(tmp_path)
    log.configure(verbosity=0, style="text", path=None)


@pytest.fixture
def cron(machine: Machine) -> Cron:
    return Cron(replace(USUAL, account=ME, group=OURS, log_file=machine.folder / "logs" / "log"))


@pytest.fixture
def timer(machine: Machine) -> Systemd:
    return Systemd(USUAL, machine.folder / "units")


# --- the texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_what_the_templates_give(name: str) -> None:
    """`make examples` writes them."""
    assert (ROOT / name).read_text(encoding="utf-8") == EXAMPLES[name]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("folder", ["opt", "a b/100%/$HOME"])
@pytest.mark.parametrize("own", [False, True])
def test_systemd_finds_nothing_wrong_with_the_units(
    machine: Machine, *, folder: str, own: bool
) -> None:
    program = machine.folder / folder / "checkinsync"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    environment = {"CHECKINSYNC_CONFIG": f"{program.parent}/our.toml"}
    installation = replace(
        USUAL,
        command=(str(program),),
        account=ME,
        environment=environment,
        writes=(program.parent,),
    )
    [*Systemd(installation, machine.folder / "units", own=own).install()]

    units = [machine.folder / "units" / name for name in ("checkinsync.service", TIMER)]
    command = ["systemd-analyze", *(["--user"] if own else []), "verify", *map(str, units)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(machine.folder)}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert (told.returncode, told.stderr) == (0, "")


def test_what_lies_in_a_home_folder_is_not_hidden_from_the_service() -> None:
    service = replace(USUAL, command=("/home/ann/venv/bin/checkinsync",)).system_service()

    assert "ProtectHome=read-only\n" in service
    assert "ProtectHome=yes\n" in USUAL.system_service()


def test_a_line_of_cron_starts_a_program_in_any_folder(tmp_path: Path) -> None:
    program = tmp_path / "it's 100% $HOME" / "checkinsync"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    text = replace(USUAL, command=(str(program),)).crontab()
    line = next(line for line in text.splitlines() if line.endswith(">/dev/null"))

    shell = line.split(maxsplit=5)[5].removesuffix(" >/dev/null").replace("\\%", "%")
    told = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)

    assert told.stdout == "status --max-age 26h\n"


def test_a_path_that_would_add_lines_is_refused() -> None:
    with pytest.raises(ScheduleRefused, match="not printable"):
        replace(USUAL, log_file=Path("/x\n* * * * * evil")).crontab()
    with pytest.raises(ScheduleRefused, match="use --cron"):
        replace(USUAL, command=('/a"b/checkinsync',)).system_service()


# --- cron -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [b"", OTHERS])
def test_our_lines_come_and_go_and_other_lines_stay_to_the_byte(
    cron: Cron, machine: Machine, others: bytes
) -> None:
    machine.give(others)

    first, again = [*cron.install()], [*cron.install()]
    installed = machine.crontab
    removed, nothing = [*cron.remove()], [*cron.remove()]

    assert installed == others + cron.installation.crontab().encode()
    assert first[0] == "wrote the lines of `crontab`"
    assert again == nothing == []
    assert removed[0] == "removed the lines of `crontab`"
    assert machine.crontab == others


def test_an_account_without_a_crontab_gets_one(cron: Cron, machine: Machine) -> None:
    assert cron.parts()[0].state is State.ABSENT

    [*cron.install()]

    assert machine.crontab == cron.installation.crontab().encode()
    assert cron.installation.log_file.parent.stat().st_mode & 0o777 == 0o750


def test_older_lines_of_ours_are_replaced_wherever_they_are(cron: Cron, machine: Machine) -> None:
    older = replace(cron.installation, minute=30).crontab().encode()
    machine.give(OTHERS + older + b"@reboot something")
    assert cron.parts()[0].state is State.DIFFERENT

    [*cron.install()]

    ours = cron.installation.crontab().encode()
    assert machine.crontab == OTHERS + b"@reboot something\n" + ours


def test_a_crontab_that_can_not_be_read_is_not_overwritten(cron: Cron, machine: Machine) -> None:
    machine.give(OTHERS)
    (machine.folder / "table.broken").touch()

    for change in (cron.install, cron.remove):
        with pytest.raises(ScheduleRefused, match=r"`crontab -l` failed: crontab: cannot open"):
            [*change()]

    assert machine.crontab == OTHERS


def test_lines_with_one_mark_only_are_left_to_the_operator(cron: Cron, machine: Machine) -> None:
    half = cron.installation.crontab().encode().replace(b"# END checkinsync\n", b"")
    machine.give(half + OTHERS)

    for change in (cron.install, cron.remove):
        with pytest.raises(ScheduleRefused, match="only one of the two marks"):
            [*change()]

    assert machine.crontab == half + OTHERS


def test_other_lines_that_start_it_are_told(cron: Cron, machine: Machine) -> None:
    machine.give(b"0 2 * * * /usr/bin/checkinsync orchestrate\n# checkinsync is below\n")
    [*cron.install()]
    assert ["runs twice" in notice for notice in cron.notices()] == [True]

    machine.give(OTHERS)
    assert [*cron.notices()] == []


# --- systemd --------------------------------------------------------------------------------------


def test_the_timer_comes_and_goes(timer: Systemd, machine: Machine) -> None:
    first, again = [*timer.install()], [*timer.install()]
    removed, nothing = [*timer.remove()], [*timer.remove()]

    units = [timer.folder / name for name in ("checkinsync.service", TIMER)]
    assert first == [f"wrote {path}" for path in units]
    assert removed == [f"removed {path}" for path in units]
    assert again == nothing == []
    assert not any(path.exists() for path in units)
    verbs = [call.split()[0] for call in machine.calls if call != "daemon-reload"]
    assert verbs == ["enable", "enable", "disable"]


def test_a_unit_of_somebody_elses_is_neither_replaced_nor_removed(
    timer: Systemd, machine: Machine
) -> None:
    timer.folder.mkdir()
    theirs = timer.folder / "checkinsync.service"
    theirs.write_text("[Service]\nExecStart=/bin/true\n")
    before = theirs.read_text()

    with pytest.raises(FileInTheWay, match="was not written by"):
        [*timer.install()]

    assert [*timer.remove()] == []
    assert theirs.read_text() == before
    assert machine.calls == []


def test_a_timer_of_ones_own_needs_lingering_or_a_login(timer: Systemd) -> None:
    own = replace(timer, own=True, installation=replace(timer.installation, account="no-such"))

    assert any("loginctl enable-linger" in notice for notice in own.notices())
    assert not any("loginctl" in notice for notice in timer.notices())


# --- the commands ---------------------------------------------------------------------------------


def test_one_kind_of_schedule_replaces_the_other(machine: Machine) -> None:
    units = machine.folder / "config" / "systemd" / "user"
    machine.give(OTHERS)

    by_cron = machine.type("install", "--cron")
    both = machine.type("install", "--user")
    shown = [json.loads(machine.type("show", f"--{kind}", "--json").output) for kind in KINDS]
    removed = machine.type("remove", "--user")

    assert by_cron.exit_code == both.exit_code == removed.exit_code == 0, both.output
    assert f"wrote {units / TIMER}" in both.output
    assert "removed the lines of `crontab" in both.output
    assert machine.crontab == OTHERS
    assert [part["state"] for told in shown for part in told["parts"]][:1] == ["absent"]
    assert {part["state"] for part in shown[1]["parts"]} == {"installed"}
    assert not (units / TIMER).exists()


KINDS = ("cron", "user")


def test_the_schedule_is_that_of_this_installation(machine: Machine) -> None:
    (machine.folder / "our.toml").write_text('stagger = "1m"\n')
    config = str(machine.folder / "our.toml")
    here = {"CHECKINSYNC_HOME": "/srv/checkins", "ENCRYPTION_KEY": "x" * 20}

    lines = machine.type("show", "--cron", CHECKINSYNC_CONFIG=config, **here).output
    unit = machine.type("show", "--user", CHECKINSYNC_CONFIG=config, **here).output
    (machine.folder / "our.toml").write_text('home = "/srv/checkins"\n')
    told = machine.type("show", "--cron", CHECKINSYNC_CONFIG=config).output

    for variable in (f"CHECKINSYNC_CONFIG={config}", "CHECKINSYNC_HOME=/srv/checkins"):
        assert f"\n{variable}\n" in lines
        assert f"\nEnvironment={variable}\n" in unit
    assert f"\nCHECKINSYNC_LOG_FILE={machine.folder}/logs/log\n" in lines
    assert "ENCRYPTION_KEY: set in this shell only" in lines
    assert "x" * 20 not in lines
    assert "CHECKINSYNC_HOME" not in told
    assert "in this shell only" not in told


def test_without_a_program_for_it_the_error_names_it(machine: Machine) -> None:
    (machine.folder / "crontab").unlink()

    shown, told = machine.type("show", "--cron"), machine.type("install", "--cron")

    assert shown.exit_code == 0
    assert isinstance(told.exception, ScheduleRefused)
    assert "crontab can't be run" in str(told.exception)
