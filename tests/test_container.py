"""The container: its files are linted, name what exists, and are built where an engine runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from test_docs import ROOT, check_words, settings

DOCKERFILE = ROOT / "contrib" / "Dockerfile"
COMPOSE = ROOT / "contrib" / "compose.yaml"
TAG = "checkinsync-test"


def told(*command: str, within: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False
    )


def linter(name: str) -> str:
    """The path of a linter of the extra `dev`."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        pytest.skip(f"{name} is not installed")
    return str(path)


def engine() -> str | None:
    """A container engine that runs here."""
    names = [name for name in ("docker", "podman") if shutil.which(name)]
    return next((name for name in names if told(name, "info").returncode == 0), None)


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    assert told(linter("hadolint"), "--no-color", str(DOCKERFILE)).stdout == ""


def test_the_compose_file_is_as_its_schema_wants_it() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")

    done = told(linter("check-jsonschema"), *schema, str(COMPOSE))

    assert done.returncode == 0, done.stdout


def test_the_commands_and_settings_of_the_container_exist() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    lists = [json.loads(found) for found in re.findall(r"CMD (\[.*\])", text)]
    for words in lists:
        check_words(words[words[0] == "checkinsync" :])
    assert ["checkinsync", "status", "--max-age", "26h"] in lists
    assert ["schedule", "run"] in lists
    both = text + COMPOSE.read_text(encoding="utf-8")
    named = {name.lower() for name in re.findall(r"CHECKINSYNC_([A-Z_]+)", both)}
    assert named <= {*settings.SETTINGS, *(f"{name}_file" for name in settings.SECRETS)}
    assert re.search(r"^USER [1-9]", text, re.MULTILINE), "not as root"


@pytest.mark.skipif(engine() is None, reason="no container engine runs here")
def test_the_image_is_built_and_runs_as_an_ordinary_user() -> None:
    run = str(engine())
    built = told(run, "build", "--file", str(DOCKERFILE), "--tag", TAG, ".", within=290)
    assert built.returncode == 0, built.stderr

    version = told(run, "run", "--rm", TAG, "--version")
    check = told(run, "run", "--rm", TAG, "config", "check")
    who = told(run, "run", "--rm", "--entrypoint", "id", TAG, "-u")

    assert version.stdout.startswith("checkinsync, version ")
    assert (check.returncode, who.stdout) == (0, "10001\n"), check.stdout
