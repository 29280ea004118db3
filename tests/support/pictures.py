"""The pictures of the README: `make pictures` makes them with the real program and made-up users.

`status` as a terminal of 80 columns shows it after `checkinsync demo`, and the operator's page of
120 users and 30 nights in Chromium.
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psycopg
from rich.console import Console
from rich.text import Text

from support.chromium import chromium
from support.many import fill
from support.terminal import on_terminal

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PROGRAM = (sys.executable, "-m", "checkinsync")
COLUMNS = 80
WIDTH, HEIGHT = 900, 762
"""Pixels of the page that are shown."""
REMOTE_FONTS = re.compile(r"@font-face \{.*?\}\n?", re.S)
"""Rich names a server for its font; any font of fixed width will do."""


def main() -> None:
    """Write both pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o711)  # as root the server runs under another account
        environ = {**os.environ, "CHECKINSYNC_HOME": str(here / "demo")}
        run("demo", "--keep", str(here / "demo"), environ=environ)
        (IMAGES / "status.svg").write_text(status(here, environ), encoding="utf-8")
        with serving(environ) as url, psycopg.connect(url, autocommit=True) as conn:
            conn.execute("TRUNCATE users, sync_runs CASCADE")
            conn.execute("ALTER SEQUENCE users_id_seq RESTART")
            fill(conn, users=120, nights=30, at=datetime.now(UTC))
            run("report", "-o", str(here / "report.html"), environ=environ)
        (IMAGES / "report.png").write_bytes(page(here))


def run(*words: str, environ: dict[str, str]) -> None:
    subprocess.run([*PROGRAM, *words], env=environ, check=True, stdout=subprocess.DEVNULL)


def status(folder: Path, environ: dict[str, str]) -> str:
    """Return `checkinsync status` as an SVG."""
    screen = on_terminal(SimpleNamespace(folder=folder, environ=environ), "status", columns=COLUMNS)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen.raw.replace("\r\n", "\n").rstrip()))
    return REMOTE_FONTS.sub("", console.export_svg(title="checkinsync status"))


@contextmanager
def serving(environ: dict[str, str]) -> Iterator[str]:
    """Keep the database up for the block; yields its address."""
    command = [*PROGRAM, "db", "serve"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def page(folder: Path) -> bytes:
    """Return the upper part of the page as a PNG."""
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
    with chromium(folder) as browser:
        browser.show(width=WIDTH)
        browser.open((folder / "report.html").as_uri())
        shot = browser.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    main()
