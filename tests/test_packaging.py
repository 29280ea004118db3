"""What is installed holds the migrations and the schemas, whichever way it was built."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from checkinsync.migrations import files

ROOT = Path(__file__).parent.parent
TEMPLATES = "checkinsync/schedule/templates"
MIGRATIONS = {path.name for path in (ROOT / "sql").glob("*.sql")}


def build(out: Path, *options: str, source: Path = ROOT) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)


def packed(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs, by path; without the record of it."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "RECORD" not in name}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One built from the checkout, one from the sdist."""
    direct, by_sdist = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("sdist")
    build(direct, "--wheel")
    build(by_sdist)
    return next(direct.glob("*.whl")), next(by_sdist.glob("*.whl"))


def test_both_wheels_hold_the_same_and_all_migrations(wheels: tuple[Path, Path]) -> None:
    direct, by_sdist = map(packed, wheels)

    assert direct == by_sdist
    packaged = {Path(name).name for name in direct if name.startswith("checkinsync/sql/")}
    assert packaged == {*MIGRATIONS, "README.md"}
    pages = {Path(name).name for name in direct if "/share/man/man1/" in name}
    assert pages == {path.name for path in (ROOT / "contrib" / "man").iterdir()}
    schemas = {Path(name).name for name in direct if name.startswith("checkinsync/schemas/")}
    assert schemas == {path.name for path in (ROOT / "schemas").iterdir()}
    templates = {Path(name).name for name in direct if name.startswith(TEMPLATES)}
    assert templates == {path.name for path in (ROOT / "src" / TEMPLATES).iterdir()}


def test_the_metadata_say_what_it_is_and_which_pythons_it_knows(wheels: tuple[Path, Path]) -> None:
    [text] = [text for name, text in packed(wheels[0]).items() if name.endswith("METADATA")]

    metadata = message_from_bytes(text)

    pythons = [c for c in metadata.get_all("Classifier") if ":: 3." in c]
    assert [c.rpartition(" ")[2] for c in pythons] == ["3.11", "3.12", "3.13", "3.14"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"foursquare", "swarm", "postgresql"} <= {*metadata["Keywords"].split(",")}


def test_an_installed_package_finds_its_own_migrations(
    wheels: tuple[Path, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheels[1]) as archive:
        archive.extractall(tmp_path)
    ask = "import checkinsync.migrations.files as f; print(f.directory(), *f.names(), sep='\\n')"

    out = subprocess.run(
        [sys.executable, "-c", ask],
        env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip

    assert Path(out[0]) == tmp_path / "checkinsync" / "sql"
    assert set(out[1:]) == MIGRATIONS


def test_the_sdist_holds_sources_and_no_leftovers(wheels: tuple[Path, Path]) -> None:
    with tarfile.open(next(wheels[1].parent.glob("*.tar.gz"))) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]

    assert {f"sql/{name}" for name in MIGRATIONS} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(".venv")]


def test_a_checkout_finds_its_migrations() -> None:
    assert files.directory().samefile(ROOT / "sql")
    assert {file.name for file in files.read()} == MIGRATIONS
