"""One switch for each thing that is open about the real API, or differs from day to day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from checkinsync.simulator.history import Order

Sort = Literal["newestfirst", "oldestfirst"]


@dataclass(slots=True)
class Switches:
    """The server's behaviour; the defaults are what is documented or was seen.

    Every switch may be turned while the server runs.
    """

    order: Order = "created"
    """Instant by which "newest first" goes: `createdAt`, or the one in the id."""
    default_sort: Sort = "newestfirst"
    """The order when `sort` is missing, or ignored."""
    sort_ignored: bool = False
    before_turns_order: bool = False
    """As in 2011: `beforeTimestamp` without `sort` lists the oldest first."""
    after_inclusive: bool = True
    before_inclusive: bool = False
    time_filters_ignored: bool = False
    offset_ignored: bool = False
    count: Literal["total", "filtered"] = "total"
    count_excess: int = 0
    """By how much `count` is larger than what can be fetched."""
    page_cap: int | None = None
    """Never show more items than this on a page, whatever `limit` says."""
    hide_every: int = 0
    """Hide about one check-in in this many after the limit was applied: short pages in mid-list.

    The hidden ones can't be fetched at all (see `Server.shown_ids`), but count and take up offsets.
    """
    checkin_by_id: bool = True
    """False: `checkins/{id}` is not an endpoint."""
    token_in: Literal["both", "header", "query"] = "both"  # noqa: S105 (a place, no token)
    hourly_limit: int = 500
    """Requests per moving hour, token and top-level group."""
    daily_quota: int | None = None
    """Requests of all tokens together until UTC midnight."""
    reset_header: Literal["true", "absent", "past", "absurd"] = "true"
    """Value of `X-RateLimit-Reset` when the hourly limit is reached."""
    header_case: Literal["title", "lower", "upper"] = "title"
    """Spelling of the names of the rate-limit headers."""
    deprecated: bool = False
    """Warn by `errorType: deprecated` in every good answer."""
    bare: bool = False
    """Leave `requestId` and `notifications` out of the envelope."""
    drift: bool = False
    """Let the venues' counters move on with every answer."""
    bot_wall: bool = False
    """Answer 403 with HTML to clients without a distinctive `User-Agent`."""
    login: Literal["ask", "allow", "deny"] = "ask"
    """`ask`: the OAuth page asks; otherwise it sends the browser back at once."""
