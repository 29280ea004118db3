"""What needs an extra says which one, where it is not installed."""

from __future__ import annotations

import sys

import pytest

from checkinsync.errors import Exit, MissingExtra
from checkinsync.notify import digest
from checkinsync.notify.metrics import exposition
from checkinsync.notify.targets import Apprise
from checkinsync.report.page import page
from notify.test_digest import FINE, summary
from support.factories import NOW

USES = {
    "apprise": ("notify", lambda pool: Apprise("json://x", "apprise").send(digest.of_test("web1"))),
    "prometheus_client": ("metrics", lambda pool: exposition(summary(FINE), None)),
    "jinja2": ("report", lambda pool: page(pool=pool, now=NOW, active_days=30)),
}


@pytest.mark.parametrize("package", list(USES))
def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch, pool, package):
    extra, use = USES[package]
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtra, match=rf"pip install 'checkinsync\[{extra}\]'") as found:
        use(pool)

    assert found.value.exit_code == Exit.SETTINGS
