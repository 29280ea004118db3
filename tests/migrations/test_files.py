"""Files against the ledger: pending, refused, and split into statements."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from checkinsync.cli.render import migrate as render
from checkinsync.errors import MigrationRefused
from checkinsync.migrations import files
from checkinsync.migrations.files import Applied, Migration, State, Statement

ONE, TWO, THREE = (Migration(f"00{n}_add.sql", f"SELECT {n};\n") for n in (1, 2, 3))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def noted(file: Migration, *, baseline: bool = False) -> Applied:
    return Applied(file.name, file.sha256, AT, baseline)


def test_what_is_not_in_the_ledger_is_pending_in_order() -> None:
    assert files.undone([THREE, TWO, ONE], [noted(ONE)]) == [TWO, THREE]
    assert files.undone([ONE], [noted(ONE, baseline=True)]) == []


def test_changed_missing_and_late_files_are_refused_together_by_name() -> None:
    changed = Migration(ONE.name, "SELECT 'another';")
    gone = Migration("004_gone.sql", "")

    with pytest.raises(MigrationRefused) as caught:
        files.undone([changed, TWO, THREE], [noted(ONE), noted(THREE), noted(gone)])

    told = str(caught.value)
    assert caught.value.exit_code == 6
    assert "001_add.sql was changed" in told
    assert "004_gone.sql was applied and is missing" in told
    assert "002_add.sql comes out of order: 004_gone.sql is applied" in told
    assert "003_add.sql" not in told


def test_the_status_tells_each_file_and_since_when() -> None:
    changed = Migration(TWO.name, "SELECT 'another';")
    ledger = [noted(ONE, baseline=True), noted(TWO), noted(THREE)]
    late = Migration("004_late.sql", "SELECT 4")

    stand = files.standings([ONE, changed, late], ledger)

    assert [s.state for s in stand] == [
        State.BASELINE, State.CHANGED, State.MISSING, State.PENDING,
    ]  # fmt: skip
    assert render.status(stand).splitlines()[1:] == [
        "001_add.sql   baseline  2026-01-02 03:04:05",
        "002_add.sql   changed   2026-01-02 03:04:05",
        "003_add.sql   missing   2026-01-02 03:04:05",
        "004_late.sql  pending   -",
    ]


@pytest.mark.parametrize("name", ["add.sql", "1_add.sql", "001-add.sql", "001_Add.sql"])
def test_a_name_without_an_order_is_refused(name: str) -> None:
    with pytest.raises(MigrationRefused, match=name):
        Migration(name, "")


def test_two_files_with_one_number_are_refused() -> None:
    with pytest.raises(MigrationRefused, match=r"001_add\.sql and 001_other\.sql"):
        files.in_order([Migration("001_other.sql", ""), ONE])


def test_what_is_pending_is_told_by_number_in_few_words() -> None:
    names = [f"{n:03}_x.sql" for n in range(1, 11)]

    assert files.pending_text(names) == "10 migrations are pending (001 to 010)"
    assert files.pending_text(names[8:]) == "2 migrations are pending (009 and 010)"
    assert files.pending_text(names[5:6]) == "1 migration is pending (006)"


def test_an_unknown_number_is_refused_with_those_that_are_there() -> None:
    assert files.up_to([TWO, ONE], 1) == [ONE]
    with pytest.raises(MigrationRefused, match="no migration 007; there are 001, 002"):
        files.up_to([TWO, ONE], 7)


def test_a_file_in_a_transaction_is_sent_whole() -> None:
    text = "SELECT 1;\nDO $$ BEGIN\n  NULL;\nEND $$;\n"

    assert Migration("001_x.sql", text).statements == [Statement(text, 1)]


def test_a_file_without_transaction_is_cut_at_the_ends_of_lines() -> None:
    text = (
        "-- no transaction\n-- why; because;\nSELECT ';' ,\n  1; -- not here\n  SELECT 2;  \n"
        "\nSELECT 3;\nSELECT 4\n-- the end;\n"
    )

    statements = Migration("001_x.sql", text).statements

    assert [s.line for s in statements] == [1, 6, 8]
    assert [s.text.strip().splitlines()[-1].strip() for s in statements] == [
        "SELECT 2;", "SELECT 3;", "-- the end;",
    ]  # fmt: skip


def test_a_file_without_transaction_may_hold_no_function_body() -> None:
    with pytest.raises(MigrationRefused, match="function bodies"):
        Migration("001_x.sql", "-- no transaction\nDO $$ BEGIN NULL; END $$;")


def test_the_readme_beside_the_files_has_a_line_for_each() -> None:
    readme = (files.directory() / "README.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| `(\w+\.sql)` \|", readme, re.M)

    assert listed == [file.name for file in files.read()]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_checkout_with_other_line_ends_or_a_byte_order_mark_is_the_same(
    tmp_path: Path, mark: bytes
) -> None:
    for path in files.directory().glob("*.sql"):
        (tmp_path / path.name).write_bytes(mark + path.read_bytes().replace(b"\n", b"\r\n"))

    ours, theirs = files.read(), files.read(tmp_path)

    assert [file.sha256 for file in theirs] == [file.sha256 for file in ours]
    assert theirs == ours
    assert [f.name for f in theirs if f.no_transaction] == ["008_add_indexes.sql"]
