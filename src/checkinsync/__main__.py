"""The outermost door: errors become a sentence and an exit code here, and only here."""

from __future__ import annotations

import logging
import sys

import click

from checkinsync.cli import checkinsync
from checkinsync.errors import CheckinsyncError

INTERRUPTED = 130
A_BUG = 1


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = checkinsync.main(standalone_mode=False)
    except CheckinsyncError as error:
        click.echo(f"checkinsync: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("checkinsync: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing is left to be said
        return 0
    except Exception as error:
        logging.getLogger("checkinsync").exception("crashed")
        click.echo(
            f"checkinsync: an error nobody foresaw ({type(error).__name__}); this is a bug, please "
            "report it with what the log says",
            err=True,
        )
        return A_BUG
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
