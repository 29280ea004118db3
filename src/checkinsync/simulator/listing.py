"""The check-ins that a request for a page is shown; no HTTP."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from checkinsync.simulator.answers import param_error
from checkinsync.simulator.history import Account, Entry
from checkinsync.simulator.switches import Sort, Switches

MOST = 250
USUAL = 20
"""The largest `limit`, which larger ones are cut to, and the one when none is given."""


@dataclass(frozen=True, slots=True)
class Query:
    """The paging parameters, checked."""

    limit: int = USUAL
    offset: int = 0
    sort: Sort | None = None
    after: int | None = None
    before: int | None = None

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Query:
        """Read the parameters; ApiError 400 `param_error` on one that is malformed."""
        limit = _natural(params, "limit")
        return cls(
            limit=USUAL if limit is None else min(limit, MOST),
            offset=_natural(params, "offset") or 0,
            sort=_sort(params),
            after=_natural(params, "afterTimestamp"),
            before=_natural(params, "beforeTimestamp"),
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A page: the check-ins it shows, and the total it tells."""

    entries: list[Entry]
    count: int


def page(account: Account, query: Query, switches: Switches) -> Listed:
    """Return the page of an account's list that the query asks for, as the switches have it."""
    whole = account.newest_first(switches.order)
    within = whole if switches.time_filters_ignored else _within(whole, query, switches)
    count = len(whole if switches.count == "total" else within)
    start = 0 if switches.offset_ignored else query.offset
    limit = min(query.limit, switches.page_cap or MOST)
    if _sorted(query, switches) == "oldestfirst":
        within = within[::-1]
    return Listed(_shown(within, start, limit, switches), count + switches.count_excess)


def hidden(entry: Entry, switches: Switches) -> bool:
    """Return True if a check-in is held back after the limit was applied; always the same ones."""
    return bool(switches.hide_every) and zlib.crc32(entry.id.encode()) % switches.hide_every == 0


def _shown(entries: list[Entry], start: int, limit: int, switches: Switches) -> list[Entry]:
    """A page without what is hidden; empty only beyond the end, as the real ones are."""
    while (asked := entries[start : start + limit]) and switches.hide_every:
        if shown := [entry for entry in asked if not hidden(entry, switches)]:
            return shown
        start += limit
    return asked


def _within(entries: list[Entry], query: Query, switches: Switches) -> list[Entry]:
    """Those between the two timestamps; offsets count among them."""
    if query.after is None and query.before is None:
        return entries
    lowest = 0 if query.after is None else query.after + (not switches.after_inclusive)
    beyond = float("inf") if query.before is None else query.before + switches.before_inclusive
    return [entry for entry in entries if lowest <= entry.created_at < beyond]


def _sorted(query: Query, switches: Switches) -> Sort:
    if query.sort and not switches.sort_ignored:
        return query.sort
    if switches.before_turns_order and query.before is not None:
        return "oldestfirst"
    return switches.default_sort


def _sort(params: Mapping[str, str]) -> Sort | None:
    match params.get("sort"):
        case None:
            return None
        case "newestfirst":
            return "newestfirst"
        case "oldestfirst":
            return "oldestfirst"
        case other:
            raise param_error(f"Value {other} is invalid for parameter sort")


def _natural(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise param_error(f"Value {value} is invalid for parameter {name}")
    return int(value)
