"""The simulator's histories: deterministic, realistic, and changed only by what one asks for."""

from __future__ import annotations

import json
import time

import pytest

from checkinsync.simulator.demo import demo_token, demo_world
from checkinsync.simulator.variants import TWINS, variants
from checkinsync.simulator.world import NEWEST, World, id_instant


@pytest.fixture
def world() -> World:
    return World.generate(seed=7, accounts=1, count=60)


def items(world: World, token: str = "token-1") -> list:
    return world.accounts[token].items


def test_the_same_seed_makes_the_same_history(world):
    assert items(World.generate(seed=7, accounts=1, count=60)) == items(world)
    assert items(World.generate(seed=8, accounts=1, count=60)) != items(world)


def test_an_item_does_not_depend_on_what_was_looked_at_before(world):
    last = world.accounts["token-1"].newest_first()[-1].item

    assert items(World.generate(seed=7, accounts=1, count=60))[-1] == last


@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 500])
def test_an_account_has_as_many_checkins_as_asked_for(count):
    world = World()
    account = world.add_account("token", count=count)

    assert len(set(account.ids)) == count
    assert account.ids == sorted(account.ids, reverse=True)


def test_70_000_checkins_cost_next_to_no_time_until_they_are_looked_at():
    before = time.process_time()
    account = World().add_account("token", count=70_000)

    assert len(set(account.ids)) == 70_000
    assert time.process_time() - before < 5
    assert not any(entry.made for entry in account.entries)


def test_an_ordinary_item_has_the_size_and_keys_of_recorded_ones(world):
    encoded = [entry.encoded for entry in world.accounts["token-1"].entries]

    assert 1300 < sum(map(len, encoded)) / len(encoded) < 2000
    assert max(map(len, encoded)) < 3600
    for item in items(world):
        assert int(item["id"][:8], 16) == item["createdAt"]
        assert {"venue", "photos", "likes", "comments", "posts", "source"} <= item.keys()
        assert item["editableUntil"] > 1_000_000_000_000


def test_late_ones_have_an_id_later_than_their_time():
    account = World().add_account("token", count=500, late=0.1)
    late = [item for item in account.items if id_instant(item["id"]) > item["createdAt"]]

    assert 20 < len(late) < 100


def test_a_late_entry_stands_elsewhere_in_each_of_the_two_orders(world):
    late = world.add("token-1", created_at=NEWEST - 9_000_000, entered_at=NEWEST + 60)
    account = world.accounts["token-1"]

    assert account.newest_first("id")[0].id == late
    assert account.newest_first("created")[0].id != late


def test_a_group_of_one_second_may_be_larger_than_a_page(world):
    group = world.add_group("token-1", 300, at=NEWEST)

    assert len(set(group)) == 300
    assert {item["createdAt"] for item in items(world)[:300]} == {NEWEST}


def test_deleting_takes_one_away(world):
    first, *rest = world.accounts["token-1"].ids
    world.delete("token-1", first)

    assert world.accounts["token-1"].ids == rest
    with pytest.raises(KeyError):
        world.delete("token-1", first)


def test_editing_keeps_the_id_and_a_new_time_moves_the_checkin(world):
    first = items(world)[0]
    world.edit("token-1", first["id"], shout="new", createdAt=first["createdAt"] - 10**8)

    moved = items(world)[-1]
    assert (moved["id"], moved["shout"]) == (first["id"], "new")


def test_photos_and_likes_come_later(world):
    first = items(world)[0]
    photo = world.add_photo("token-1", first["id"])
    world.like("token-1", first["id"], "Grace", "Alan")

    edited = items(world)[0]
    assert edited["photos"]["items"][-1]["id"] == photo
    assert edited["photos"]["count"] == first["photos"]["count"] + 1
    assert edited["likes"]["count"] == 2


@pytest.mark.parametrize("looked_at_before", [True, False])
def test_old_checkins_show_the_venue_as_it_is_now(looked_at_before):
    world = World.generate(seed=3, accounts=1, count=200)
    shown = items(World.generate(seed=3, accounts=1, count=200))
    if looked_at_before:
        items(world)
    a, b, c = list(dict.fromkeys(item["venue"]["id"] for item in shown))[:3]

    world.rename_venue(a, "Renamed")
    world.close_venue(b)
    world.merge_venue(c, into=a)

    for before, now in zip(shown, items(world), strict=True):
        assert now["venue"]["id"] == before["venue"]["id"].replace(c, a)
        assert (now["venue"]["name"] == "Renamed") == (before["venue"]["id"] in (a, c))
        assert now["venue"].get("closed", False) == (before["venue"]["id"] == b)


def test_a_new_token_is_granted_after_a_revocation_only(world):
    account = world.accounts["token-1"]
    assert world.grant(account) == "token-1"

    world.revoke("token-1")

    assert world.grant(account) == "token-1-again"
    assert world.accounts == {"token-1-again": account}


def test_every_variant_has_an_own_place_and_comes_back_as_it_is():
    world = World()
    account = world.add_account("token")
    kept = world.add_variants("token")
    odd = variants(seed=world.seed)

    assert len(account.entries) == len(odd) == len(kept) > 55
    times = [entry.created_at for entry in account.entries]
    assert len(set(times)) == len(times) - len(TWINS)
    listed = [json.dumps(item) for item in account.items]
    assert sorted(listed) == sorted(json.dumps(item) for item in odd.values())


def test_twins_share_their_second_and_the_second_pair_its_venue():
    odd = variants()
    for a, b in TWINS:
        assert odd[a]["createdAt"] == odd[b]["createdAt"]
        assert odd[a]["id"] != odd[b]["id"]
    assert odd[TWINS[0][0]]["venue"] != odd[TWINS[0][1]]["venue"]
    assert odd[TWINS[1][0]]["venue"] == odd[TWINS[1][1]]["venue"]


def test_an_item_may_be_any_text():
    world = World()
    world.add_account("token")
    world.add_text("token", '{"id": "x", "zz": NaN', created_at=7, item_id="x")

    [entry] = world.accounts["token"].newest_first()
    assert (entry.id, entry.created_at, entry.encoded) == ("x", 7, b'{"id": "x", "zz": NaN')


def test_what_postgresql_refuses_is_among_the_variants():
    odd = variants()

    assert "\0" in odd["nul_in_shout"]["shout"]
    with pytest.raises(UnicodeEncodeError):
        odd["lone_surrogate_in_shout"]["shout"].encode()


def test_the_demo_has_five_people_and_fixed_tokens():
    world = demo_world(seed=1, now=NEWEST)
    counts = {account.first_name: len(account.entries) for account in world.accounts.values()}

    assert list(counts) == ["Ada", "Ben", "Chloé", "Emi", "Hiro"]
    assert (counts["Ada"], counts["Hiro"]) == (3000, 40)
    assert world.accounts["demo-token-chloe"].first_name == "Chloé"
    assert demo_token("Ada") == "demo-token-ada"
    newest = max(entry.entered_at for one in world.accounts.values() for entry in one.entries)
    assert newest < NEWEST
