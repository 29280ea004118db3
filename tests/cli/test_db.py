"""`checkinsync db`: no dump harms a file, and no restore a database, unless it is whole."""

from __future__ import annotations

import signal
import stat
from pathlib import Path
from subprocess import PIPE

import pytest

from support.stories import KEY, SECRETS, Story

COUNT = "SELECT count(*) FROM users"


def users(story: Story) -> int:
    return int(story.run("db", "shell", "-c", COUNT, "--", "-At").out)


def test_a_dump_is_its_owner_s_only_and_is_told_with_its_size(own: Story):
    file = own.folder / "a.dump"

    dumped = own.run("db", "dump", str(file))

    assert (dumped.code, dumped.out) == (0, "")
    assert dumped.err == f"wrote {file} ({file.stat().st_size} bytes)\n"
    assert file.read_bytes().startswith(b"PGDMP")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in own.folder.glob("*.dump*")] == ["a.dump"]
    assert own.run("-q", "db", "dump", str(file), "--force").err == ""


def test_a_file_that_is_there_is_replaced_only_by_force_and_never_through_a_link(own: Story):
    precious, link = own.folder / "precious", own.folder / "link"
    precious.write_text("precious")
    link.symlink_to(precious)

    for words in ([str(precious)], [str(link)], [str(link), "--force"], ["/dev/null", "--force"]):
        refused = own.run("db", "dump", *words)

        assert (refused.code, refused.out) == (2, "")
        assert words[0] in refused.err
    assert precious.read_text() == "precious"
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert own.run("db", "dump", str(precious), "--force").code == 0
    assert precious.read_bytes().startswith(b"PGDMP")


@pytest.mark.parametrize("end", ["fails", "killed"])
def test_a_dump_that_fails_leaves_the_old_file_whole(own: Story, end: str):
    file = own.folder / "a.dump"
    file.write_text("the dump of yesterday")
    lock = own.start("db", "shell", given=PIPE)
    lock.type("BEGIN;\nLOCK TABLE users;\nSELECT 'it is locked';\n")
    own.until(lambda: "it is locked" in lock.out.read_text())
    dumping = own.start("db", "dump", str(file), "--force")
    own.until(lambda: waiting(own))

    if end == "killed":
        dumping.signal(signal.SIGTERM)
    else:
        own.run("db", "shell", "-c", TERMINATE)

    failed = dumping.ended()
    assert (failed.code, failed.out) == (143 if end == "killed" else 1, "")
    assert end == "killed" or f"{file} is not written: pg_dump failed" in failed.err
    assert file.read_text() == "the dump of yesterday"
    assert [path.name for path in own.folder.glob("*a.dump*")] == ["a.dump"]


TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'
    """


def waiting(story: Story) -> bool:
    query = """
        SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'
        """
    return int(story.run("db", "shell", "-c", query, "--", "-At").out) > 0


def test_a_restore_puts_back_what_was_dumped(own: Story):
    file = own.folder / "a.dump"
    assert own.run("db", "dump", str(file)).code == 0
    assert own.run("users", "remove", "1", "--yes").code == 0

    asked = own.run("db", "restore", str(file))
    restored = own.run("db", "restore", str(file), "--yes")

    assert asked.code == 2
    assert "--yes" in asked.err
    assert (restored.code, restored.out) == (0, "")
    assert restored.err == f"restored {file} ({file.stat().st_size} bytes)\n"
    assert users(own) == 1


def test_a_restore_that_fails_leaves_the_database_as_it_was(own: Story):
    file, link = own.folder / "a.dump", own.folder / "link"
    assert own.run("db", "dump", str(file)).code == 0
    assert own.run("users", "add", "--foursquare-id", "2", given="ANOTHER-TOKEN").code == 0
    link.symlink_to(file)
    cut = own.folder / "cut.dump"
    cut.write_bytes(file.read_bytes()[:-2000])

    cut_off = own.run("db", "restore", str(cut), "--yes")
    linked = own.run("db", "restore", str(link), "--yes")

    assert cut_off.code == 1
    assert "the database is as it was before" in cut_off.err
    assert linked.code == 2
    assert "symbolic link" in linked.err
    assert users(own) == 2


def test_programs_that_are_started_get_no_secret_along(own: Story):
    shown = own.run("db", "shell", "-c", r"\! env", PAGER="less", DATABASE_URL="")

    assert shown.code == 0
    assert "PATH=" in shown.out
    assert "HOME=" in shown.out
    for secret in (KEY, *filter(None, SECRETS.values()), "CHECKINSYNC_"):
        assert secret not in shown.out


def test_ctrl_c_belongs_to_the_shell_s_program(own: Story):
    """A terminal sends it to both; psql cancels a query then, and goes on."""
    shell = own.start("db", "shell", "--", "-At", given=PIPE)
    shell.type("SELECT 'it is open';\n")
    own.until(lambda: "it is open" in shell.out.read_text())

    shell.signal(signal.SIGINT)
    shell.type("SELECT pg_sleep(0.5);\nSELECT 'it goes on';\n\\q\n")

    ended = shell.ended()
    assert ended.code == 0
    assert "it goes on" in ended.out


def test_a_server_of_ones_own_has_its_own_programs(story: Story):
    file = story.folder / "a.dump"

    refused = story.run("db", "dump", str(file))

    assert refused.code == 78
    assert "use its pg_dump" in refused.err
    assert not file.exists()
