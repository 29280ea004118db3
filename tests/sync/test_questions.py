"""Questions to Foursquare about single check-ins."""

from __future__ import annotations

from checkinsync.simulator.faults import Fault
from support.factories import NOW

ADA = "token-ada"


def test_after_two_without_an_answer_the_others_are_left_for_another_night(env):
    """An outage costs a night two questions, not one for each check-in that is missing."""
    env.simulator.world.add_account(ADA, count=800, newest=int(NOW.timestamp()) - 3600)
    user = env.add(ADA)
    env.import_(user)
    deleted = env.simulator.world.accounts[ADA].ids[300:305]
    for item_id in deleted:
        env.simulator.world.delete(ADA, item_id)
        path = f"checkins/{item_id}"
        env.simulator.fail(Fault("server_error", path=path, times=None))
    env.conn.execute(
        """
        UPDATE checkins SET missing_since = %(now)s - interval '3 days',
                            missing_again_at = %(now)s - interval '2 days'
         WHERE foursquare_id = ANY (%(deleted)s)
        """,
        {"now": NOW, "deleted": deleted},
    )

    env.night(user)

    assert len(questions(env)) == 2
    env.simulator.faults.clear()
    env.night(user)
    assert questions(env) == {f"checkins/{item_id}" for item_id in deleted}


def questions(env) -> set[str]:
    return {seen.path for seen in env.simulator.requests if seen.path.startswith("checkins/")}
