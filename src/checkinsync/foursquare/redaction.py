"""Keeps tokens out of the log of urllib3, which writes whole addresses, queries included."""

from __future__ import annotations

import logging
import re

LOGGERS = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
"""Those of urllib3's loggers that may name an address. A filter of a parent is not asked, so that
each needs its own; their levels are left as the operator set them."""

_TOKEN = re.compile(r"(oauth_token=)[^&\s'\"]+")


def without_tokens(record: logging.LogRecord) -> bool:
    """Lets every record through, its token masked."""
    text = record.getMessage()
    if "oauth_token=" in text:
        record.msg, record.args = _TOKEN.sub(r"\1…", text), ()
        record.exc_info = record.exc_text = None
    return True


def install() -> None:
    """Mask tokens from now on; doing so twice is doing so once."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(without_tokens)
