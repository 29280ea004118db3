"""The peers' environments: made once, kept in the user's cache, never in the project's."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

PEERS = Path(__file__).parent / "peers"

NEEDS = {
    "swarm-to-sqlite": ["swarm-to-sqlite==0.3.4", "sqlite-utils<4"],
    "foursquare-swarm-ical": ["foursquare-swarm-ical==1.1.0", "setuptools<80"],
    "dlt": ["dlt[postgres]==1.31.0"],
    "psycopg": ["psycopg[binary]==3.3.9", "requests==2.34.2"],
}


def python(peer: str) -> str:
    """Return the Python of a peer's environment; make it where it is not there yet."""
    needs = NEEDS[peer]
    digest = hashlib.sha256(repr((sys.version, needs)).encode()).hexdigest()[:8]
    folder = _cache() / f"{peer}-{digest}"
    program = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making an environment for {peer} in {folder} …", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [
            str(program),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *needs,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        (folder / "ready").touch()
    return str(program)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "checkinsync-bench"
