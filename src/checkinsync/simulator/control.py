"""The interface by which another process steers the simulator: `/simulator/…`, in JSON.

| request | effect |
|---|---|
| `GET /simulator/requests` | all requests seen, oldest first |
| `GET /simulator/accounts` | all accounts: token, user id, name, count |
| `GET /simulator/accounts/{token}` | the same with `ids`: the truth, newest first |
| `GET /simulator/switches` | all switches |
| `POST /simulator/switches` | turn some: `{"order": "id", "hourly_limit": 100}` |
| `POST /simulator/faults` | add one: `{"kind": "reset", "offset": 250}` |
| `POST /simulator/faults/clear` | let nothing strike any more |
| `POST /simulator/{verb}` | change the world: a method of `World` with its arguments by name |

The verbs are in `VERBS`: `POST /simulator/delete {"token": "demo-token-ada", "item_id": "…"}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from checkinsync.simulator.answers import Answer, as_json
from checkinsync.simulator.faults import Fault, Faults
from checkinsync.simulator.history import Account
from checkinsync.simulator.seen import Request, Seen
from checkinsync.simulator.switches import Switches
from checkinsync.simulator.world import World

PREFIX = "simulator/"

VERBS: dict[str, Callable[..., Any]] = {
    verb.__name__: verb
    for verb in (
        World.add,
        World.add_account,
        World.add_group,
        World.add_photo,
        World.add_text,
        World.add_variants,
        World.close_venue,
        World.delete,
        World.drift,
        World.edit,
        World.leave_out,
        World.like,
        World.merge_venue,
        World.rename_venue,
        World.revoke,
    )
}


class Control:
    """Answers the requests that steer; they are not logged, and count for no limit."""

    def __init__(
        self, world: World, switches: Switches, faults: Faults, requests: list[Seen]
    ) -> None:
        self._world = world
        self._switches = switches
        self._faults = faults
        self._requests = requests

    def answer(self, request: Request) -> Answer:
        """Return what was asked for, or 400 with a sentence on what is wrong."""
        try:
            if request.method == "GET":
                return as_json(self._told(request.path.removeprefix(PREFIX).split("/")))
            told = self._done(request.path.removeprefix(PREFIX), json.loads(request.body or b"{}"))
            return as_json({"result": told})
        except (LookupError, TypeError, ValueError) as error:
            return as_json({"error": f"{type(error).__name__}: {error}"}, status=400)

    def _told(self, asked: list[str]) -> Any:
        match asked:
            case ["requests"]:
                return [asdict(seen) for seen in self._requests]
            case ["accounts"]:
                return [_account(account) for account in self._world.accounts.values()]
            case ["accounts", token]:
                account = self._world.accounts[token]
                return _account(account) | {"ids": account.ids}
            case ["switches"]:
                return asdict(self._switches)
        raise LookupError(f"nothing to tell about {'/'.join(asked)}")

    def _done(self, verb: str, wanted: dict[str, Any]) -> Any:
        if verb == "switches":
            return turn(self._switches, wanted)
        if verb == "faults":
            return self._faults.add(Fault(**wanted))
        if verb == "faults/clear":
            return self._faults.clear()
        result = VERBS[verb](self._world, **wanted)
        return _account(result) if isinstance(result, Account) else result


def turn(switches: Switches, wanted: dict[str, Any]) -> None:
    """Turn switches by name; LookupError on one that there is not."""
    unknown = wanted.keys() - {field.name for field in fields(switches)}
    if unknown:
        raise LookupError(f"no such switch: {', '.join(sorted(unknown))}")
    for name, value in wanted.items():
        setattr(switches, name, value)


def _account(account: Account) -> dict[str, Any]:
    return {
        "token": account.token,
        "user_id": account.user_id,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "count": len(account.entries),
    }
