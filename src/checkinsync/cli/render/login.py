"""How a login went, for the terminal and for the browser."""

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
    """What happened, and what to do next."""
    number = done.user.id
    happened = f"{done.user} {'is added' if done.new else 'has a new token'}"
    if paused:
        return f"{happened}, but is paused; `checkinsync users resume {number}` ends it"
    return (
        f"{happened}; the next run imports the check-ins, or `checkinsync import-user {number}` now"
    )


def page(result: LoggedIn | CheckinsyncError) -> str:
    """The same for whoever sits at the browser, as HTML."""
    match result:
        case LoggedIn(user):
            return _page("It worked", f"{user} is connected. You can close this page.")
        case StrayReturn():
            return _page("Not this one", f"The login still waits: {result}.")
    return _page("It did not work", f"{result}.")


def _page(title: str, text: str) -> str:
    return _PAGE.format(title=escape(title), text=escape(text))
