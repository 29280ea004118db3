"""Machines with addresses of their own, one of which is cut off from the network."""

from __future__ import annotations

import pytest

from support.machines import may_lay_networks, office, share_a_night


def test_a_machine_that_dies_and_one_that_is_cut_off_cost_no_user_their_night(tmp_path, used_home):
    if not may_lay_networks():
        pytest.skip("only root can make network name spaces, with `ip` of iproute2")

    with office(tmp_path, used_home, machines=3) as place:
        share_a_night(place, users=40)
