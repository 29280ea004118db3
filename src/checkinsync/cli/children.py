"""The environment of the programs that commands start: a browser, psql, pg_dump, pg_restore."""

from __future__ import annotations

import os
import re

WITHHELD = re.compile(
    "^(CHECKINSYNC_|PG)|DATABASE_URL|SECRET|TOKEN|PASSW|CREDENTIAL|(^|_)KEY(_|$)", re.IGNORECASE
)
"""Names of variables that hold our settings, a secret, or the address of a database: what is
started needs none of them, lives long, and may start other programs."""


def environment(*without: str) -> dict[str, str]:
    """Our own environment, without these variables and without what is withheld."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in without and not WITHHELD.search(name)
    }
