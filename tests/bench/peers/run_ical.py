"""foursquare-swarm-ical as it is, without its calendar's text being looked at: `API FILE`."""

from __future__ import annotations

import sys

from redirect import redirect

redirect(sys.argv[1])

from foursquare_swarm_ical.cli import cli  # noqa: E402

cli(["--access-token", "token-1", "--full", "--database", sys.argv[2], "--output", "/dev/null"])
