"""The table of alerts, from which the Prometheus rules and the built-in evaluation are made.

The order is that of importance. What the metrics mean is what makes the conditions short: an
inactive agent has no `up`, an outdated one that answered is up, and what a vendor did not say
has no series, so that none of them can page (design section 2).
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

from exporter import catalogue as c
from exporter.alerts.expression import (
    Abs,
    Absent,
    Age,
    Expression,
    Match,
    Remaining,
    Select,
    own,
    select,
)
from exporter.alerts.text import Text
from exporter.telemetry import Telemetry


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds
    from exporter.catalogue import Family

PREFIX = "LoadFleet"

#: How long a condition must hold: five polls, so that a blip pages nobody.
HOLD_SECONDS = 300.0

#: How long an alert outlives its condition or its data: a lost scrape, or a restart of the
#: exporter, must neither resolve a page nor repeat it.
KEEP_SECONDS = 300.0

#: Certificates are read once an hour, and what counts is two readings.
_HOURLY_HOLD_SECONDS = 7200.0

#: The phases of a run in which it does not generate load yet.
_PREPARING = ("pending", "booting", "downloading", "ready")

_SOURCE = ("provider", "source")

# Only the names of its metrics are used.
_telemetry = Telemetry()


@unique
class Severity(StrEnum):
    """Whom an alert disturbs: somebody's sleep, somebody's ticket list, nobody."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A row: from what condition on there is an alert, and what it says.

    Attributes:
        expression: Each series of its result is an alert of its own.
        hold_seconds: How long it is pending before it fires (`for`).
        keep_seconds: How long it goes on firing when the series is gone (`keep_firing_for`).
        summary: One plain sentence, the same for all its instances.
        description: What happened to which instance.
        built_in: Whether the exporter can judge it itself; it cannot tell of its own absence.
    """

    name: str
    expression: Expression
    severity: Severity
    summary: str
    description: Text
    hold_seconds: float = HOLD_SECONDS
    keep_seconds: float = KEEP_SECONDS
    built_in: bool = True

    @property
    def runbook(self) -> str:
        """The runbook's file name."""
        return f"{self.name}.md"

    def annotations(self, *, runbook_url: str) -> dict[str, Text]:
        """Return its annotations, the runbook's under a base address."""
        return {
            "summary": Text(self.summary),
            "description": self.description,
            "runbook_url": Text(f"{runbook_url.rstrip('/')}/{self.runbook}"),
        }


def rules(thresholds: Thresholds) -> tuple[Rule, ...]:
    """Return the rows that the thresholds leave on."""
    table = (
        *_exporter(),
        *_sources(thresholds),
        *_reachability(),
        *_versions(),
        *_clocks(thresholds),
        *_suites(thresholds),
        *_runs(thresholds),
        *_operation(thresholds),
        *_certificates(thresholds),
        *_agents(thresholds),
    )
    scale = thresholds.for_scale
    return tuple(
        msgspec.structs.replace(
            rule,
            hold_seconds=rule.hold_seconds * scale,
            keep_seconds=rule.keep_seconds * scale,
        )
        for rule in table
    )


def _exporter() -> list[Rule]:
    scraped = Select(metric="up", matches=(Match(label="job", pattern=".*loadfleet.*"),))
    failing = scraped.compared("==", 0)
    nowhere = Absent(metric=own(_telemetry.build_info).metric).where("unless", failing)
    return [
        Rule(
            name=f"{PREFIX}ExporterGone",
            expression=failing.either(nowhere),
            severity=Severity.CRITICAL,
            summary="Prometheus cannot scrape the exporter, so nobody watches the fleet.",
            description=Text(
                "No scrape of the exporter has succeeded for five minutes. Whatever happens to"
                " the fleet now goes unnoticed."
            ),
            built_in=False,
        )
    ]


def _sources(thresholds: Thresholds) -> list[Rule]:
    percentage = f"{thresholds.agents_down_ratio * 100:.4g}%"
    up = select(c.AGENT_UP)
    count = up.counted("agent_id", "agent")
    down = up.compared("==", 0).counted("agent_id", "agent")
    return [
        Rule(
            name=f"{PREFIX}CredentialsRefused",
            expression=select(c.SOURCE_AUTH_FAILED).compared("==", 1),
            severity=Severity.CRITICAL,
            summary="A vendor refuses the exporter's credentials.",
            description=Text(
                "{provider} refuses the credentials of source {source}. The exporter holds its"
                " calls back so that its address is not blocked; nothing of this source is watched."
            ),
        ),
        Rule(
            name=f"{PREFIX}SourceDown",
            expression=select(c.SOURCE_UP).compared("==", 0),
            severity=Severity.CRITICAL,
            summary="A vendor's API does not answer the exporter.",
            description=Text(
                "The API of source {source} ({provider}) has given no valid answer for five"
                " minutes. Nothing is known of its agents, suites and runs."
            ),
        ),
        Rule(
            name=f"{PREFIX}HalfOfAgentsDown",
            expression=down.divided_by(count)
            .compared(">=", thresholds.agents_down_ratio)
            .where("and", count.compared(">=", 2), "job", "instance", *_SOURCE),
            severity=Severity.CRITICAL,
            summary="A large part of a source's agents cannot be reached.",
            description=Text(
                "{value:humanizePercentage} of the agents of source {source} ({provider}) cannot"
                f" be reached; the limit is {percentage}. One cause for many, such as a network"
                " or a data centre, is likely."
            ),
        ),
    ]


