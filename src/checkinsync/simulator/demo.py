"""A world to look around in: five people with between 40 and 3,000 check-ins."""

from __future__ import annotations

import time
from collections.abc import Callable

from checkinsync.simulator.oauth import Client
from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World

PORT = 8901

PEOPLE = (
    ("Ada", "Lovelace", 3000),
    ("Ben", "Okafor", 1250),
    ("Chloé", "Dupont", 420),
    ("Emi", None, 160),
    ("Hiro", "Sato", 40),
)
"""First name, last name, check-ins; Ada is the one whose first import takes a while."""

LATE = 0.01
"""The share of check-ins that were entered late, as made offline."""


def demo_token(first_name: str) -> str:
    """The fixed token of one of the five: `demo-token-ada`."""
    return f"demo-token-{first_name.lower().replace('é', 'e')}"


def demo_world(seed: int = 1, *, now: float | None = None) -> World:
    """Five accounts whose newest check-ins are some hours old at `now` (Unix seconds)."""
    newest = int(time.time() if now is None else now)
    world = World(seed)
    for number, (first_name, last_name, count) in enumerate(PEOPLE, start=1):
        world.add_account(
            demo_token(first_name),
            first_name=first_name,
            last_name=last_name,
            count=count,
            newest=newest - 3600 * number,
            late=LATE,
        )
    return world


def serve(
    port: int = PORT,
    seed: int = 1,
    *,
    client: Client | None = None,
    ready: Callable[[Server], object] | None = None,
) -> None:
    """Serve the demo world until interrupted; `ready` is called once the port listens."""
    with Server(demo_world(seed), port=port, client=client) as server:
        if ready:
            ready(server)
        server.wait()
