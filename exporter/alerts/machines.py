"""The alerts about machines: agents, controllers, clusters, recorders and locations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts import about
from exporter.alerts.evidence import SOURCE
from exporter.alerts.expression import (
    Abs,
    Age,
    Expression,
    Match,
    Over,
    Remaining,
    firing,
    merged,
    select,
)
from exporter.alerts.rule import PREFIX, Rule, Severity
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.alerts.thresholds import Thresholds


# Agents that the vendor starts and stops by itself: their end is no fault, and only the vendor can
# update them.
_MANAGED = select(c.AGENT_INFO, Match(label="managed", values=("vendor",)))

# Certificates are read once an hour by default, and the alert waits for two readings.
_HOURLY_HOLD_SECONDS = 7200.0

_HALF_HOUR = 1800.0

#: The most times that an agent may go up or down within half an hour without an alert.
FLAPS = 6


def about_machines(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about machines that cannot be used, or soon cannot."""
    yield from _machines()
    # After the alerts that it inhibits. Alerts that are resolved together are sent in this order,
    # so the inhibition lasts until the alerts that it suppresses are resolved.
    yield from _many(thresholds)
    yield from _outdated()
    yield from _clocks(thresholds)


def _many(thresholds: Thresholds) -> Iterator[Rule]:
    up = _unmanaged(merged(c.AGENT_UP))
    count = up.merged("count", "agent_id", "agent")
    down = _unmanaged(merged(c.AGENT_UP).compared("==", 0)).merged("count", "agent_id", "agent")
    yield Rule(
        f"{PREFIX}HalfOfAgentsDown",
        Severity.CRITICAL,
        down.divided_by(count)
        .compared(">=", thresholds.agents_down_ratio)
        .where("and", count.compared(">=", 2), *SOURCE),
        "A large part of a source's agents cannot be reached.",
        f"At least {thresholds.agents_down_ratio * 100:.4g}% of the agents of source {{source}}"
        " ({provider}) cannot be reached. Most likely they have one cause in common, such as a"
        " network or a data centre.",
        about.AGENTS,
    )


def _unmanaged(targets: Expression) -> Expression:
    """Return agents, or members, without those whose agent the vendor manages."""
    return targets.where("unless", _MANAGED, *SOURCE, "agent_id")


def _clusters_of(controllers: Expression) -> Expression:
    """Return the clusters of some controllers."""
    return select(c.CLUSTER_INFO).where("and", controllers, *SOURCE, "controller")


def _machines() -> Iterator[Rule]:
    # While a controller is down or refused as too old, the state of its clusters is unknown.
    gone = merged(c.CONTROLLER_UP).compared("==", 0)
    behind = _clusters_of(gone.either(firing(f"{PREFIX}ControllerUnreachable")))
    outdated = select(c.CONTROLLER_OUTDATED).compared("==", 1)
    old = _clusters_of(outdated.either(firing(f"{PREFIX}ControllerOutdated")))
    refused = select(c.CLUSTER_FAILURE, Match(label="reason", values=("outdated",)))
    covered = refused.where("and", old, *SOURCE, "cluster_id")
    yield Rule(
        f"{PREFIX}ControllerUnreachable",
        Severity.CRITICAL,
        gone,
        "A cluster controller cannot be reached.",
        "Controller {controller} of source {source} cannot be reached. No test can run on its"
        " clusters.",
        about.CONTROLLER,
    )
    yield Rule(
        f"{PREFIX}ClusterUnusable",
        Severity.CRITICAL,
        merged(c.CLUSTER_UP)
        .compared("==", 0)
        .where("unless", behind, *SOURCE, "cluster_id")
        .where("unless", covered, *SOURCE, "cluster_id"),
        "A cluster cannot be used through its controller.",
        "The controller of cluster {agent_cluster} (id {cluster_id}) of source {source} cannot be"
        " asked for the cluster's members. No test can run on the cluster.",
        about.CLUSTER,
    )
    yield Rule(
        f"{PREFIX}AgentUnreachable",
        Severity.CRITICAL,
        _unmanaged(merged(c.AGENT_UP).compared("==", 0)),
        "A load-generating agent cannot be reached.",
        "Agent {agent} (id {agent_id}) of source {source} cannot be reached. Tests that need it"
        " fail or run with less load.",
        about.AGENT,
    )
    yield Rule(
        f"{PREFIX}MemberUnreachable",
        Severity.CRITICAL,
        _unmanaged(
            merged(c.CLUSTER_MEMBER_UP)
            .compared("==", 0)
            .where("unless", behind, *SOURCE, "cluster_id")
            .where("unless", _unusable(), *SOURCE, "agent_id")
        ),
        "A controller cannot use a member of its cluster.",
        "Agent {agent} (id {agent_id}) of cluster {agent_cluster} of source {source} answers the"
        " portal but cannot be used by the controller. Tests on the cluster run without it.",
        about.MEMBER,
    )
    yield Rule(
        f"{PREFIX}RecorderUnreachable",
        # Tests need no recorder.
        Severity.WARNING,
        merged(c.RECORDER_UP).compared("==", 0),
        "A proxy recorder cannot be reached.",
        "Recorder {recorder} (id {recorder_id}) of source {source} cannot be reached. Nobody can"
        " record sessions with it.",
        about.RECORDER,
    )
    # A warning only, since each agent that is down already has a critical alert.
    disabled = select(c.LOCATION_ACTIVE).compared("==", 0)
    yield Rule(
        f"{PREFIX}LocationWithoutAgents",
        Severity.WARNING,
        merged(c.LOCATION_AGENTS_UP)
        .compared("==", 0)
        .where("unless", disabled, *SOURCE, "location_id"),
        "A private location has no agent that is up.",
        "No agent of location {location_name} (id {location_id}) of source {source} is up. No test"
        " can start there.",
        about.LOCATION,
    )


