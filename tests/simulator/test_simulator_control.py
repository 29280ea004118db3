"""The simulator steered from another process, over HTTP."""

from __future__ import annotations

import pytest

from checkinsync.simulator import demo
from checkinsync.simulator.server import Server
from checkinsync.simulator.world import World
from support.simulator import CHECKINS, calling


@pytest.fixture
def server():
    with Server(World.generate(accounts=2, count=30)) as server:
        yield server


@pytest.fixture
def ada(server):
    with calling(server, "token-1") as caller:
        yield caller


def tell(caller, what):
    return caller.session.get(f"{caller.server.control_url}/{what}", timeout=10).json()


def do(caller, verb, **wanted):
    return caller.session.post(f"{caller.server.control_url}/{verb}", json=wanted, timeout=10)


def test_the_truth_can_be_asked_for(ada):
    assert tell(ada, "accounts/token-1")["ids"] == ada.walk()
    assert [account["count"] for account in tell(ada, "accounts")] == [30, 30]


def test_the_requests_can_be_asked_for_and_steering_is_not_among_them(ada):
    ada.get(offset=10)
    tell(ada, "accounts")

    (seen,) = tell(ada, "requests")
    assert (seen["path"], seen["params"]["offset"], seen["way"]) == (CHECKINS, "10", "query")


def test_the_world_can_be_changed(ada):
    added = do(ada, "add", token="token-1", created_at=1_760_000_000, shout="Hi").json()["result"]
    assert ada.ids()[0] == added

    do(ada, "edit", token="token-1", item_id=added, shout="Hello")
    assert ada.checkins()["items"][0]["shout"] == "Hello"

    do(ada, "delete", token="token-1", item_id=added)
    assert added not in ada.ids()

    do(ada, "revoke", token="token-1")
    assert ada.get().status_code == 401


def test_accounts_can_be_added(ada, server):
    added = do(ada, "add_account", token="new", count=5, first_name="Zoë").json()["result"]

    assert (added["first_name"], added["count"]) == ("Zoë", 5)
    with calling(server, "new") as new:
        assert len(new.ids()) == 5


def test_switches_can_be_turned(ada):
    do(ada, "switches", page_cap=3, hourly_limit=7)

    assert len(ada.ids()) == 3
    assert tell(ada, "switches")["hourly_limit"] == 7


def test_faults_can_be_added_and_cleared(ada):
    do(ada, "faults", kind="server_error", times=None)
    assert ada.get().status_code == 500

    do(ada, "faults/clear")
    assert ada.get().status_code == 200


@pytest.mark.parametrize(
    ("verb", "wanted"),
    [
        ("switches", {"no_such": 1}),
        ("faults", {"no_such": 1}),
        ("explode", {}),
        ("delete", {"token": "token-1", "item_id": "none"}),
        ("delete", {}),
    ],
)
def test_a_mistake_is_named(ada, verb, wanted):
    answer = do(ada, verb, **wanted)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_demo_is_served_until_somebody_ends_it():
    served = []

    def ready(server):
        with calling(server, "demo-token-hiro") as hiro:
            served.append(len(hiro.walk()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.serve(port=0, ready=ready)
    assert served == [40]
