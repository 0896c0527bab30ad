"""The samples that the conditions are judged by."""

from __future__ import annotations

from exporter.alerts.expression import ALERTS, Absent, Age, Select, select
from exporter.alerts.samples import metrics, view
from exporter.alerts.table import rules
from exporter.alerts.thresholds import Thresholds
from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState
from exporter.fleet.store import Snapshot
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.metrics.own import OWN_FAMILIES
from exporter.metrics.telemetry import SelfMetrics


NOW = Moment(unix=1_700_000_000.0, monotonic=1_000.0)

STATE = AgentState(read_at=NOW, up=False, reason=Reason.NOT_REACHABLE)

SNAPSHOT = Snapshot(
    provider="realload",
    source="prod",
    task="agents",
    readings=(Agent(agent_id="7", agent="alps", active=True, state=STATE),),
    taken=NOW,
    stale_after=180.0,
    labels={"site": "bern"},
)


def test_the_metrics_of_a_condition_are_found_however_deep() -> None:
    """A metric that is overlooked would make its alert silent."""
    condition = (
        Age(of=select(c.SUITE_LAST_RUN_START))
        .compared(">", 5)
        .where("unless", select(c.SUITE_RUNNING).compared("==", 1), "source")
        .either(Absent(of=Select(metric="up")))
    )

    assert {
        "loadfleet_suite_last_run_start_timestamp_seconds",
        "loadfleet_suite_running",
        "up",
    } == metrics([condition])


def test_what_is_known_of_the_fleet_has_all_labels_of_the_exposition() -> None:
    """Samples of the fleet must have all exposed labels, also the source's configured ones."""
    found = view([SNAPSHOT], SelfMetrics().registry, {"loadfleet_agent_up"})

    (series,) = found.of("loadfleet_agent_up")
    labels = {
        "provider": "realload",
        "source": "prod",
        "site": "bern",
        "agent_id": "7",
        "agent": "alps",
    }
    assert [(labels, 0.0)] == list(series.samples())


def test_our_own_metrics_are_among_them() -> None:
    """Some alerts are about the exporter."""
    telemetry = SelfMetrics()
    telemetry[own.NOTIFICATIONS_FAILING].labels("http://one").set(1)

    found = view([], telemetry.registry, {"loadfleet_exporter_notifications_failing"})

    (series,) = found.of("loadfleet_exporter_notifications_failing")
    assert [({"receiver": "http://one"}, 1.0)] == list(series.samples())


def test_what_no_condition_reads_is_left_out() -> None:
    """Most of ten thousand agents' samples are none of the alerts' business."""
    found = view([SNAPSHOT], SelfMetrics().registry, {"loadfleet_agent_clock_delta_seconds"})

    assert [] == [*found.of("loadfleet_agent_up")]


def test_what_a_target_does_not_tell_has_no_series() -> None:
    """A value that the target does not report must have no series."""
    found = view([SNAPSHOT], SelfMetrics().registry, {"loadfleet_agent_clock_delta_seconds"})

    assert [] == [*found.of("loadfleet_agent_clock_delta_seconds")]


def test_every_metric_of_the_table_can_be_found() -> None:
    """A metric that neither the fleet nor we have would make its alert silent."""
    known = {ALERTS} | {family.name for family in c.FAMILIES}
    known |= {family.name for family in OWN_FAMILIES}

    thresholds = Thresholds.model_validate({"suite_overdue": "1h"})
    read = metrics(rule.expression for rule in rules(thresholds) if rule.built_in)

    assert set() == read - known
