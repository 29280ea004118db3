"""The server's configuration files; outside the data, so that a moved folder is found."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from checkinsync.embedded.cluster import PORT, ROLE, Cluster

ASYNC_IO = 18
"""Since this major version the server keeps processes for reading, unless told not to."""

SERVER = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",
    "max_connections": "50",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "0",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "dynamic_shared_memory_type": "mmap",  # a logout may sweep a user's /dev/shm
    "jit": "off",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",  # no statement's error: its detail may quote a row
    "log_checkpoints": "off",
}
READER = "checkinsync_reader"
"""The role of other programs; see `reader`."""

READER_RULE = f"local all {READER} scram-sha-256\n"

FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def write(cluster: Cluster, *, major: int, for_tests: bool) -> None:
    """Write the settings, who may connect, and which accounts become the superuser."""
    settings = SERVER | {
        "unix_socket_directories": f'"{cluster.socket_dir}"',
        "hba_file": str(cluster.base / "hba.conf"),
        "ident_file": str(cluster.base / "ident.conf"),
    }
    if major >= ASYNC_IO:
        settings["io_method"] = "sync"
    if for_tests:
        settings |= FOR_TESTS
    lines = (f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
    _write(cluster.base / "server.conf", "".join(lines))
    _write(cluster.base / "hba.conf", f"{READER_RULE}local all all peer map={ROLE}\n")
    names = dict.fromkeys((cluster.account.name, "root"))
    _write(cluster.base / "ident.conf", "".join(f'{ROLE} "{name}" {ROLE}\n' for name in names))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and not if it is the same already."""
    content = os.fsencode(text)
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return
    fd, new = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with open(fd, "wb") as file:
            file.write(content)
            os.fchmod(fd, 0o644)
        os.replace(new, path)
    finally:
        with suppress(FileNotFoundError):  # unless it has its name by now
            os.unlink(new)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
