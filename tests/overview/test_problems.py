"""Problems are the alert table's conditions, from the moment at which they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.alerts.evaluate import Alert, Phase
from exporter.alerts.rule import Severity
from exporter.alerts.settings import AlertingSettings
from exporter.fleet.kinds import Kind
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.problems import Judge, Problem
from tests.support.clock import FakeClock
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading


class Bench:
    """A judge over the readings of one source whose task was read."""

    def __init__(self, **alerts: object) -> None:
        self.telemetry = SelfMetrics(clock=FakeClock().clock)
        self.telemetry[own.RELOAD_SUCCESSFUL].set(1)
        settings = AlertingSettings.model_validate({"alerts": alerts})
        self.judge = Judge.of(settings, self.telemetry.registry)

    def of(
        self, *readings: Reading, seconds: float = 0.0, alerts: tuple[Alert, ...] = ()
    ) -> list[Problem]:
        """Judge readings some seconds after the beginning."""
        at = fakes.ago(-seconds)
        return list(self.judge.judge(fakes.FakeView(*readings).snapshots(), at, alerts))


def alert(name: str, severity: str, **labels: str) -> Alert:
    return Alert(
        name=name,
        labels={"alertname": name, "severity": severity, **labels},
        annotations={"description": "It was so.", "runbook_url": "https://runbooks/x.md"},
        value=1.0,
        phase=Phase.FIRING,
        since=fakes.ago(600),
    )


def test_holds_at_once() -> None:
    """A page is looked at now, so nothing has to hold for five minutes."""
    (found,) = Bench().of(fakes.agent("a", up=False), fakes.agent("b"), fakes.agent("c"))

    assert ("LoadFleetAgentUnreachable", Severity.CRITICAL, "a", ("prod", Kind.AGENT, "id-a")) == (
        found.alert,
        found.severity,
        found.name,
        found.target,
    )
    assert found.description.startswith("Agent a (id id-a) of source prod cannot be reached.")
    assert "bern" == found.labels["site"]


def test_ends_at_once() -> None:
    """A problem must end as soon as its target is well, although the alert goes on for a while."""
    bench = Bench()
    bench.of(fakes.agent(up=False))

    assert [] == bench.of(fakes.agent(), seconds=1)


def test_lasts_since_it_was_first_seen() -> None:
    """A problem must last since it was first found."""
    bench = Bench()
    bench.of(fakes.agent(up=False))

    (found,) = bench.of(fakes.agent(up=False), seconds=90)

    assert fakes.NOW.unix == found.since_timestamp_seconds


@pytest.mark.parametrize("changed", [{"off": True}, {"severity": "info"}])
def test_follows_the_settings(changed: dict[str, object]) -> None:
    """An alert that is off is no problem, and one of another severity is one of that."""
    found = Bench(AgentUnreachable=changed).of(fakes.agent(up=False))

    assert ([] if "off" in changed else [Severity.INFO]) == [each.severity for each in found]


def test_what_explains_others_comes_first() -> None:
    """A source's problem must come before those of its targets, and warnings last."""
    found = Bench().of(
        fakes.suite(passed=False), fakes.agent("a", up=False), fakes.agent("b", up=False)
    )

    assert ["HalfOfAgentsDown", "AgentUnreachable", "AgentUnreachable", "SuiteFailed"] == [
        each.title for each in found
    ]


def test_a_member_is_a_problem_of_its_cluster() -> None:
    """Members have no page of their own, and are named with their cluster."""
    found = Bench().of(fakes.cluster(fakes.member("m", up=False)), fakes.agent("m"))

    assert [("prod", Kind.CLUSTER, "7", "alps/m")] == [(*each.target, each.name) for each in found]


def test_lasts_while_nothing_is_known() -> None:
    """A problem must last while nothing is known of its target."""
    bench = Bench()
    bench.telemetry[own.POLL_INTERVAL].labels("realload", "prod", "agents").set(60)
    bench.of(fakes.agent(up=False))

    (found,) = bench.of(seconds=60)

    assert (True, fakes.NOW.unix) == (found.unknown, found.since_timestamp_seconds)


def test_what_fires_is_a_problem() -> None:
    """An alert that outlives its condition is not contradicted."""
    firing = alert(
        "LoadFleetAgentUnreachable", "critical", provider="realload", source="prod", agent_id="9"
    )

    found = Bench().of(fakes.agent(), alerts=(firing,))

    assert [("prod", "agent", "9")] == [each.target for each in found]


def test_what_fires_is_told_once() -> None:
    """The built-in alerts about the exporter name it, and are the same problem all the same."""
    bench = Bench()
    bench.telemetry[own.RELOAD_SUCCESSFUL].set(0)
    firing = alert("LoadFleetReloadFailed", "warning", instance="fleet.example.com:9877")

    assert ["ReloadFailed"] == [each.title for each in bench.of(alerts=(firing,))]


def test_what_an_alert_knows_of_the_beginning() -> None:
    """The built-in alerts outlive a restart, and know for longer that something is wrong."""
    labels = {"provider": "realload", "source": "prod", "site": "bern"}
    pending = fakes.changed(
        alert("LoadFleetAgentUnreachable", "critical", agent_id="id-a", agent="a", **labels),
        phase=Phase.PENDING,
    )

    (found,) = Bench().of(
        fakes.agent("a", up=False), fakes.agent("b"), fakes.agent("c"), alerts=(pending,)
    )

    assert fakes.NOW.unix - 600 == found.since_timestamp_seconds
