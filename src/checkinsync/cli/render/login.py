"""The result of a login, for the terminal and for the browser."""

from __future__ import annotations

from html import escape

from checkinsync.errors import CheckinsyncError, StrayReturn
from checkinsync.users.login import LoggedIn

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>checkinsync: {title}</title>
<style>body {{ font: 1.1rem/1.5 sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem }}
</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""


def text(done: LoggedIn, *, paused: bool) -> str:
    """Say what was done, and what to do next."""
    number = done.user.id
    happened = f"{done.user} {'added' if done.new else 'has a new token'}"
    if paused:
        return f"{happened}, but stays paused until `checkinsync users resume {number}`"
    return (
        f"{happened}; the next run imports the check-ins, or `checkinsync import-user {number}` now"
    )


def page(result: LoggedIn | CheckinsyncError) -> str:
    """The page for the browser."""
    match result:
        case LoggedIn(user):
            return _page("Logged in", f"{user} is connected. You can close this page.")
        case StrayReturn():
            return _page("Not accepted", f"The login still waits: {result}.")
    return _page("Login failed", f"{result}.")


def _page(title: str, text: str) -> str:
    return _PAGE.format(title=escape(title), text=escape(text))
