"""What the tests share; each kind of fixture has a file of its own."""

pytest_plugins = [
    "support.database",
    "support.environment",
    "support.nightly",
    "support.stories",
    "support.web",
]
