from __future__ import annotations

from platform import python_version
from typing import TYPE_CHECKING

import pytest

from exporter import __version__
from exporter.errors import CallError, Reason
from exporter.metrics import own
from exporter.metrics.own import OWN_FAMILIES
from exporter.metrics.telemetry import SelfMetrics, revision_in
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOURCE = ("provider", "source")
TASK = (*SOURCE, "task")
PREFIX = "loadfleet_exporter_"
OURS = (PREFIX, "loadfleet_preflight_")

# Type and labels of every own family; the prefix is left out of most names.
CONTRACT: dict[str, tuple[str, tuple[str, ...]]] = {
    "build_info": ("gauge", ("version", "revision", "python")),
    "shard_ordinal": ("gauge", ()),
    "shards": ("gauge", ()),
    "config_last_reload_successful": ("gauge", ()),
    "config_last_reload_success_timestamp_seconds": ("gauge", ()),
    "poll_duration_seconds": ("histogram", TASK),
    "polls_total": ("counter", TASK),
    "poll_failures_total": ("counter", (*TASK, "reason")),
    "poll_last_success_timestamp_seconds": ("gauge", TASK),
    "poll_last_attempt_timestamp_seconds": ("gauge", TASK),
    "poll_interval_seconds": ("gauge", TASK),
    "schedule_lateness_seconds": ("histogram", TASK),
    "schedule_skipped_total": ("counter", (*TASK, "reason")),
    "http_requests_total": ("counter", (*SOURCE, "operation", "outcome")),
    "http_request_duration_seconds": ("histogram", (*SOURCE, "operation")),
    "http_requests_in_flight": ("gauge", SOURCE),
    "breaker_open": ("gauge", SOURCE),
    "lockout_refusals": ("gauge", SOURCE),
    "vendor_slow": ("gauge", SOURCE),
    "targets_expected": ("gauge", (*TASK, "kind")),
    "vendor_certificate_not_after_timestamp_seconds": ("gauge", SOURCE),
    "leader": ("gauge", SOURCE),
    "leader_changes_total": ("counter", SOURCE),
    "series": ("gauge", SOURCE),
    "series_expired_total": ("counter", SOURCE),
    "vendor_surprises_total": ("counter", (*SOURCE, "kind")),
    "alerts_firing": ("gauge", ("alertname", "severity")),
    "notifications_total": ("counter", ("receiver",)),
    "notification_failures_total": ("counter", ("receiver",)),
    "notifications_failing": ("gauge", ("receiver",)),
    "render_duration_seconds": ("histogram", ()),
    "exposition_bytes": ("gauge", ()),
    "state_up": ("gauge", ("backend",)),
    "state_operations_total": ("counter", ("backend",)),
    "state_operation_failures_total": ("counter", ("backend",)),
    "state_size_bytes": ("gauge", ("backend",)),
    "web_config_last_reload_successful": ("gauge", ()),
    "web_certificate_not_after_timestamp_seconds": ("gauge", ()),
    "loadfleet_preflight_ready": ("gauge", ("preflight",)),
    "loadfleet_preflight_due": ("gauge", ("preflight",)),
    "loadfleet_preflight_window_start_timestamp_seconds": ("gauge", ("preflight",)),
    "loadfleet_preflight_window_end_timestamp_seconds": ("gauge", ("preflight",)),
    "loadfleet_preflight_agents": ("gauge", ("preflight", "state")),
    "loadfleet_preflight_users": ("gauge", ("preflight",)),
    "loadfleet_preflight_check_passed": ("gauge", ("preflight", "check")),
}


def used(clock: FakeClock | None = None) -> SelfMetrics:
    """Make a telemetry in which every family has a series."""
    telemetry = SelfMetrics(clock=(clock or FakeClock()).clock, revision="abc")
    source = telemetry.source("realload", "prod")
    source.declare_task("agents", 60.0)
    with source.request("getAgents"):
        pass
    source.expect("agents", "agent", expected=True)
    source.certificate_ends(1_800_000_000.0)
    source.leads.set(1)
    source.leader_changes.inc()
    telemetry.expose(own.WEB_CERTIFICATE_END)
    telemetry.fires({("LoadFleetAgentDown", "critical"): 1})
    for family in OWN_FAMILIES:
        if family.labels == ("receiver",):
            telemetry[family].labels("alertmanager")
        elif family.labels == ("backend",):
            telemetry[family].labels("sqlite")
        elif "preflight" in family.labels:
            telemetry.shows(family, {family.labels: 1.0})
    return telemetry


