"""The architecture's rules: which package may import which, and which code may do what."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "checkinsync"
TOP_ENTRIES = 26

MAY_IMPORT = {
    "cli": "*",
    "app": "* but cli web simulator",
    "doctor": "workers.queries workers.__init__ nightly.queries nightly.summary keys migrations"
    " embedded config foursquare store model",
    "notify": "nightly.alerts nightly.summary nightly.queries sync.outcome config shutdown store"
    " model",
    "report": "nightly.alerts nightly.queries nightly.status nightly.summary store",
    "workers": "nightly sync migrations.runner shutdown store model",
    "nightly": "verify.queries sync shutdown store model",
    "verify": "sync keys foursquare store model",
    "users": "keys foursquare store config.durations model",
    "resources": "migrations keys embedded foursquare config store shutdown",
    "sync": "keys foursquare shutdown store model",
    "keys": "store model",
    "migrations": "store",
    "web": "store",
    "foursquare": "config.validators model shutdown",
    "store": "model",
    "embedded": "",
    "schedule": "",
    "config": "",
    "shutdown": "",
    "model": "",
    "simulator": "",
    "errors": "",
    "__init__": "",
    "__main__": "cli",
}
"""What a package may import besides itself and, all but the simulator, `errors`: never to the left
in this table, and never one that is not named."""

PSYCOPG = ("store.", "migrations.", "users.queries", "keys.queries", "nightly.queries")
PSYCOPG += ("verify.queries", "doctor.queries", "web.queries", "notify.queries", "report.queries")
PSYCOPG += ("workers.queries",)
ADDRESSES = {
    "click": ("__main__", "cli."),
    "rich": ("cli.",),
    "requests": ("foursquare.", "notify."),
    "urllib3": ("foursquare.",),
    "msgspec": ("foursquare.", "model.checkin", "verify.queries", "workers.stored"),
    "tenacity": ("foursquare.", "nightly.", "notify.", "workers.queue", "workers.worker"),
    "procrastinate": ("workers.queue", "workers.worker"),
    "jinja2": ("report.page",),
    "prometheus_client": ("notify.metrics",),
    "apprise": ("notify.targets",),
    "cryptography": ("keys.",),
    "platformdirs": ("config.",),
    "psycopg": PSYCOPG,
    "psycopg_pool": ("store.", "web.queries"),
}
"""Where each third-party package may be imported."""

PURE = (
    "model.",
    "sync.walk",
    "sync.scope",
    "sync.slice",
    "sync.reconcile",
    "sync.deletions",
    "sync.revisions",
    "nightly.alerts",
    "nightly.due",
    "nightly.schedule",
    "nightly.summary",
    "notify.digest",
    "report.charts",
    "report.nights",
    "schedule.installation",
    "doctor.diagnosis",
    "doctor.nights",
    "doctor.tables",
    "doctor.findings",
    "workers.stored",
    "migrations.locks",
    "migrations.expected",
    "migrations.refusals",
    "keys.usage",
)
"""Code that decides: no database, no HTTP, no clock, no logging."""
IMPURE = {"logging", "os", "random", "signal", "socket", "subprocess", "sys", "threading", "time"}
IMPURE |= {*ADDRESSES} - {"msgspec"}  # its structs are values like any other
IMPURE_PACKAGES = ("store.", "foursquare.", "embedded.", "app", "resources", "shutdown")


@cache
def modules() -> dict[str, ast.Module]:
    """Each module's syntax tree by its name below the package; `sync.walk`, `cli.__init__`."""
    return {
        ".".join(path.relative_to(SOURCES).with_suffix("").parts): ast.parse(path.read_bytes())
        for path in SOURCES.rglob("*.py")
    }


def imported(tree: ast.Module) -> set[str]:
    """The full names that a module imports, anywhere in its text."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports hide which module is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(name: str) -> str | None:
    """The module of ours that an imported name means."""
    package, _, inside = name.partition(".")
    if package != SOURCES.name:
        return None
    while inside not in modules() and f"{inside}.__init__" not in modules():
        inside = inside.rpartition(".")[0] or "__init__"
    return inside if inside in modules() else f"{inside}.__init__"


def top(name: str) -> str:
    return name.partition(".")[0]


def within(module: str, addresses: tuple[str, ...]) -> bool:
    """Return True if the module is one of these, or lies in one that ends with a dot."""
    return any(module.startswith(a) if a.endswith(".") else module == a for a in addresses)


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports."""
    return {module: imported(tree) for module, tree in modules().items()}


def edges() -> list[tuple[str, str]]:
    """Each module of ours with each other that it imports."""
    return [(module, to) for module, names in imports().items() for to in map(ours, names) if to]


def allowed(package: str, to: str) -> bool:
    """Return True if the table lets a package import this module."""
    if top(to) in {package, "__init__"}:
        return True
    if top(to) == "errors":
        return package != "simulator"
    rule = MAY_IMPORT[package]
    if rule.startswith("*"):
        return top(to) not in rule.partition(" but ")[2].split()
    return any(to == name or to.startswith(f"{name}.") for name in rule.split())


def test_every_module_is_in_a_package_of_the_table() -> None:
    assert {top(module) for module in modules()} == {*MAY_IMPORT}


