"""The operator's page: what it says, and how a real browser takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from checkinsync.report.page import page
from checkinsync.store.pool import Pool
from support.chromium import Browser, chromium
from support.factories import NOW
from support.many import fill
from support.stories import QUIET, Story

MB = 2**20
NASTY = "<script>alert(1)</script> \u202e'\"&`rm`"
VOID = {"meta", "link", "path", "rect"}


class Outline(HTMLParser):
    """The elements of a page; fails where one is not closed, or closed by another's tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture
def show(pool: Pool):
    def show(**more) -> str:
        return page(pool=pool, now=NOW, active_days=30, **more)

    return show


# --- what it says ---------------------------------------------------------------------------------


def test_the_page_of_an_empty_database_says_what_to_do(show):
    text = show()

    assert "no run has ended yet" in text
    assert "<code>checkinsync users add</code>" in text


def test_the_page_shows_nights_states_and_next_actions(conn: psycopg.Connection, show):
    fill(conn, users=120, nights=60, at=NOW)

    text = show()

    assert "30 nights, 1 without a run: " in text
    for title in ("Failing: 3", "Must log in again: 3", "In order: ", "Paused: 2", "Not active: 6"):
        assert title in text, title
    assert "the list shifted under the walk too often" in text
    assert "<code>checkinsync users set-token 3</code>" in text
    assert "tried again in the next nightly run" in text
    assert "0 to 7 days" in text
    assert ">2026-01-30<" in text
    assert ">2026-01-29<" not in text


def test_a_night_that_has_not_begun_is_not_missed_and_one_that_did_not_come_is(
    conn: psycopg.Connection, show
):
    fill(conn, users=5, nights=1, at=NOW)
    assert "1 night, 0 without a run" in show()

    conn.execute("UPDATE sync_runs SET started_at = started_at - interval '3 days'")
    assert "4 nights, 3 without a run" in show()


def test_since_sets_the_first_night(conn: psycopg.Connection, show):
    fill(conn, users=5, nights=60, at=NOW)

    assert "10 nights" in show(since=(NOW - timedelta(days=10)).date())
    assert "60 nights" in show(since=(NOW - timedelta(days=400)).date())


def test_a_good_installation_is_said_to_be_well(conn: psycopg.Connection, show):
    fill(conn, users=2, nights=1, at=NOW)

    text = show()

    assert "All is well" in text
    assert "Needs attention" not in text


def test_names_are_shown_as_text(conn: psycopg.Connection, show):
    fill(conn, users=2, nights=1, at=NOW)
    conn.execute("UPDATE users SET display_name = %s WHERE id = 1", [NASTY])

    text = show()

    Outline(text)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_two_thousand_users_and_a_year_fit_into_three_megabytes(conn: psycopg.Connection, show):
    fill(conn, users=2000, nights=365, at=NOW)

    text = show(since=(NOW - timedelta(days=365)).date())

    assert "365 nights" in text
    assert len(text.encode()) < 3 * MB


def test_the_page_is_well_formed_and_can_be_read_aloud(conn: psycopg.Connection, show):
    fill(conn, users=120, nights=30, at=NOW)

    outline = Outline(show())

    assert outline.all("html") == [{"lang": "en"}]
    headings = [int(tag[1]) for tag, _ in outline.seen if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(headings))
    ids = [attributes["id"] for _, attributes in outline.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a for _, a in outline.seen if "aria-labelledby" in a or "aria-describedby" in a]
    for attributes in named:
        wanted = {attributes.get("aria-labelledby"), attributes.get("aria-describedby")} - {None}
        assert wanted <= set(ids)
    assert all("aria-describedby" in svg and svg["role"] == "img" for svg in outline.all("svg"))
    assert len(outline.all("svg")) == 5
    assert {th["scope"] for th in outline.all("th")} == {"row", "col"}


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


CONTRASTS = """
const ratio = (one, two) => {
  const light = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map((v) => {
      v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (!color.endsWith(", 0)")) return color;
  }
  return "rgb(255, 255, 255)";
};
document.querySelectorAll("details").forEach((details) => { details.open = true; });
return [...document.querySelectorAll("body *")]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .filter((e) => !e.closest("svg"))
  .map((e) => [e.textContent.trim().slice(0, 40), ratio(getComputedStyle(e).color, ground(e))])
  .filter(([, contrast]) => contrast < 4.5);
"""
"""The texts that are harder to read than the guidelines for accessibility allow (4.5 : 1)."""


def test_a_browser_shows_it_in_light_and_dark_on_a_phone_and_a_screen(
    conn: psycopg.Connection, show, browser: Browser, tmp_path: Path
):
    fill(conn, users=120, nights=30, at=NOW)
    conn.execute("UPDATE users SET display_name = %s WHERE id = 9", [NASTY + "long" * 50])
    file = tmp_path / "report.html"
    file.write_text(show(), encoding="utf-8")
    browser.open("about:blank")
    browser.requested()

    for width in (390, 1280):
        for dark in (False, True):
            browser.show(width=width, dark=dark)
            browser.open(file.as_uri())
            assert browser.evaluate(CONTRASTS) == []
            assert browser.evaluate("return document.documentElement.scrollWidth") <= width
            assert browser.evaluate(GROUND) == ("rgb(19, 22, 26)" if dark else "rgb(255, 255, 255)")
            (tmp_path / f"{width}-{'dark' if dark else 'light'}.png").write_bytes(browser.picture())

    assert "Needs attention" in browser.text
    assert "30 nights" in browser.text
    assert set(browser.requested()) == {file.as_uri()}
    assert browser.console() == []


GROUND = "return getComputedStyle(document.body).backgroundColor"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_writes_the_page_and_replaces_it(story: Story, tmp_path: Path):
    story.people(3)
    file = tmp_path / "report.html"

    first = story.run("report", "-o", str(file))
    assert (first.code, first.out) == (0, f"wrote {file}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Ada" in file.read_text()

    file.write_text("old")
    file.chmod(0o640)
    printed = story.run("report", "-o", "-", "--since", "2026-01-01")
    assert printed.out.startswith("<!DOCTYPE html>")
    assert story.run("report", "-o", str(file)).code == 0
    assert file.read_text() != "old"
    assert file.stat().st_mode & 0o777 == 0o640

    assert story.run("report", "--since", "2999-01-01").code == 2


def test_a_run_writes_the_page_anew_and_a_failure_changes_no_exit_code(
    story: Story, tmp_path: Path
):
    story.people(3, 2)
    file = tmp_path / "report.html"

    assert story.run("orchestrate", report_file=str(file)) == QUIET
    assert "2 imported" in file.read_text()

    (tmp_path / "folder").mkdir()
    night = story.run("orchestrate", report_file=str(tmp_path / "folder"))
    assert night.code == 0
    assert "WARNING file_not_written" in night.err
    assert "is a folder; name a file" in night.err
