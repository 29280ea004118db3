"""swarm-to-sqlite as it is: `API FILE`."""

from __future__ import annotations

import sys

from redirect import redirect

redirect(sys.argv[1])

from swarm_to_sqlite.cli import cli  # noqa: E402

cli([sys.argv[2], "--token", "token-1", "--silent"])
