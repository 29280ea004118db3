"""A simulated Foursquare with one user, until its standard input ends."""

from __future__ import annotations

import sys

from checkinsync.simulator.server import Server
from checkinsync.simulator.switches import Switches
from checkinsync.simulator.world import World

TOKEN = "token-1"


def serve(count: int) -> None:
    """Print the address and serve; all items are made before, and there is no rate limit."""
    world = World.generate(accounts=1, count=count)
    for entry in world.accounts[TOKEN].entries:
        assert entry.encoded
    with Server(world, Switches(hourly_limit=10**9)) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
