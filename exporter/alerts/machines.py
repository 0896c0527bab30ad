"""What can be wrong with the machines of a fleet: agents, controllers, recorders, certificates.

What the metrics mean is what makes the conditions short: an inactive agent has no `up`, an
outdated one that answered is up, and what a vendor did not say has no series, so that none of
them can page (design section 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.expression import Abs, Age, Expression, Remaining, select
from exporter.alerts.rule import PREFIX, SOURCE, Rule, Severity
from exporter.alerts.text import Text
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds
    from exporter.metrics.catalogue import Family


# Certificates are read once an hour, and what counts is two readings.
_HOURLY_HOLD_SECONDS = 7200.0


def reachability() -> list[Rule]:
    """Return what pages when a machine cannot be reached."""
    # Nothing is known of the members behind a controller that is down; one cause, one page.
    gone = select(c.CONTROLLER_UP).compared("==", 0)
    behind = select(c.CLUSTER_INFO).where("and", gone, *SOURCE, "controller")
    member = select(c.CLUSTER_MEMBER_UP).compared("==", 0)
    return [
        _unreachable(
            "Controller",
            gone,
            "A cluster controller cannot be reached.",
            "Controller {controller} of source {source} has not been reached for five minutes."
            " No test can run on its clusters.",
        ),
        _unreachable(
            "Agent",
            select(c.AGENT_UP).compared("==", 0),
            "A load-generating agent cannot be reached.",
            "Agent {agent} (id {agent_id}) of source {source} has not been reached for five"
            " minutes. Tests that need it fail or run with less load.",
        ),
        _unreachable(
            "Member",
            member.where("unless", behind, *SOURCE, "cluster_id"),
            "A controller cannot use a member of its cluster.",
            "Agent {agent} (id {agent_id}) of cluster {agent_cluster} of source {source} has not"
            " been usable by the controller for five minutes. Tests on the cluster run without it.",
        ),
        _unreachable(
            "Recorder",
            select(c.RECORDER_UP).compared("==", 0),
            "A proxy recorder cannot be reached.",
            "Recorder {recorder} (id {recorder_id}) of source {source} has not been reached for"
            " five minutes. Nobody can record sessions with it.",
        ),
    ]


def _unreachable(kind: str, expression: Expression, summary: str, description: str) -> Rule:
    return Rule(
        name=f"{PREFIX}{kind}Unreachable",
        expression=expression,
        severity=Severity.CRITICAL,
        summary=summary,
        description=Text(description),
    )


def versions() -> list[Rule]:
    """Return what pages when a machine is too old to be used."""
    return [
        _outdated(
            "Controller",
            c.CONTROLLER_OUTDATED,
            "A cluster controller is too old to be used.",
            "Controller {controller} of source {source} answers but is older than the oldest"
            " version accepted. No test can run on its clusters until it is updated.",
        ),
        _outdated(
            "Agent",
            c.AGENT_OUTDATED,
            "An agent is too old to be used.",
            "Agent {agent} (id {agent_id}) of source {source} answers but is older than the"
            " oldest version accepted. No test can use it until it is updated.",
        ),
        _outdated(
            "Recorder",
            c.RECORDER_OUTDATED,
            "A proxy recorder is too old to be used.",
            "Recorder {recorder} (id {recorder_id}) of source {source} answers but is older than"
            " the oldest version accepted. It is to be updated before it records again.",
        ),
    ]


def _outdated(kind: str, family: Family, summary: str, description: str) -> Rule:
    return Rule(
        name=f"{PREFIX}{kind}Outdated",
        expression=select(family).compared("==", 1),
        severity=Severity.CRITICAL,
        summary=summary,
        description=Text(description),
    )


def clocks(thresholds: Thresholds) -> list[Rule]:
    """Return what warns of wrong clocks."""
    if thresholds.clock_skew is None:
        return []
    return [
        _skewed(
            "Agent",
            c.AGENT_CLOCK_DELTA,
            thresholds.clock_skew,
            "An agent's clock is wrong.",
            "The clock of agent {agent} (id {agent_id}) of source {source} is"
            " {value:humanizeDuration} off the portal's.",
        ),
        _skewed(
            "Controller",
            c.CONTROLLER_CLOCK_DELTA,
            thresholds.clock_skew,
            "A cluster controller's clock is wrong.",
            "The clock of controller {controller} of source {source} is {value:humanizeDuration}"
            " off the portal's.",
        ),
        _skewed(
            "Member",
            c.CLUSTER_MEMBER_CLOCK_DELTA,
            thresholds.clock_skew,
            "The clock of a cluster's member differs from its controller's.",
            "The clock of agent {agent} (id {agent_id}) in cluster {agent_cluster} of source"
            " {source} is {value:humanizeDuration} off its controller's.",
        ),
        _skewed(
            "Recorder",
            c.RECORDER_CLOCK_DELTA,
            thresholds.clock_skew,
            "A proxy recorder's clock is wrong.",
            "The clock of recorder {recorder} (id {recorder_id}) of source {source} is"
            " {value:humanizeDuration} off the portal's.",
        ),
    ]


def _skewed(kind: str, family: Family, seconds: float, summary: str, description: str) -> Rule:
    return Rule(
        name=f"{PREFIX}{kind}ClockSkew",
        expression=Abs(of=select(family)).compared(">", seconds),
        severity=Severity.WARNING,
        summary=summary,
        description=Text(description),
    )


def certificates(thresholds: Thresholds) -> list[Rule]:
    """Return what warns of certificates before their end."""
    if thresholds.certificate_expiry is None:
        return []
    unused = select(c.CERTIFICATE_ACTIVE).compared("==", 0)
    return [
        Rule(
            name=f"{PREFIX}CertificateExpiring",
            expression=Remaining(of=select(c.CERTIFICATE_NOT_AFTER))
            .compared("<", thresholds.certificate_expiry)
            .where("unless", unused, *SOURCE, "certificate_id"),
            hold_seconds=_HOURLY_HOLD_SECONDS,
            severity=Severity.WARNING,
            summary="A client certificate that recorders present expires soon.",
            description=Text(
                "Client certificate {certificate} (id {certificate_id}) for {host} of source"
                " {source} expires in {value:humanizeDuration}."
            ),
        )
    ]


def agents(thresholds: Thresholds) -> list[Rule]:
    """Return what there is to know of agents, which disturbs nobody."""
    agent = (*SOURCE, "agent_id")
    inactive = select(c.AGENT_ACTIVE).compared("==", 0)
    table = [
        Rule(
            name=f"{PREFIX}AgentUnprotected",
            expression=select(c.AGENT_PROTECTED)
            .compared("==", 0)
            .where("unless", inactive, *agent),
            severity=Severity.INFO,
            keep_seconds=0,
            summary="An agent can be used by anyone who reaches it.",
            description=Text(
                "Agent {agent} (id {agent_id}) of source {source} demands no token: whoever"
                " reaches its port can generate load with it."
            ),
        )
    ]
    if thresholds.agent_restarted is not None:
        table.append(
            Rule(
                name=f"{PREFIX}AgentRestarted",
                expression=Age(of=select(c.AGENT_START)).compared("<", thresholds.agent_restarted),
                severity=Severity.INFO,
                keep_seconds=0,
                summary="An agent's software was started a short while ago.",
                description=Text(
                    "Agent {agent} (id {agent_id}) of source {source} was started"
                    " {value:humanizeDuration} ago."
                ),
            )
        )
    return table
