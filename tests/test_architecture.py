"""The storeys of the house: imports go down, never up, never sideways; a new room needs a place."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src" / "checkinsync"

NOUNS = "__init__ model evidence changes outcome proof errors schema keyring finding"
# `schema`: the nouns of migrating, `keyring`: of keys, `finding`: of a diagnosis, and what follows
DECISIONS = (
    "walk", "slice", "scope", "reconcile", "revision", "gone", "coverage",
    "schedule", "due", "breaker", "verdict", "diagnosis", "locks",
)  # fmt: skip
VERBS = (
    "orchestrate", "import_user", "import_by_hand", "verify", "migrate", "status", "users login",
    "rotate_keys", "doctor", "export_user",
)  # fmt: skip
HOUSE = (  # from top to bottom; a package is one room, and rooms in one string are one family
    ("__main__",),
    ("cli", "web"),
    ("demo",),  # puts a whole night together, the house and the simulator, out of `app`
    ("app opening",),
    ("render",),
    VERBS,
    ("look_back",),  # a step that takes another
    (
        "plan",
        "session",
        "record tally",
        "save_page proved",
        "attempt",
        "services",
    ),  # steps that verbs take
    DECISIONS,
    (
        "foursquare",
        "store",
        "vault",
        "settings given allowed",
        "local_postgres",
        "sql_files",
        "loopback",
    ),
    ("process", "durations", "stop", "logs", "whole_file"),  # edges that lean on no other
    (NOUNS,),
)
NEXT_DOOR = "simulator"
STOREY = {room: n for n, storey in enumerate(HOUSE) for family in storey for room in family.split()}
FAMILY = {room: family for storey in HOUSE for family in storey for room in family.split()}

ADDRESSES = {
    "click": {"__main__", "cli"},
    "rich": {"cli.progress"},
    "requests": {"foursquare"},
    "urllib3": {"foursquare"},
    "msgspec": {"foursquare"},
    "tenacity": {"foursquare", "orchestrate"},
    "cryptography": {"vault"},
    "platformdirs": {"settings"},
    "psycopg": {
        "store",
        "orchestrate",
        "import_user",
        "verify",
        "look_back",
        "record",
        "save_page",
    },  # its errors
    "psycopg_pool": {"store"},
}
IMPURE = {"logging", "os", "random", "signal", "socket", "subprocess", "sys", "threading", "time"}


def sources() -> dict[str, ast.Module]:
    """Each module's syntax tree by its name below the package."""
    found = {}
    for path in SOURCES.rglob("*.py"):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = sources()


def imported(tree: ast.Module) -> set[str]:
    """What a module imports anywhere in its text; of ours, the module meant."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports hide which room is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(name: str) -> str | None:
    """The module of ours that an imported name means."""
    package, _, inside = name.partition(".")
    if package != SOURCES.name:
        return None
    while inside not in MODULES:
        inside = inside.rpartition(".")[0] or "__init__"
    return inside


IMPORTS = {module: imported(tree) for module, tree in MODULES.items()}
EDGES = [(module, to) for module, names in IMPORTS.items() for to in map(ours, names) if to]


def room(module: str) -> str:
    return module.partition(".")[0]


def lives_in(module: str, addresses: set[str]) -> bool:
    return any(module == address or module.startswith(f"{address}.") for address in addresses)


def test_every_room_has_a_storey_and_every_storey_its_rooms() -> None:
    assert {room(module) for module in MODULES} == {*STOREY, NEXT_DOOR}


def test_imports_go_down_never_up_never_sideways() -> None:
    wrong = [
        f"{module} imports {to}"
        for module, to in EDGES
        if NEXT_DOOR not in (room(module), room(to))
        and FAMILY[room(module)] != FAMILY[room(to)]
        and STOREY[room(module)] >= STOREY[room(to)]
    ]

    assert wrong == []


def test_no_imports_go_round_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, to in EDGES:
        graph[module].add(to)

    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_the_simulator_and_the_house_share_nothing() -> None:
    visitors = {"cli", "demo", NEXT_DOOR}
    shared = [
        f"{module} imports {to}"
        for module, to in EDGES
        if (room(to) == NEXT_DOOR and room(module) not in visitors)
        or (room(module) == NEXT_DOOR and room(to) != NEXT_DOOR)
    ]

    assert shared == []


def test_each_foreign_package_has_one_address() -> None:
    known = {*sys.stdlib_module_names, SOURCES.name}
    foreign = [(module, room(name)) for module, names in IMPORTS.items() for name in names]
    strays = [
        f"{module} imports {package}"
        for module, package in foreign
        if package not in known and not lives_in(module, ADDRESSES.get(package, set()))
    ]

    assert strays == []
    assert {package for _, package in foreign} - known == set(ADDRESSES)


def test_decisions_and_nouns_are_pure() -> None:
    nouns = set(NOUNS.split())
    impure = [
        f"{module} imports {name}"
        for module in {*DECISIONS, *nouns}
        for name in IMPORTS[module]
        if room(name) in IMPURE or room(ours(name) or "model") not in nouns
    ]

    assert impure == []


def test_the_environment_and_the_clock_each_have_one_reader() -> None:
    reads = {
        (ast.unparse(node), room(module))
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and room(module) != NEXT_DOOR
    }

    assert {who for what, who in reads if what in {"os.environ", "os.getenv"}} == {"cli"}
    assert {who for what, who in reads if what in {"datetime.now", "time.time"}} == {
        "app",
        "web",  # a door into somebody else's house, where no App is
    }


def test_the_overview_loads_neither_database_nor_http() -> None:
    overview = (
        "import sys; from checkinsync.__main__ import main\n"
        "sys.argv = ['checkinsync', '--help']\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", overview], check=True, capture_output=True, text=True
    )

    assert "orchestrate" in run.stdout
    assert set(run.stderr.split()) & set(ADDRESSES) == {"click"}