def _reachability() -> list[Rule]:
    # Nothing is known of the members behind a controller that is down; one cause, one page.
    gone = select(c.CONTROLLER_UP).compared("==", 0)
    behind = select(c.CLUSTER_INFO).where("and", gone, *_SOURCE, "controller")
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
            member.where("unless", behind, *_SOURCE, "cluster_id"),
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


def _versions() -> list[Rule]:
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


def _clocks(thresholds: Thresholds) -> list[Rule]:
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


def _suites(thresholds: Thresholds) -> list[Rule]:
    suite = (*_SOURCE, "suite_id")
    table = [
        Rule(
            name=f"{PREFIX}SuiteFailed",
            expression=select(c.SUITE_LAST_RUN_PASSED).compared("==", 0),
            severity=Severity.WARNING,
            summary="The newest finished run of a suite failed.",
            description=Text(
                "The newest finished run of suite {suite} (id {suite_id}) of source {source}"
                " failed. The alert ends with the next run that passes."
            ),
        ),
        Rule(
            name=f"{PREFIX}SuiteUnhealthy",
            expression=select(c.SUITE_HEALTHY).compared("==", 0),
            severity=Severity.WARNING,
            summary="A suite cannot be run as it is configured.",
            description=Text(
                "Suite {suite} (id {suite_id}) of source {source} is not runnable: the vendor"
                " finds fault with its configuration or with what it needs."
            ),
        ),
    ]
    if thresholds.suite_overdue is not None:
        due = Age(of=select(c.SUITE_LAST_RUN_START)).compared(">", thresholds.suite_overdue)
        running = select(c.SUITE_RUNNING).compared("==", 1)
        table.append(
            Rule(
                name=f"{PREFIX}SuiteOverdue",
                expression=due.where("unless", running, *suite),
                severity=Severity.WARNING,
                summary="A suite has not run for too long.",
                description=Text(
                    "The newest finished run of suite {suite} (id {suite_id}) of source {source}"
                    " started {value:humanizeDuration} ago and none is in flight."
                ),
            )
        )
    return table


def _runs(thresholds: Thresholds) -> list[Rule]:
    run = (*_SOURCE, "run_id")
    table = [
        Rule(
            name=f"{PREFIX}RunFailed",
            expression=select(c.RUN_PASSED).compared("==", 0),
            severity=Severity.WARNING,
            summary="A run ended with a failure.",
            description=Text("Run {run} (id {run_id}) of source {source} ended and has failed."),
        )
    ]
    if thresholds.run_stuck is not None:
        preparing = select(c.RUN_PHASE, Match(label="phase", values=_PREPARING))
        table.append(
            Rule(
                name=f"{PREFIX}RunStuck",
                expression=Age(of=select(c.RUN_START))
                .compared(">", thresholds.run_stuck)
                .where("and", preparing.compared("==", 1), *run),
                severity=Severity.WARNING,
                summary="A run was started long ago and generates no load yet.",
                description=Text(
                    "Run {run} (id {run_id}) of source {source} was started"
                    " {value:humanizeDuration} ago and is still being prepared."
                ),
            )
        )
    return table


def _operation(thresholds: Thresholds) -> list[Rule]:
    success = own(_telemetry.poll_last_success)
    # A task without any success counts from the start of the exporter or its newest reload.
    since = success.compared(">", 0).either(
        success.plus_one_of(own(_telemetry.reload_success_timestamp), "job", "instance")
    )
    limit = own(_telemetry.poll_interval).times(thresholds.stale_intervals)
    return [
        Rule(
            name=f"{PREFIX}PollsStale",
            expression=Age(of=since).compared(">", limit),
            severity=Severity.WARNING,
            summary="A task has not been polled without a failure for too long.",
            description=Text(
                "The newest poll without a failure of task {task} of source {source} ({provider})"
                " is {value:humanizeDuration} old. What it reads may be missing or out of date."
            ),
        ),
        Rule(
            name=f"{PREFIX}ReloadFailed",
            expression=own(_telemetry.reload_successful).compared("==", 0),
            severity=Severity.WARNING,
            summary="The exporter could not load its configuration anew.",
            description=Text(
                "The newest reload of the configuration was refused. The exporter goes on with the"
                " one before, and a restart would fail."
            ),
        ),
        Rule(
            name=f"{PREFIX}NotificationsFailing",
            expression=own(_telemetry.notifications_failing).compared("==", 1),
            severity=Severity.WARNING,
            summary="The exporter cannot deliver its alerts to an Alertmanager.",
            description=Text(
                "No alert has reached Alertmanager {receiver} from the exporter for five minutes."
            ),
        ),
    ]


def _certificates(thresholds: Thresholds) -> list[Rule]:
    if thresholds.certificate_expiry is None:
        return []
    unused = select(c.CERTIFICATE_ACTIVE).compared("==", 0)
    return [
        Rule(
            name=f"{PREFIX}CertificateExpiring",
            expression=Remaining(of=select(c.CERTIFICATE_NOT_AFTER))
            .compared("<", thresholds.certificate_expiry)
            .where("unless", unused, *_SOURCE, "certificate_id"),
            hold_seconds=_HOURLY_HOLD_SECONDS,
            severity=Severity.WARNING,
            summary="A client certificate that recorders present expires soon.",
            description=Text(
                "Client certificate {certificate} (id {certificate_id}) for {host} of source"
                " {source} expires in {value:humanizeDuration}."
            ),
        )
    ]


def _agents(thresholds: Thresholds) -> list[Rule]:
    agent = (*_SOURCE, "agent_id")
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
