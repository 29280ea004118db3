"""The examples for cron, systemd and logrotate: the schedule of the installation in the README.

`make examples` writes them.
"""

from __future__ import annotations

from pathlib import Path

from checkinsync.schedule.installation import VAR_LIB, VAR_LOG, Installation

ROOT = Path(__file__).parents[2]

USUAL = Installation(
    command=("/opt/checkinsync/bin/checkinsync",),
    account="checkinsync",
    group="checkinsync",
    log_file=VAR_LOG / "checkinsync.log",
    environment={
        "CHECKINSYNC_CONFIG": "/etc/checkinsync/checkinsync.toml",
        "CHECKINSYNC_HOME": str(VAR_LIB),
    },
    writes=(VAR_LIB, VAR_LOG),
    mail_to="root",
)

EXAMPLES = {
    "crontab.example": USUAL.crontab(),
    "contrib/checkinsync.service": USUAL.system_service(),
    "contrib/checkinsync.timer": USUAL.timer(),
    "contrib/logrotate": USUAL.logrotate(),
}

if __name__ == "__main__":
    for name, text in EXAMPLES.items():
        (ROOT / name).write_text(text, encoding="utf-8")
