"""Asks Foursquare about each check-in that was missed twice, before it is marked as deleted."""

from __future__ import annotations

from checkinsync.errors import (
    RequestRefused,
    TokenRejected,
)

ASKED = 100
"""Check-ins that are asked for one by one, at most: the `checkins` endpoints have 500 an hour."""


UNANSWERED = 2
"""After so many check-ins about which nothing was said, the others are left for another night."""


NO_ENDPOINT = {404, 405}
"""Statuses by which a server says, without an `errorType`, that it has no such endpoint."""


def _has_no_endpoint(refusal: RequestRefused | TokenRejected) -> bool:
    if isinstance(refusal, TokenRejected):
        return False
    if refusal.error_type is None:
        return refusal.status in NO_ENDPOINT
    return refusal.error_type == "endpoint_error" or refusal.status == 405  # noqa: PLR2004