def _unusable() -> Expression:
    """Return the agents with an alert of their own, firing or pending."""
    down = merged(c.AGENT_UP).compared("==", 0)
    outdated = merged(c.AGENT_OUTDATED).compared("==", 1)
    alerts = (f"{PREFIX}AgentUnreachable", f"{PREFIX}AgentOutdated")
    return down.either(outdated).either(firing(*alerts))


def _outdated() -> Iterator[Rule]:
    # A target that is down has an alert of its own.
    controller = (
        merged(c.CONTROLLER_OUTDATED)
        .compared("==", 1)
        .where("unless", merged(c.CONTROLLER_UP).compared("==", 0), *SOURCE, "controller")
    )
    agent = (
        merged(c.AGENT_OUTDATED)
        .compared("==", 1)
        .where("unless", merged(c.AGENT_UP).compared("==", 0), *SOURCE, "agent_id")
    )
    usable = select(c.CLUSTER_UP).compared("==", 1)
    yield Rule(
        f"{PREFIX}ControllerOutdated",
        Severity.CRITICAL,
        controller,
        "A cluster controller is too old to be used.",
        "Controller {controller} of source {source} answers but is older than the oldest"
        " version accepted. No test can run on its clusters until it is updated.",
        about.CONTROLLER,
        details=(about.version(c.CONTROLLER_INFO, "controller"),),
    )
    yield Rule(
        f"{PREFIX}ClusterOutdated",
        # Tests run until the portal refuses the controller, which causes a critical alert.
        Severity.WARNING,
        merged(c.CLUSTER_OUTDATED)
        .compared("==", 1)
        .where("and", usable, *SOURCE, "cluster_id")
        .where("unless", _clusters_of(controller), *SOURCE, "cluster_id"),
        "The controller of a cluster is older than the oldest version accepted.",
        "Cluster {agent_cluster} (id {cluster_id}) of source {source} can still be asked for its"
        " members, but its controller is older than the oldest version accepted.",
        about.CLUSTER,
    )
    yield Rule(
        f"{PREFIX}AgentOutdated",
        Severity.CRITICAL,
        _unmanaged(agent),
        "An agent is too old to be used.",
        "Agent {agent} (id {agent_id}) of source {source} answers but is older than the"
        " oldest version accepted. Tests may be unable to use it until it is updated.",
        about.AGENT,
        details=(about.host(c.AGENT_INFO, "agent_id"), about.version(c.AGENT_INFO, "agent_id")),
    )
    yield Rule(
        f"{PREFIX}MemberOutdated",
        Severity.CRITICAL,
        _unmanaged(
            merged(c.CLUSTER_MEMBER_OUTDATED)
            .compared("==", 1)
            .where("unless", _unusable(), *SOURCE, "agent_id")
        ),
        "A member of a cluster is too old to be used.",
        "Agent {agent} (id {agent_id}) of cluster {agent_cluster} of source {source} answers its"
        " controller but is older than the oldest version accepted.",
        about.MEMBER,
        details=(
            about.host(c.AGENT_INFO, "agent_id"),
            about.version(c.CLUSTER_MEMBER_INFO, "cluster_id", "member_id"),
        ),
    )
    yield Rule(
        f"{PREFIX}RecorderOutdated",
        Severity.WARNING,
        merged(c.RECORDER_OUTDATED)
        .compared("==", 1)
        .where("unless", merged(c.RECORDER_UP).compared("==", 0), *SOURCE, "recorder_id"),
        "A proxy recorder is too old to be used.",
        "Recorder {recorder} (id {recorder_id}) of source {source} answers but is older than"
        " the oldest version accepted. Update it before using it again.",
        about.RECORDER,
        details=(
            about.host(c.RECORDER_INFO, "recorder_id"),
            about.version(c.RECORDER_INFO, "recorder_id"),
        ),
    )