def value(telemetry: SelfMetrics, name: str, **labels: str) -> float | None:
    """Read a sample."""
    return telemetry.registry.get_sample_value(f"{PREFIX}{name}", labels)


def of_source(telemetry: SelfMetrics, name: str) -> list[Mapping[str, str]]:
    """Return the labels of all samples that belong to a source."""
    return [
        sample.labels
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.labels.get("source") == name
    ]


def test_the_own_families_are_those_published() -> None:
    """Names, types and labels are the contract, neither more nor less."""
    found = {}
    for metric in used().registry.collect():
        if metric.name.startswith(OURS):
            name = metric.name.removeprefix(PREFIX)
            name = f"{name}_total" if metric.type == "counter" else name
            labels = {key for sample in metric.samples for key in sample.labels} - {"le"}
            found[name] = (metric.type, frozenset(labels))

    assert {name: (kind, frozenset(labels)) for name, (kind, labels) in CONTRACT.items()} == found


def test_the_table_says_what_is_registered() -> None:
    """Alerts, dashboards and documents name what is exposed, under its name and with its labels."""
    exposed = {
        (sample.name, frozenset(sample.labels) - {"le"})
        for metric in used().registry.collect()
        for sample in metric.samples
    }

    assert CONTRACT == {
        family.name.removeprefix(PREFIX): (family.kind, family.labels) for family in OWN_FAMILIES
    }
    assert {(family.series, frozenset(family.labels)) for family in OWN_FAMILIES} <= exposed


def test_every_own_family_has_a_help_text() -> None:
    """A family explains itself in a sentence."""
    assert all(
        metric.documentation.endswith(".")
        for metric in used().registry.collect()
        if metric.name.startswith(OURS)
    )


def test_what_is_shown_replaces_what_was_shown() -> None:
    """A preflight that is no longer configured has no series, and others keep theirs."""
    telemetry = SelfMetrics()
    telemetry.shows(own.PREFLIGHT_DUE, {("nightly",): 1.0, ("weekly",): 0.0})

    telemetry.shows(own.PREFLIGHT_DUE, {("weekly",): 1.0})

    (found,) = telemetry[own.PREFLIGHT_DUE].collect()
    assert [({"preflight": "weekly"}, 1.0)] == [(each.labels, each.value) for each in found.samples]


def test_the_process_is_covered() -> None:
    """The client's own collectors are registered."""
    names = {metric.name for metric in used().registry.collect()}

    assert {"process_cpu_seconds", "python_info", "python_gc_collections"} <= names


def test_nothing_has_a_creation_time() -> None:
    """No `_created` series doubles the counters and histograms."""
    assert not [
        sample.name
        for metric in used().registry.collect()
        for sample in metric.samples
        if sample.name.endswith("_created")
    ]


def test_the_commit_is_that_of_the_build(tmp_path: Path) -> None:
    """A build that knows its commit must show it; a checkout and PyPI's wheel have none to show."""
    before = revision_in(tmp_path)
    (tmp_path / "REVISION").write_text("abc\n")

    assert ("", "abc") == (before, revision_in(tmp_path))
    assert 1 == value(
        used(), "build_info", version=__version__, revision="abc", python=python_version()
    )


def test_a_source_exists_at_zero_from_the_start() -> None:
    """Counters of a configured source are there before anything happened."""
    telemetry = SelfMetrics()

    telemetry.source("realload", "prod")

    labels = {"provider": "realload", "source": "prod"}
    for name in ("http_requests_in_flight", "breaker_open", "series", "series_expired_total"):
        assert 0.0 == value(telemetry, name, **labels)
    for kind in ("enum", "type", "missing_field"):
        assert 0.0 == value(telemetry, "vendor_surprises_total", **labels, kind=kind)