def test_the_top_level_stays_small() -> None:
    entries = [path.name for path in SOURCES.iterdir() if path.name not in {"__pycache__", "sql"}]

    assert len(entries) <= TOP_ENTRIES, sorted(entries)


def test_imports_follow_the_table() -> None:
    wrong = [f"{module} imports {to}" for module, to in edges() if not allowed(top(module), to)]

    assert sorted(wrong) == []


def test_no_imports_go_round_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for module, to in edges():
        graph[module].add(to)

    assert len(list(TopologicalSorter(graph).static_order())) == len(modules())


def test_each_third_party_package_has_its_place() -> None:
    known = {*sys.stdlib_module_names, SOURCES.name}
    foreign = [(module, top(name)) for module, names in imports().items() for name in names]
    foreign = [(module, package) for module, package in foreign if package not in known]
    strays = [
        f"{module} imports {package}"
        for module, package in foreign
        if not within(module, ADDRESSES.get(package, ()))
    ]

    assert sorted(strays) == []
    assert {package for _, package in foreign} == set(ADDRESSES)


def test_code_that_decides_is_pure() -> None:
    impure = [
        f"{module} imports {name}"
        for module in modules()
        if within(module, PURE)
        for name in imports()[module]
        if top(name) in IMPURE or within(ours(name) or "", IMPURE_PACKAGES)
        if ours(name) != "embedded.place"
    ]

    assert sorted(impure) == []


def test_an_import_a_scrub_and_a_verification_write_only_in_a_session() -> None:
    """`record` stores how an import has ended, after its lease was given back."""
    opens = {
        module
        for module, names in imports().items()
        if top(module) in {"sync", "verify"}
        and names & {"checkinsync.store.pool.transaction", "checkinsync.store.pool.direct"}
    }
    pools = {
        module
        for module, tree in modules().items()
        if top(module) in {"sync", "verify"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"connection", "getconn"}
    }

    assert opens == {"sync.session", "sync.record"}
    assert pools == set()


def test_the_environment_and_the_clock_each_have_one_reader() -> None:
    reads = {
        (ast.unparse(node), top(module))
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and top(module) != "simulator"
    }

    assert {who for what, who in reads if what in {"os.environ", "os.getenv"}} == {"cli"}
    assert {who for what, who in reads if what in {"datetime.now", "time.time"}} == {
        "resources",
        "web",
    }


LOADING = """
import gc
import sys
from checkinsync.__main__ import main

sys.argv = ["checkinsync", *sys.argv[1:]]
try:
    main()
finally:
    print(*sys.modules, "collecting" * gc.isenabled(), file=sys.stderr)
"""


def loaded(*words: str, url: str = "") -> set[str]:
    """The third-party packages that a command loads, with a database at `url`."""
    environ = {
        "CHECKINSYNC_DATABASE_URL": url,
        "CHECKINSYNC_ENCRYPTION_KEY": "00" * 32,
    }
    command = [sys.executable, "-c", LOADING, *words]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert run.returncode == 0, run.stderr
    said = set(run.stderr.split())
    assert ("collecting" in said) == ("--help" not in words), "garbage piles up in a long run"
    return said & {*ADDRESSES}


HELPING = """
import sys
from contextlib import suppress
from click import Context, Group
from checkinsync.cli import checkinsync

def explain(command, *words):
    with suppress(SystemExit):
        checkinsync.main([*words, "--help"], prog_name="checkinsync")
    for name in command.list_commands(Context(command)) if isinstance(command, Group) else ():
        explain(command.get_command(Context(command), name), *words, name)

explain(checkinsync)
print(*sys.modules, file=sys.stderr)
"""

OPTIONS = ("__init__", "errors", "shutdown", "cli.", "model.")
"""Our modules that a command's options may need."""


def test_the_overview_loads_neither_database_nor_http() -> None:
    assert loaded("--help") == {"click"}


def test_the_help_of_each_command_loads_options_and_nothing_else() -> None:
    """Which is what makes it quick; each command imports the rest when it runs."""
    run = subprocess.run(
        [sys.executable, "-c", HELPING], check=True, capture_output=True, text=True
    )

    modules = set(run.stderr.split())
    assert modules & {*ADDRESSES} == {"click"}
    assert modules & {"asyncio", "hashlib", "importlib.metadata", "logging", "ssl"} == set()
    inside = {ours(name) for name in modules} - {None}
    assert sorted(name for name in inside if not within(f"{name}", OPTIONS)) == []


def test_a_run_loads_http_with_its_first_request(db: str) -> None:
    packages = loaded("orchestrate", url=db)

    assert "psycopg" in packages
    assert not packages & {"requests", "urllib3"}


@pytest.mark.parametrize("words", ["status", "migrate --status"])
def test_commands_that_ask_only_the_database_load_no_http(words: str, db: str) -> None:
    packages = loaded(*words.split(), url=db)

    assert "psycopg" in packages
    assert not packages & {"requests", "urllib3", "msgspec"}


def test_a_night_loads_no_extra_that_it_was_not_asked_for(db: str) -> None:
    packages = loaded("orchestrate", url=db)

    assert "psycopg" in packages
    assert not packages & {"apprise", "prometheus_client", "jinja2", "procrastinate"}
