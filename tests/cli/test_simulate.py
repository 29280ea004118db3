"""`checkinsync simulate`: a simulated Foursquare until it is asked to stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

COMMAND = [sys.executable, "-m", "checkinsync", "simulate", "--port"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_a_signal_asks_it_to_stop(number: signal.Signals) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "0"], text=True, **pipes) as serving:
        ready = serving.stderr.readline()
        serving.send_signal(number)
        out, err = serving.communicate(timeout=60)

    assert ready == "serving until Ctrl-C\n"
    assert (serving.returncode, err) == (128 + number, "checkinsync: stopped\n")
    assert out.startswith("CHECKINSYNC_API_URL=http://127.0.0.1:")


def test_the_address_that_it_prints_answers() -> None:
    with subprocess.Popen([*COMMAND, "0"], text=True, stdout=subprocess.PIPE) as serving:
        url = serving.stdout.readline().strip().partition("=")[2]
        with urlopen(f"{url}/users/self?v=20260101&oauth_token=demo-token-ada") as answer:
            assert b"Lovelace" in answer.read()
        serving.terminate()


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = subprocess.run([*COMMAND, port], capture_output=True, text=True, check=False)

    assert told.returncode == 78
    assert f"port {port} can't be used (Address already in use)" in told.stderr
