"""`make demo` and `make test`: what each of them installs, in either order."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYTHON = r"""#!/bin/sh
# Stands for Python: makes an environment of itself, and notes what is installed and run in it.
echo "$(basename "$0") $*" >> calls
if [ "$2" = venv ]; then
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/checkinsync"
fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout with a Python that only notes what it is called for."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "fake").write_text(PYTHON)
    (tmp_path / "fake").chmod(0o755)
    return tmp_path


def make(checkout: Path, target: str) -> tuple[str, list[str]]:
    """What `make` says, and the calls that it makes."""
    (checkout / "calls").write_text("")
    command = ["make", target, f"PYTHON={checkout}/fake"]
    environ = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    told = subprocess.run(
        command, cwd=checkout, env=environ, capture_output=True, text=True, check=True
    )
    return told.stdout, (checkout / "calls").read_text().splitlines()


def installed(calls: list[str]) -> list[str]:
    return [call.split()[-1] for call in calls if " install " in call]


def test_the_demo_comes_first_and_without_the_tools(checkout: Path) -> None:
    said, demo = make(checkout, "demo")
    _, test = make(checkout, "test")

    assert installed(demo) == [".[embedded]"]
    assert demo[-1] == "checkinsync demo"
    assert [line.split()[0] for line in said.splitlines()] == ["Making", "Installing", "Running:"]
    assert installed(test) == [".[dev]"]
    assert "-m pytest" in test[-1]


def test_the_tests_come_first_and_the_demo_needs_nothing_more(checkout: Path) -> None:
    _, test = make(checkout, "test")
    _, demo = make(checkout, "demo")

    assert installed(test) == [".[dev]"]
    assert demo == ["checkinsync demo"]


def test_neither_installs_twice(checkout: Path) -> None:
    for target in ("demo", "test", "demo", "test"):
        _, calls = make(checkout, target)

    assert installed(calls) == []
