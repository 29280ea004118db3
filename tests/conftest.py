"""What the tests share; each kind of fixture has a file of its own."""

import signal

for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:  # as by nohup, or a shell's `&`
        signal.signal(_number, signal.SIG_DFL)

pytest_plugins = [
    "support.database",
    "support.environment",
    "support.nightly",
    "support.stories",
    "support.web",
    "support.engines",
]
