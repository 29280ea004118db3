"""The account that runs checkinsync at night, where root sets it up."""

from __future__ import annotations

import os
import pwd

import click

ACCOUNT = "checkinsync"
"""The account of servers, if it exists."""


def night_account(name: str | None) -> pwd.struct_passwd:
    """Return the account that runs it at night."""
    mine = pwd.getpwuid(os.geteuid())
    if mine.pw_uid != 0:
        if name not in {None, mine.pw_name}:
            raise click.UsageError("--account is for root")
        return mine
    try:
        return pwd.getpwnam(name or ACCOUNT)
    except KeyError:
        if name is None:
            return mine
        raise click.UsageError(f"there is no account {name}") from None


def reading_group(account: pwd.struct_passwd) -> int | None:
    """Return the group that may read root's files; None: they are the account's own."""
    return account.pw_gid if account.pw_uid != os.geteuid() else None