def _clocks(thresholds: Thresholds) -> Iterator[Rule]:
    limit = thresholds.clock_skew
    if limit is None:
        return
    agents = Abs(of=merged(c.AGENT_CLOCK_DELTA)).compared(">", limit)
    controllers = Abs(of=merged(c.CONTROLLER_CLOCK_DELTA)).compared(">", limit)
    yield Rule(
        f"{PREFIX}AgentClockSkew",
        Severity.WARNING,
        agents,
        "An agent's clock is wrong.",
        "The clock of agent {agent} (id {agent_id}) of source {source} is wrong.",
        about.AGENT,
        details=(
            about.skew(c.AGENT_CLOCK_DELTA, "agent_id"),
            about.host(c.AGENT_INFO, "agent_id"),
        ),
    )
    yield Rule(
        f"{PREFIX}ControllerClockSkew",
        Severity.WARNING,
        controllers,
        "A cluster controller's clock is wrong.",
        "The clock of controller {controller} of source {source} is wrong.",
        about.CONTROLLER,
        details=(about.skew(c.CONTROLLER_CLOCK_DELTA, "controller"),),
    )
    yield Rule(
        f"{PREFIX}MemberClockSkew",
        Severity.WARNING,
        Abs(of=merged(c.CLUSTER_MEMBER_CLOCK_DELTA))
        .compared(">", limit)
        .where("unless", agents, *SOURCE, "agent_id")
        .where("unless", _clusters_of(controllers), *SOURCE, "cluster_id"),
        "The clock of a cluster's member differs from its controller's.",
        "The clock of agent {agent} (id {agent_id}) in cluster {agent_cluster} of source"
        " {source} differs from its controller's.",
        about.MEMBER,
        details=(
            about.skew(c.CLUSTER_MEMBER_CLOCK_DELTA, "cluster_id", "member_id"),
            about.host(c.AGENT_INFO, "agent_id"),
        ),
    )
    yield Rule(
        f"{PREFIX}RecorderClockSkew",
        Severity.WARNING,
        Abs(of=merged(c.RECORDER_CLOCK_DELTA)).compared(">", limit),
        "A proxy recorder's clock is wrong.",
        "The clock of recorder {recorder} (id {recorder_id}) of source {source} is wrong.",
        about.RECORDER,
        details=(
            about.skew(c.RECORDER_CLOCK_DELTA, "recorder_id"),
            about.host(c.RECORDER_INFO, "recorder_id"),
        ),
    )


def about_certificates(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alert about client certificates."""
    if thresholds.certificate_expiry is None:
        return
    unused = select(c.CERTIFICATE_ACTIVE).compared("==", 0)
    yield Rule(
        f"{PREFIX}CertificateExpiring",
        Severity.WARNING,
        Remaining(of=merged(c.CERTIFICATE_NOT_AFTER))
        .compared("<", thresholds.certificate_expiry)
        .where("unless", unused, *SOURCE, "certificate_id"),
        "A client certificate that recorders present expires soon.",
        "Client certificate {certificate} (id {certificate_id}) for {host} of source {source}"
        " expires soon.",
        about.CERTIFICATE,
        hold_seconds=_HOURLY_HOLD_SECONDS,
    )


def about_agents(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about agents that can be used but need attention."""
    yield Rule(
        f"{PREFIX}AgentFlapping",
        Severity.WARNING,
        Over(function="changes", of=select(c.AGENT_UP), seconds=_HALF_HOUR)
        .merged("max")
        .compared(">", FLAPS),
        "An agent goes up and down repeatedly.",
        "Agent {agent} (id {agent_id}) of source {source} went up or down more than six times"
        " within half an hour. Tests that use it fail now and then.",
        about.AGENT,
        built_in=False,
    )
    inactive = select(c.AGENT_ACTIVE).compared("==", 0)
    yield Rule(
        f"{PREFIX}AgentUnprotected",
        Severity.INFO,
        merged(c.AGENT_PROTECTED).compared("==", 0).where("unless", inactive, *SOURCE, "agent_id"),
        "An agent can be used by anyone who reaches it.",
        "Agent {agent} (id {agent_id}) of source {source} demands no token: anyone who"
        " reaches its port can generate load with it.",
        about.AGENT,
        keep_seconds=0,
        details=(about.host(c.AGENT_INFO, "agent_id"),),
    )
    if thresholds.agent_restarted is not None:
        yield Rule(
            f"{PREFIX}AgentRestarted",
            Severity.INFO,
            Age(of=merged(c.AGENT_START)).compared("<", thresholds.agent_restarted),
            "An agent's software was started a short while ago.",
            "Agent {agent} (id {agent_id}) of source {source} was started a short while ago.",
            about.AGENT,
            keep_seconds=0,
            details=(
                about.since(c.AGENT_START, "agent_id"),
                about.host(c.AGENT_INFO, "agent_id"),
            ),
        )
