"""A run and the database's state as metrics for Prometheus, by node_exporter's textfiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from checkinsync import __version__
from checkinsync.errors import MissingExtra
from checkinsync.nightly.summary import RunSummary
from checkinsync.notify.queries import State

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily


def exposition(run: RunSummary, state: State | None) -> bytes:
    """Return the metrics as text. `state`: None where the database can't be asked.

    Raises MissingExtra.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise MissingExtra("CHECKINSYNC_METRICS_FILE", "metrics") from None
    registry = CollectorRegistry()
    registry.register(_Collector(run, state))
    return generate_latest(registry)


class _Collector:
    """Hands the metrics to the library."""

    def __init__(self, run: RunSummary, state: State | None) -> None:
        self._run = run
        self._state = state

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield each metric with its values."""
        yield _gauge("build_info", "The version that is installed.", {__version__: 1}, "version")
        yield from _of_run(self._run)
        if self._state is not None:
            yield from _of_state(self._state)


def _of_run(run: RunSummary) -> Iterator[GaugeMetricFamily]:
    seconds = (run.finished_at - run.started_at).total_seconds()
    users = {"synced": run.synced, "failed": run.failed, "skipped": run.skipped}
    saved = {"new": run.saved.new, "changed": run.saved.changed, "deleted": run.saved.gone}
    retries = sum(max(0, report.attempts - 1) for report in run.reports)
    yield from _instant("last_run", "The end of the last run.", run.finished_at)
    yield _gauge("last_run_exit_code", "The exit code of the last run.", run.exit_code)
    yield _gauge("last_run_duration_seconds", "The time that the last run took.", seconds)
    yield _gauge("last_run_due_users", "Users who were to be imported.", run.due)
    yield _gauge("last_run_users", "Users by the result of the last run.", users, "result")
    yield _gauge("last_run_checkins", "Check-ins by what the last run did.", saved, "change")
    yield _gauge("last_run_requests", "Requests to Foursquare in the last run.", run.requests)
    yield _gauge("last_run_retries", "Attempts after the first, of all users.", retries)


def _of_state(state: State) -> Iterator[GaugeMetricFamily]:
    yield from _instant(
        "last_success", "The end of the last run that went well.", state.last_success
    )
    yield _gauge(
        "users", "Users by state, as `checkinsync status` counts them.", state.users, "state"
    )
    to_renew = state.users["needs_reauth"]
    yield _gauge("tokens_to_renew", "Users who must log in to Foursquare again.", to_renew)
    yield from _instant(
        "oldest_comparison",
        "When the stretch of history that waits longest was compared with Foursquare.",
        state.oldest_comparison,
    )
    yield _gauge("quarantined_checkins", "Items that could not be stored.", state.quarantined)
    yield _gauge("server_sessions", "Sessions of the database.", state.sessions)
    yield _gauge("server_sessions_max", "Sessions that its server allows.", state.most_sessions)


def _instant(name: str, about: str, at: datetime | None) -> Iterator[GaugeMetricFamily]:
    """Yield a metric of a time; none where it is not known."""
    if at is not None:
        yield _gauge(f"{name}_timestamp_seconds", about, at.timestamp())


def _gauge(
    name: str, about: str, value: float | Mapping[str, float], label: str | None = None
) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(f"checkinsync_{name}", about, labels=[label] if label else None)
    values = value if isinstance(value, Mapping) else {None: value}
    for key, number in values.items():
        family.add_metric([key] if key is not None else [], number)
    return family
