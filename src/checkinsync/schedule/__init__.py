"""The schedule: cron's lines or systemd's timer that start the nightly run on this machine."""
