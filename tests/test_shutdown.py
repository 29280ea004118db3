"""Signals that ask to stop, at any moment."""

from __future__ import annotations

import subprocess
import sys

SIGNALS_AS_SLEEP_BEGINS = """
import itertools, signal
from checkinsync.errors import Interrupted
from checkinsync.shutdown import Shutdown

heard = 0
for delay in itertools.islice(itertools.cycle(range(1, 60)), 1200):
    shutdown = Shutdown()
    shutdown.listen()
    try:
        with shutdown.gracefully():
            signal.setitimer(signal.ITIMER_REAL, delay / 1_000_000)
            shutdown.sleep(60)
    except Interrupted:
        heard += 1
print(heard)
"""


def test_a_signal_is_heard_whenever_it_comes_as_a_sleep_begins():
    command = [sys.executable, "-W", "error", "-c", SIGNALS_AS_SLEEP_BEGINS]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ran.stdout, ran.stderr) == ("1200\n", "")
