"""The documents against the program: commands, options, settings, names, SQL, cron lines."""

from __future__ import annotations

import os
import pkgutil
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner

from checkinsync import errors, shutdown
from checkinsync.cli import COMMANDS as OVERVIEW
from checkinsync.cli import checkinsync
from checkinsync.config import settings
from checkinsync.config.durations import parse_duration
from checkinsync.model.standing import GROUPS
from checkinsync.web import USER
from support import made

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "checkinsync"
README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MARKDOWN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = [ROOT / "crontab.example", ROOT / "contrib" / "checkinsync.service"]
CRONTAB = (ROOT / "crontab.example").read_text(encoding="utf-8")


# --- reading the documents ------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    """The blocks of one language, also those indented below a list's item."""
    return [str(b) for b in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.M | re.S)]


def fenced(path: Path, language: str) -> list[str]:
    """Those of a page."""
    return blocks(path.read_text(encoding="utf-8"), language)


def rows(path: Path, title: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = re.split(rf"^## {title}$", path.read_text(encoding="utf-8"), flags=re.M)[1]
    section = re.split(r"^##+ ", section, flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def spans(text: str) -> list[str]:
    """The texts `between backticks`."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def invocations(path: Path) -> Iterator[list[str]]:
    """The words after each `checkinsync` that a document says to type."""
    text = path.read_text(encoding="utf-8")
    if path in EXAMPLES:
        code = [line.removeprefix("# ") for line in text.splitlines()]
        code = [line for line in code if re.match(r"[0-9*]|ExecStart=", line)]
    else:
        code = [*spans(text), *(line for b in fenced(path, "sh") for line in b.splitlines())]
    for line in (line.replace("-u checkinsync -- ", "") for line in code):  # of runuser
        for found in re.findall(r"(?:^|(?<! -[ugo])[ (]|/bin/)checkinsync( (?!/)[^|;&)>#]+)", line):
            yield shlex.split(found)


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by what one types, those of groups by both words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(commands(checkinsync))
"""Every command by what one types."""


def options(command: click.Command) -> set[str]:
    found = {"--help", "-h"}
    given = [option for option in command.params if isinstance(option, click.Option)]
    return found.union(*((*option.opts, *option.secondary_opts) for option in given))


def check_words(typed: list[str]) -> None:
    """Walk down from the program to the command, looking each option up on the way."""
    command: click.Command = checkinsync
    words = iter(typed)
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options(command), (typed, word)
            if takes_value(command, word):
                next(words, None)
        elif isinstance(command, click.Group) and word != "COMMAND":
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"there is no {word!r} in {typed}"
            command = found


def takes_value(command: click.Command, word: str) -> bool:
    return any(
        word in option.opts and not option.is_flag and not option.count
        for option in command.params
        if isinstance(option, click.Option)
    )


# --- commands and options -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*MARKDOWN, *EXAMPLES], ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path: Path):
    for words in invocations(path):
        check_words(words)


def test_the_examples_and_the_readme_do_name_commands():
    for path in (README, *EXAMPLES, RUNBOOK, ROOT / "docs" / "install.md"):
        assert any(words for words in invocations(path)), path


@pytest.mark.parametrize("path", [README, REFERENCE], ids=lambda path: path.name)
def test_what_is_said_of_commands_and_options_is_what_their_help_says(path: Path):
    assert path.read_text(encoding="utf-8") == made.pages()[path], "run `make docs`"


def test_the_readme_has_a_line_for_every_command_and_the_reference_a_section():
    sections = re.findall(r"^### checkinsync (.+)$", REFERENCE.read_text(encoding="utf-8"), re.M)

    assert len(rows(README, "Commands")) == len(COMMANDS)
    assert sections == list(COMMANDS)


def test_the_reference_names_every_option():
    text = REFERENCE.read_text(encoding="utf-8")
    given = [option for command in COMMANDS.values() for option in command.params]

    shown = [o for o in given if isinstance(o, click.Option) and not o.hidden]

    assert [option.opts for option in shown if f"{option.opts[-1]}" not in text] == []


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_tells_what_it_does(name: str):
    result = CliRunner().invoke(checkinsync, [*name.split(), "--help"])

    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


def test_the_overview_says_of_each_command_what_its_help_says_first():
    context = click.Context(checkinsync)
    loaded = {name: checkinsync.get_command(context, name) for name in OVERVIEW}

    first = {name: (command.help or "").splitlines()[0] for name, command in loaded.items()}

    assert first == OVERVIEW


def test_every_global_option_is_in_the_reference():
    text = REFERENCE.read_text(encoding="utf-8")
    known = [option.opts[-1] for option in checkinsync.params if isinstance(option, click.Option)]

    missing = [name for name in known if name not in text]

    assert [name for name in missing if name not in ("--verbose", "--quiet")] == []
    assert "`-v`" in text
    assert "`-q`" in text


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    code = [block for path in MARKDOWN for block in fenced(path, "sh")]
    named = re.findall(r"^make ([a-z]+)", "\n".join([*code, ci]), re.M)

    assert {"demo", "test", "lint", "drill", "bench"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere():
    for path in MARKDOWN:
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            if target.startswith("https://"):
                continue
            page = path.parent / file if file else path
            assert page.exists(), (path, target)
            assert not anchor or anchor in anchors(page), (path, target)


def test_the_pictures_are_small_and_load_nothing():
    pictures = [*(ROOT / "docs" / "images").iterdir()]

    assert {path.name for path in pictures} == {"report.png", "status.svg"}
    assert all(path.stat().st_size < 100_000 for path in pictures)
    assert "url(http" not in (ROOT / "docs" / "images" / "status.svg").read_text(encoding="utf-8")


def test_the_readme_leads_to_every_page():
    text = README.read_text(encoding="utf-8")

    assert [page for page in MARKDOWN if page != README and page.name not in text] == []


# --- names of modules and files -------------------------------------------------------------------

OURS = {path.stem for path in SOURCES.iterdir() if path.is_dir() or path.suffix == ".py"}
OURS -= {"__init__", "__main__", "__pycache__"}
"""Our packages and the modules beside them."""
FOLDERS = {"contrib", "docs", "schemas", "sql", "src", "tests"}
TABLES = {"users"}
"""Tables named like a package: `users.last_login_at` is a column."""
OTHERS = {USER, "checkinsync.toml", "checkinsync.service", "checkinsync.timer"}
"""Names that only look like modules of ours."""


def is_there(name: str) -> bool:
    """Return True if a path exists; or a dotted name does, as a module or as a name in one."""
    if "/" in name or name.endswith(".py"):
        bases = (ROOT, SOURCES)
        direct = any(
            (base / f"{name.rstrip('/')}{end}").exists() for base in bases for end in ("", ".py")
        )
        return direct or bool([*SOURCES.rglob(name)])
    try:
        pkgutil.resolve_name(f"checkinsync.{name.removeprefix('checkinsync.')}")
    except (ImportError, AttributeError):
        return False
    return True


def named_of_ours(path: Path) -> Iterator[str]:
    """The paths and dotted names of ours that a page has between backticks or in its diagrams."""
    bold = [
        name for block in fenced(path, "mermaid") for name in re.findall(r"<b>(.+?)</b>", block)
    ]
    for name in [*spans(path.read_text(encoding="utf-8")), *bold]:
        first = re.split(r"[./]", name.removeprefix("checkinsync."))[0]
        if re.fullmatch(r"[\w-]+(/[\w.-]+)+/?|[\w-]+/|\w+\.py", name):
            ours = first in OURS | FOLDERS or name.endswith(".py")
        elif re.fullmatch(r"\w+(\.\w+)+", name) and name not in OTHERS:
            ours = name.startswith("checkinsync.") or first in OURS - TABLES
        else:
            ours = False
        if ours:
            yield name


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_modules_and_files_that_are_named_exist(path: Path):
    missing = [name for name in named_of_ours(path) if not is_there(name)]

    assert missing == []


def test_the_architecture_names_many_modules():
    assert len({*named_of_ours(ARCHITECTURE)}) > 60


def test_every_package_is_in_the_architecture():
    named = {name.rstrip("/") for row in rows(ARCHITECTURE, "Layout") for name in spans(row[0])}

    assert named == OURS | {"__main__"}


def test_every_table_is_in_the_diagram_of_writers():
    diagrams = "".join(fenced(ARCHITECTURE, "mermaid"))

    assert tables_explained() <= set(re.findall(r"\w+", diagrams))


# --- exit codes and settings ----------------------------------------------------------------------


def every(kind: type[errors.CheckinsyncError]) -> Iterator[type[errors.CheckinsyncError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


def test_the_table_of_exit_codes_is_that_of_the_program():
    listed = {int(code) for row in rows(REFERENCE, "Exit codes") for code in row[0].split(",")}

    signals = {shutdown.EXIT_BASE + number for number in (1, 2, 15)}

    assert listed == {*errors.Exit} | signals
    assert {error.exit_code for error in every(errors.CheckinsyncError)} <= {*errors.Exit}


def test_the_runbook_has_a_section_for_every_state():
    text = RUNBOOK.read_text(encoding="utf-8")

    assert re.findall(r"^### ([a-z_]+)$", text, re.M) == list(GROUPS)


def test_the_table_of_settings_is_that_of_the_program():
    text = [cell for row in rows(REFERENCE, "Settings") for cell in row]
    named = {word for cell in text for word in re.findall(r"CHECKINSYNC_[A-Z_]+", cell)}

    secrets = {f"{name}_file" for name in settings._SECRETS}
    known = {"config", *settings._PARSERS, *secrets}

    assert named == {f"CHECKINSYNC_{name.upper()}" for name in known}


def test_the_defaults_of_the_table_are_those_of_the_program():
    usual = settings.Settings.from_mapping({})
    for name, default, _ in rows(REFERENCE, "Settings"):
        field = spans(name)[0].removeprefix("CHECKINSYNC_").lower()
        value = getattr(usual, field, None)
        if isinstance(value, timedelta):
            assert parse_duration(spans(default)[0]) == value, field
        elif isinstance(value, bool):
            assert spans(default) == ["yes" if value else "no"], field
        elif isinstance(value, int | str) and field not in {"pool_size", "active_days"}:
            assert spans(default) == [str(value)], field


def test_settings_named_anywhere_exist():
    known = {"config", "home", *settings._PARSERS, *(f"{name}_file" for name in settings._SECRETS)}
    names = {f"CHECKINSYNC_{name.upper()}" for name in known}
    for path in [*MARKDOWN, *EXAMPLES]:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"CHECKINSYNC_[A-Z_]*[A-Z]", text)) <= names, path


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_settings_files_have_only_keys_that_exist(path: Path):
    here = [
        text for b in fenced(path, "sh") for text in re.findall(r"toml <<'END'\n(.*?)END", b, re.S)
    ]

    keys = {key for text in [*fenced(path, "toml"), *here] for key in tomllib.loads(text)}

    assert keys or path != README
    assert keys <= {*settings._PARSERS, *(f"{name}_file" for name in settings._SECRETS)}


# --- SQL ------------------------------------------------------------------------------------------

QUERIES = [b for name in ("install", "operate") for b in fenced(ROOT / f"docs/{name}.md", "sql")]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_query_for_operators_runs(conn: psycopg.Connection, query: str):
    conn.execute(query.encode())


def the_schema() -> str:
    """What the architecture says of tables and columns."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    return page.split("## The schema")[1].split("## Choices")[0]


def tables_explained() -> set[str]:
    """The tables that have a row there."""
    return set(re.findall(r"^\| \*\*(\w+)\*\*", the_schema(), re.M))


def test_every_table_and_column_of_ours_is_explained(conn: psycopg.Connection):
    named = {part for span in spans(the_schema()) for part in re.split(r"\W+", span)}

    columns = conn.execute(
        """
        SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = 'public'
        """
    ).fetchall()

    assert tables_explained() == {table for table, _ in columns}
    assert {column for _, column in columns} <= named


# --- cron -----------------------------------------------------------------------------------------

LINES = [line for line in CRONTAB.splitlines() if re.match(r"[0-9*]", line)]
NIGHTLY, CATCH_UP, WATCH = (line.split(maxsplit=5)[5] for line in LINES)


def as_cron(line: str, folder: Path, *, hour: str, exit_code: int = 0) -> tuple[list[str], str]:
    """Run a line as cron would in that hour of UTC; returns what was run and what would be mailed.

    In `folder` stand a `date` that tells the hour, and a `checkinsync` that says something where it
    fails and notes how it was called.
    """
    fakes = {
        "date": f'[ "$*" = "-u +%H" ] && echo {hour}',
        "checkinsync": f'echo "$*" >> "{folder}/calls"; [ {exit_code} = 0 ] || echo trouble >&2; '
        f"exit {exit_code}",
    }
    for name, script in fakes.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.defpath}"
    shell = line.replace("\\%", "%").replace("/opt/checkinsync/bin/", "")
    command = ["/bin/sh", "-c", shell]
    said = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    calls = folder / "calls"
    called = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
    return called, said.stdout + said.stderr


def test_the_crontab_is_one():
    for line in CRONTAB.splitlines():
        if not line or line.startswith("#"):
            continue
        if re.fullmatch(r"[A-Z_]+=\S+", line):
            continue
        fields, command = line.split(maxsplit=5)[:5], line.split(maxsplit=5)[5]
        for field, most in zip(fields, (59, 23, 31, 12, 7), strict=True):
            numbers = re.fullmatch(r"\*(?:/\d+)?|\d+(?:-\d+)?(?:,\d+)*", field)
            assert numbers, line
            assert all(int(number) <= most for number in re.findall(r"\d+", field)), line
        assert not re.search(r"(?<!\\)%", command), "cron takes a bare % for the end of the line"
        assert len(line) < 900, "Debian's cron takes no more than 998"
    assert CRONTAB.endswith("\n"), "cron ignores a last line without an end"


@pytest.mark.parametrize(("hour", "runs"), [("01", False), ("02", True), ("03", False)])
def test_the_nightly_line_runs_at_two_in_utc_only(tmp_path: Path, hour: str, runs: bool):
    called, mail = as_cron(NIGHTLY, tmp_path, hour=hour)

    assert called == (["orchestrate"] if runs else [])
    assert mail == ""


@pytest.mark.parametrize(
    ("hour", "runs"), [("02", False), ("03", True), ("08", True), ("12", True), ("13", False)]
)
def test_the_catch_up_line_runs_from_three_to_noon(tmp_path: Path, hour: str, runs: bool):
    called, mail = as_cron(CATCH_UP, tmp_path, hour=hour)

    assert called == (["orchestrate --max-age 20h"] if runs else [])
    assert mail == ""


@pytest.mark.parametrize(("exit_code", "mail"), [(0, ""), (3, "trouble\n"), (75, "")])
def test_the_catch_up_line_mails_trouble_but_not_that_a_run_is_at_work(
    tmp_path: Path, exit_code: int, mail: str
):
    assert as_cron(CATCH_UP, tmp_path, hour="05", exit_code=exit_code)[1] == mail


def test_the_watching_line_mails_who_is_stale(tmp_path: Path):
    assert as_cron(WATCH, tmp_path, hour="14", exit_code=7)[1] == "trouble\n"


# --- what is promised -----------------------------------------------------------------------------


def test_every_promise_names_tests_that_exist():
    pages = [path.read_text(encoding="utf-8") for path in MARKDOWN]
    named = {name for page in pages for name in re.findall(r"`(test_\w+)`", page)}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    written = {name for text in sources for name in re.findall(r"^def (test_\w+)\(", text, re.M)}

    assert len(named) > 30
    assert named - written == set()