def test_a_task_exists_at_zero_from_the_start() -> None:
    """A task's counters must exist at 0 before its first poll."""
    telemetry = SelfMetrics()

    telemetry.source("realload", "prod").declare_task("agents", 60.0)

    labels = {"provider": "realload", "source": "prod", "task": "agents"}
    for reason in Reason:
        assert 0.0 == value(telemetry, "poll_failures_total", **labels, reason=reason.value)
    for skip in ("running", "missed", "blocked"):
        assert 0.0 == value(telemetry, "schedule_skipped_total", **labels, reason=skip)
    for name in (
        "polls_total",
        "poll_last_success_timestamp_seconds",
        "poll_last_attempt_timestamp_seconds",
        "poll_duration_seconds_count",
        "schedule_lateness_seconds_count",
    ):
        assert 0.0 == value(telemetry, name, **labels)
    assert 60.0 == value(telemetry, "poll_interval_seconds", **labels)


def test_a_leader_is_shown_where_one_is_elected() -> None:
    """A source without an election must have no series about leaders."""
    telemetry = SelfMetrics()
    source = telemetry.source("realload", "prod")
    labels = {"provider": "realload", "source": "prod"}
    before = [value(telemetry, name, **labels) for name in ("leader", "leader_changes_total")]

    source.leads.set(1)
    source.leader_changes.inc()

    assert [None, None] == before
    assert 1.0 == value(telemetry, "leader", **labels)
    assert 1.0 == value(telemetry, "leader_changes_total", **labels)


def test_a_forgotten_source_leaves_no_series() -> None:
    """All series of a source go with it, and those of another stay."""
    telemetry = used()
    telemetry.source("realload", "lab").declare_task("agents", 60.0)
    others = of_source(telemetry, "lab")

    telemetry.forget("realload", "prod")

    assert [] == of_source(telemetry, "prod")
    assert others == of_source(telemetry, "lab")


def test_a_forgotten_task_leaves_no_series_and_can_come_back() -> None:
    """Forgetting a task must remove its expectations; they return with the task."""
    telemetry = used()
    source = telemetry.source("realload", "prod")
    labels = {"provider": "realload", "source": "prod", "task": "agents", "kind": "agent"}

    source.forget_task("agents")
    forgotten = value(telemetry, "targets_expected", **labels)
    source.expect("agents", "agent", expected=False)

    assert (None, 0.0) == (forgotten, value(telemetry, "targets_expected", **labels))


def test_without_a_web_configuration_nothing_was_refused() -> None:
    """Without a web configuration, nothing is refused and no certificate ends."""
    telemetry = SelfMetrics()

    found = [
        value(telemetry, name)
        for name in (
            "web_config_last_reload_successful",
            "web_certificate_not_after_timestamp_seconds",
        )
    ]

    assert [1.0, None] == found


def test_a_source_that_comes_back_starts_anew() -> None:
    """After being forgotten a source counts from zero, with all of its series."""
    telemetry = used()
    telemetry.source("realload", "prod").surprise("enum")
    telemetry.forget("realload", "prod")

    telemetry.source("realload", "prod")

    labels = {"provider": "realload", "source": "prod", "kind": "enum"}
    assert 0.0 == value(telemetry, "vendor_surprises_total", **labels)


def test_a_source_is_made_once() -> None:
    """A source's metrics must be created once and shared."""
    telemetry = SelfMetrics()

    assert telemetry.source("realload", "prod") is telemetry.source("realload", "prod")


def test_a_call_counts_as_ok_with_its_duration() -> None:
    """A call that returns is in flight while it runs, then counted and timed."""
    clock = FakeClock()
    telemetry = SelfMetrics(clock=clock.clock)
    source = telemetry.source("realload", "prod")
    labels = {"provider": "realload", "source": "prod"}

    with source.request("pingAgent"):
        in_flight = value(telemetry, "http_requests_in_flight", **labels)
        clock.shift(2.0)

    labels["operation"] = "pingAgent"
    assert 1.0 == in_flight
    assert 1.0 == value(telemetry, "http_requests_total", **labels, outcome="ok")
    assert 2.0 == value(telemetry, "http_request_duration_seconds_sum", **labels)


