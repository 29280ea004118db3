"""What needs an extra says which one, where it is not installed."""

from __future__ import annotations

import sys

import pytest

from checkinsync.config.settings import Settings
from checkinsync.doctor import looks
from checkinsync.errors import Exit, MissingExtra
from checkinsync.notify import digest
from checkinsync.notify.metrics import exposition
from checkinsync.notify.targets import Apprise
from checkinsync.report.page import page
from support.factories import NOW
from support.summaries import FINE, summary

USES = {
    "apprise": ("notify", lambda pool: Apprise("json://x", "apprise").send(digest.of_test("web1"))),
    "prometheus_client": ("metrics", lambda pool: exposition(summary(FINE), None)),
    "jinja2": ("report", lambda pool: page(pool=pool, now=NOW, active_days=30)),
}


def test_the_doctor_warns_of_a_setting_whose_extra_is_missing(monkeypatch):
    settings = Settings.from_mapping(
        {"CHECKINSYNC_NOTIFY": "json://x", "CHECKINSYNC_REPORT_FILE": "/tmp/report.html"}
    )
    assert list(looks.extras(settings)) == []

    monkeypatch.setitem(sys.modules, "jinja2", None)

    [finding] = looks.extras(settings)
    assert finding.says == "CHECKINSYNC_REPORT_FILE needs more packages than are installed"
    assert finding.advice == "pip install 'checkinsync[report]'"


@pytest.mark.parametrize("package", list(USES))
def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch, pool, package):
    extra, use = USES[package]
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtra, match=rf"pip install 'checkinsync\[{extra}\]'") as found:
        use(pool)

    assert found.value.exit_code == Exit.SETTINGS
