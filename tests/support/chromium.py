"""A real Chromium, controlled over WebDriver in plain JSON, without a library."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers often give 64 MB
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # It reaches this machine only: no other name is resolved, and the proxy does not exist.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--proxy-server=http://127.0.0.1:9",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""WebDriver's key for a reference to an element."""

BROWSER, NETWORK = {"type": "browser"}, {"type": "performance"}
"""The logs of a browser: its console, and its requests."""

PATIENCE = 60.0
"""Seconds; a loaded machine starts a browser slowly."""


@dataclass
class Browser:
    """A window."""

    session: str

    def open(self, address: str) -> None:
        """Go to this address, and wait until the page is loaded."""
        _ask("POST", f"{self.session}/url", {"url": address})

    def click(self, text: str) -> None:
        """Click on the link with this text."""
        found = {"using": "link text", "value": text}
        element = _ask("POST", f"{self.session}/element", found)[ELEMENT]
        _ask("POST", f"{self.session}/element/{element}/click", {})

    def devtools(self, command: str, **given: Any) -> Any:
        """Give a command of Chromium's own protocol."""
        found = {"cmd": command, "params": given}
        return _ask("POST", f"{self.session}/goog/cdp/execute", found)

    def show(self, *, width: int, dark: bool = False, media: str = "") -> None:
        """Be a screen so wide, in light or dark; or with `media="print"`, paper."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def evaluate(self, script: str) -> Any:
        """Return what a script in the page returns."""
        given = {"script": script, "args": []}
        return _ask("POST", f"{self.session}/execute/sync", given)

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def console(self) -> list[str]:
        """Return what the console said since it was asked last, and forget it."""
        return [entry["message"] for entry in _ask("POST", f"{self.session}/se/log", BROWSER)]

    def requested(self) -> list[str]:
        """Return the addresses that were asked for since that was asked last, and forget them."""
        entries = _ask("POST", f"{self.session}/se/log", NETWORK)
        events = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    @property
    def address(self) -> str:
        """The address of the page."""
        return _ask("GET", f"{self.session}/url")

    @property
    def text(self) -> str:
        """The text of the page."""
        body = _ask("POST", f"{self.session}/element", {"using": "css selector", "value": "body"})
        return _ask("GET", f"{self.session}/element/{body[ELEMENT]}/text")


def programs() -> tuple[str, str]:
    """Find the browser and its driver; skips the test if they are not installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("Chromium is missing (on Debian: apt-get install chromium chromium-driver)")
    return browser, driver


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run a browser with an empty profile below `folder`; all its processes end with the block."""
    browser, driver = programs()
    options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
    logs = {"browser": "ALL", "performance": "ALL"}
    asked = {"goog:chromeOptions": options, "goog:loggingPrefs": logs}
    wanted = {"capabilities": {"alwaysMatch": asked}}
    with _driving(driver, folder) as address:
        session = _ask("POST", f"{address}/session", wanted)["sessionId"]
        try:
            yield Browser(f"{address}/session/{session}")
        finally:
            _ask("DELETE", f"{address}/session/{session}")


@contextmanager
def _driving(driver: str, folder: Path) -> Iterator[str]:
    """Run the driver on a port that it chooses; yields its address."""
    said = folder / "chromedriver.said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [driver, "--port=0"],
            stdout=out,
            stderr=out,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{_port(process, said)}"
    finally:
        with suppress(ProcessLookupError):  # with all its children, should the browser hang
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"started successfully on port (\d+)", said.read_text())):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)
    return found[1]


def _ask(method: str, address: str, given: dict[str, Any] | None = None) -> Any:
    """Send a command to WebDriver; returns its answer."""
    with requests.Session() as http:
        http.trust_env = False
        answer = http.request(method, address, json=given, timeout=PATIENCE)
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return value