def test_a_failed_call_counts_its_reason() -> None:
    """The outcome of a failed call is the reason it failed for."""
    telemetry = SelfMetrics()
    source = telemetry.source("realload", "prod")

    with pytest.raises(CallError), source.request("pingAgent"):
        raise CallError(Reason.TIMEOUT, "pingAgent timed out")

    labels = {"provider": "realload", "source": "prod"}
    assert 0.0 == value(telemetry, "http_requests_in_flight", **labels)
    labels["operation"] = "pingAgent"
    assert 1.0 == value(telemetry, "http_requests_total", **labels, outcome="timeout")
    assert 1.0 == value(telemetry, "http_request_duration_seconds_count", **labels)


def test_a_call_that_was_given_up_has_no_outcome() -> None:
    """A cancelled call must leave the calls under way, and count with no outcome."""
    telemetry = SelfMetrics()
    source = telemetry.source("realload", "prod")

    with pytest.raises(KeyError), source.request("pingAgent"):
        raise KeyError

    labels = {"provider": "realload", "source": "prod"}
    assert 0.0 == value(telemetry, "http_requests_in_flight", **labels)
    labels |= {"operation": "pingAgent", "outcome": "ok"}
    assert value(telemetry, "http_requests_total", **labels) is None


def test_a_good_poll_moves_both_times() -> None:
    """A poll without a failure is an attempt and a success."""
    clock = FakeClock(unix=1_700_000_000.0)
    telemetry = SelfMetrics(clock=clock.clock)

    telemetry.source("realload", "prod").polled(
        "agents", seconds=1.5, at=clock.clock.now(), failures=()
    )

    labels = {"provider": "realload", "source": "prod", "task": "agents"}
    assert 1.0 == value(telemetry, "polls_total", **labels)
    assert 1.5 == value(telemetry, "poll_duration_seconds_sum", **labels)
    assert 1.7e9 == value(telemetry, "poll_last_attempt_timestamp_seconds", **labels)
    assert 1.7e9 == value(telemetry, "poll_last_success_timestamp_seconds", **labels)


def test_a_bad_poll_counts_each_reason_once() -> None:
    """Two calls that timed out within a poll are one failure of it, and it is no success."""
    clock = FakeClock().clock
    telemetry = SelfMetrics(clock=clock)
    source = telemetry.source("realload", "prod")
    source.declare_task("agents", 60.0)
    reasons = [Reason.TIMEOUT, Reason.TIMEOUT, Reason.DNS]

    source.polled("agents", seconds=1.0, at=clock.now(), failures=reasons)

    labels = {"provider": "realload", "source": "prod", "task": "agents"}
    assert 1.0 == value(telemetry, "poll_failures_total", **labels, reason="timeout")
    assert 1.0 == value(telemetry, "poll_failures_total", **labels, reason="dns")
    assert 1.0 == value(telemetry, "polls_total", **labels)
    assert 0.0 == value(telemetry, "poll_last_success_timestamp_seconds", **labels)


def test_late_and_skipped_polls_are_counted() -> None:
    """Lateness is observed, and what did not take place is counted by its cause."""
    telemetry = SelfMetrics()
    source = telemetry.source("realload", "prod")

    source.late("agents", 0.25)
    source.skipped("agents", "running")

    labels = {"provider": "realload", "source": "prod", "task": "agents"}
    assert 0.25 == value(telemetry, "schedule_lateness_seconds_sum", **labels)
    assert 1.0 == value(telemetry, "schedule_skipped_total", **labels, reason="running")


def test_the_state_of_a_source_is_shown() -> None:
    """Breaker, surprises and series must be shown as they were set last."""
    telemetry = SelfMetrics()
    source = telemetry.source("realload", "prod")

    source.breaker.set(1)
    source.surprise("type")
    source.series.set(7)
    source.expired.inc(3)

    labels = {"provider": "realload", "source": "prod"}
    assert 1.0 == value(telemetry, "breaker_open", **labels)
    assert 1.0 == value(telemetry, "vendor_surprises_total", **labels, kind="type")
    assert 7.0 == value(telemetry, "series", **labels)
    assert 3.0 == value(telemetry, "series_expired_total", **labels)
