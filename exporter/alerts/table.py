"""The table of alerts, from which the Prometheus rules and the built-in evaluation are made.

The meaning of the metrics keeps the conditions short: an inactive agent has no `up`, an outdated
one that answered is up, and what a vendor did not say has no series, so that none of them can
page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.expression import (
    Abs,
    Absent,
    Age,
    Expression,
    Match,
    Remaining,
    Select,
    select,
)
from exporter.alerts.rule import PREFIX, SOURCE, Rule, Severity
from exporter.alerts.runs import about_runs, about_suites
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.alerts.thresholds import Thresholds


# Agents that the vendor starts and ends by itself: nobody is to be told of their end, and nobody
# but the vendor can bring them up to date.
_MANAGED = select(c.AGENT_INFO, Match(label="managed", values=("vendor",)))

# Certificates are read once an hour, and what counts is two readings.
_HOURLY_HOLD_SECONDS = 7200.0


def rules(thresholds: Thresholds) -> tuple[Rule, ...]:
    """Return the rows that the thresholds leave on, what matters most first."""
    table = (
        *_exporter(),
        *_sources(thresholds),
        *_machines(),
        *_outdated(),
        *_clocks(thresholds),
        *about_suites(thresholds),
        *about_runs(thresholds),
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


def _exporter() -> Iterator[Rule]:
    scraped = Select(metric="up", matches=(Match(label="job", pattern=".*loadfleet.*"),))
    failing = scraped.compared("==", 0)
    nowhere = Absent(metric=own.BUILD_INFO.name).where("unless", failing)
    yield Rule(
        f"{PREFIX}ExporterGone",
        Severity.CRITICAL,
        failing.either(nowhere),
        "Prometheus cannot scrape the exporter, so nobody watches the fleet.",
        "No scrape of the exporter has succeeded for five minutes. Whatever happens to the"
        " fleet now goes unnoticed.",
        built_in=False,
    )


def _sources(thresholds: Thresholds) -> Iterator[Rule]:
    percentage = f"{thresholds.agents_down_ratio * 100:.4g}%"
    up = _unmanaged(select(c.AGENT_UP))
    count = up.counted("agent_id", "agent")
    down = _unmanaged(select(c.AGENT_UP).compared("==", 0)).counted("agent_id", "agent")
    yield Rule(
        f"{PREFIX}CredentialsRefused",
        Severity.CRITICAL,
        select(c.SOURCE_AUTH_FAILED).compared("==", 1),
        "A vendor refuses the exporter's credentials.",
        "{provider} refuses the credentials of source {source}. The exporter holds its calls"
        " back so that its address is not blocked; nothing of this source is watched.",
    )
    yield Rule(
        f"{PREFIX}SourceDown",
        Severity.CRITICAL,
        select(c.SOURCE_UP).compared("==", 0),
        "A vendor's API does not answer the exporter.",
        "No poll of source {source} ({provider}) has brought readings for five minutes. Nothing"
        " new is known of its agents, suites and runs.",
    )
    yield Rule(
        f"{PREFIX}HalfOfAgentsDown",
        Severity.CRITICAL,
        down.divided_by(count)
        .compared(">=", thresholds.agents_down_ratio)
        .where("and", count.compared(">=", 2), "job", "instance", *SOURCE),
        "A large part of a source's agents cannot be reached.",
        "{value:humanizePercentage} of the agents of source {source} ({provider}) cannot be"
        f" reached; the limit is {percentage}. One cause for many, such as a network or a data"
        " centre, is likely.",
    )


def _unmanaged(targets: Expression) -> Expression:
    """Leave out agents, or members, whose agent the vendor manages."""
    return targets.where("unless", _MANAGED, *SOURCE, "agent_id")


def _clusters_of(controllers: Expression) -> Expression:
    """Return the clusters of some controllers."""
    return select(c.CLUSTER_INFO).where("and", controllers, *SOURCE, "controller")


def _machines() -> Iterator[Rule]:
    # One cause, one page: behind a controller that is down, or is refused as too old, nothing can
    # be asked.
    gone = select(c.CONTROLLER_UP).compared("==", 0)
    outdated = select(c.CONTROLLER_OUTDATED).compared("==", 1)
    refused = select(c.CLUSTER_FAILURE, Match(label="reason", values=("outdated",)))
    told = refused.where("and", _clusters_of(outdated), *SOURCE, "cluster_id")
    behind = _clusters_of(gone)
    member = select(c.CLUSTER_MEMBER_UP).compared("==", 0)
    yield Rule(
        f"{PREFIX}ControllerUnreachable",
        Severity.CRITICAL,
        gone,
        "A cluster controller cannot be reached.",
        "Controller {controller} of source {source} has not been reached for five minutes."
        " No test can run on its clusters.",
    )
    yield Rule(
        f"{PREFIX}ClusterUnusable",
        Severity.CRITICAL,
        select(c.CLUSTER_UP)
        .compared("==", 0)
        .where("unless", behind, *SOURCE, "cluster_id")
        .where("unless", told, *SOURCE, "cluster_id"),
        "A cluster cannot be used through its controller.",
        "The controller of cluster {agent_cluster} (id {cluster_id}) of source {source} could not"
        " be asked for the cluster's members for five minutes. No test can run on the cluster.",
    )
    yield Rule(
        f"{PREFIX}AgentUnreachable",
        Severity.CRITICAL,
        _unmanaged(select(c.AGENT_UP).compared("==", 0)),
        "A load-generating agent cannot be reached.",
        "Agent {agent} (id {agent_id}) of source {source} has not been reached for five"
        " minutes. Tests that need it fail or run with less load.",
    )
    yield Rule(
        f"{PREFIX}MemberUnreachable",
        Severity.CRITICAL,
        _unmanaged(member.where("unless", behind, *SOURCE, "cluster_id")),
        "A controller cannot use a member of its cluster.",
        "Agent {agent} (id {agent_id}) of cluster {agent_cluster} of source {source} has not"
        " been usable by the controller for five minutes. Tests on the cluster run without it.",
    )
    yield Rule(
        f"{PREFIX}RecorderUnreachable",
        Severity.CRITICAL,
        select(c.RECORDER_UP).compared("==", 0),
        "A proxy recorder cannot be reached.",
        "Recorder {recorder} (id {recorder_id}) of source {source} has not been reached for"
        " five minutes. Nobody can record sessions with it.",
    )
    # Its agents have pages of their own where they are down, so this one is for daylight.
    disabled = select(c.LOCATION_ACTIVE).compared("==", 0)
    yield Rule(
        f"{PREFIX}LocationWithoutAgents",
        Severity.WARNING,
        select(c.LOCATION_AGENTS_UP)
        .compared("==", 0)
        .where("unless", disabled, *SOURCE, "location_id"),
        "A private location has no agent that is up.",
        "No agent of location {location_name} (id {location_id}) of source {source} has been up"
        " for five minutes. No test can start there.",
    )


def _outdated() -> Iterator[Rule]:
    controller = select(c.CONTROLLER_OUTDATED).compared("==", 1)
    agent = select(c.AGENT_OUTDATED).compared("==", 1)
    usable = select(c.CLUSTER_UP).compared("==", 1)
    yield Rule(
        f"{PREFIX}ControllerOutdated",
        Severity.CRITICAL,
        controller,
        "A cluster controller is too old to be used.",
        "Controller {controller} of source {source} answers but is older than the oldest"
        " version accepted. No test can run on its clusters until it is updated.",
    )
    yield Rule(
        f"{PREFIX}ClusterOutdated",
        # Tests run until the portal refuses the controller, which has an alert that pages.
        Severity.WARNING,
        select(c.CLUSTER_OUTDATED)
        .compared("==", 1)
        .where("and", usable, *SOURCE, "cluster_id")
        .where("unless", _clusters_of(controller), *SOURCE, "cluster_id"),
        "The controller of a cluster is older than the oldest version accepted.",
        "Cluster {agent_cluster} (id {cluster_id}) of source {source} can still be asked for its"
        " members, but its controller is older than the oldest version accepted.",
    )
    yield Rule(
        f"{PREFIX}AgentOutdated",
        Severity.CRITICAL,
        _unmanaged(agent),
        "An agent is too old to be used.",
        "Agent {agent} (id {agent_id}) of source {source} answers but is older than the"
        " oldest version accepted. No test can use it until it is updated.",
    )
    yield Rule(
        f"{PREFIX}MemberOutdated",
        Severity.CRITICAL,
        _unmanaged(
            select(c.CLUSTER_MEMBER_OUTDATED)
            .compared("==", 1)
            .where("unless", agent, *SOURCE, "agent_id")
        ),
        "A member of a cluster is too old to be used.",
        "Agent {agent} (id {agent_id}) of cluster {agent_cluster} of source {source} answers its"
        " controller but is older than the oldest version accepted.",
    )
    yield Rule(
        f"{PREFIX}RecorderOutdated",
        Severity.CRITICAL,
        select(c.RECORDER_OUTDATED).compared("==", 1),
        "A proxy recorder is too old to be used.",
        "Recorder {recorder} (id {recorder_id}) of source {source} answers but is older than"
        " the oldest version accepted. It is to be updated before it records again.",
    )


def _clocks(thresholds: Thresholds) -> Iterator[Rule]:
    if thresholds.clock_skew is None:
        return
    yield Rule(
        f"{PREFIX}AgentClockSkew",
        Severity.WARNING,
        Abs(of=select(c.AGENT_CLOCK_DELTA)).compared(">", thresholds.clock_skew),
        "An agent's clock is wrong.",
        "The clock of agent {agent} (id {agent_id}) of source {source} is"
        " {value:humanizeDuration} off the portal's.",
    )
    yield Rule(
        f"{PREFIX}ControllerClockSkew",
        Severity.WARNING,
        Abs(of=select(c.CONTROLLER_CLOCK_DELTA)).compared(">", thresholds.clock_skew),
        "A cluster controller's clock is wrong.",
        "The clock of controller {controller} of source {source} is {value:humanizeDuration}"
        " off the portal's.",
    )
    yield Rule(
        f"{PREFIX}MemberClockSkew",
        Severity.WARNING,
        Abs(of=select(c.CLUSTER_MEMBER_CLOCK_DELTA)).compared(">", thresholds.clock_skew),
        "The clock of a cluster's member differs from its controller's.",
        "The clock of agent {agent} (id {agent_id}) in cluster {agent_cluster} of source"
        " {source} is {value:humanizeDuration} off its controller's.",
    )
    yield Rule(
        f"{PREFIX}RecorderClockSkew",
        Severity.WARNING,
        Abs(of=select(c.RECORDER_CLOCK_DELTA)).compared(">", thresholds.clock_skew),
        "A proxy recorder's clock is wrong.",
        "The clock of recorder {recorder} (id {recorder_id}) of source {source} is"
        " {value:humanizeDuration} off the portal's.",
    )


def _operation(thresholds: Thresholds) -> Iterator[Rule]:
    success = select(own.POLL_LAST_SUCCESS)
    # A task without any success counts from the start of the exporter or its newest reload.
    since = success.compared(">", 0).either(
        success.plus_one_of(select(own.RELOAD_SUCCESS_TIMESTAMP), "job", "instance")
    )
    limit = select(own.POLL_INTERVAL).times(thresholds.stale_intervals)
    yield Rule(
        f"{PREFIX}PollsStale",
        Severity.WARNING,
        Age(of=since).compared(">", limit),
        "A task has not been polled without a failure for too long.",
        "The newest poll without a failure of task {task} of source {source} ({provider}) is"
        " {value:humanizeDuration} old. What it reads may be missing or out of date.",
    )
    yield Rule(
        f"{PREFIX}ReloadFailed",
        Severity.WARNING,
        select(own.RELOAD_SUCCESSFUL).compared("==", 0),
        "The exporter could not load its configuration anew.",
        "The newest reload of the configuration was refused. The exporter goes on with the one"
        " before, and a restart would fail.",
    )
    yield Rule(
        f"{PREFIX}NotificationsFailing",
        Severity.WARNING,
        select(own.NOTIFICATIONS_FAILING).compared("==", 1),
        "The exporter cannot deliver its alerts to an Alertmanager.",
        "No alert has reached Alertmanager {receiver} from the exporter for five minutes.",
    )


def _certificates(thresholds: Thresholds) -> Iterator[Rule]:
    if thresholds.certificate_expiry is None:
        return
    unused = select(c.CERTIFICATE_ACTIVE).compared("==", 0)
    yield Rule(
        f"{PREFIX}CertificateExpiring",
        Severity.WARNING,
        Remaining(of=select(c.CERTIFICATE_NOT_AFTER))
        .compared("<", thresholds.certificate_expiry)
        .where("unless", unused, *SOURCE, "certificate_id"),
        "A client certificate that recorders present expires soon.",
        "Client certificate {certificate} (id {certificate_id}) for {host} of source {source}"
        " expires in {value:humanizeDuration}.",
        hold_seconds=_HOURLY_HOLD_SECONDS,
    )


def _agents(thresholds: Thresholds) -> Iterator[Rule]:
    """Return what there is to know of agents, which disturbs nobody."""
    inactive = select(c.AGENT_ACTIVE).compared("==", 0)
    unprotected = select(c.AGENT_PROTECTED).compared("==", 0)
    yield Rule(
        f"{PREFIX}AgentUnprotected",
        Severity.INFO,
        unprotected.where("unless", inactive, *SOURCE, "agent_id"),
        "An agent can be used by anyone who reaches it.",
        "Agent {agent} (id {agent_id}) of source {source} demands no token: whoever reaches"
        " its port can generate load with it.",
        keep_seconds=0,
    )
    if thresholds.agent_restarted is not None:
        yield Rule(
            f"{PREFIX}AgentRestarted",
            Severity.INFO,
            Age(of=select(c.AGENT_START)).compared("<", thresholds.agent_restarted),
            "An agent's software was started a short while ago.",
            "Agent {agent} (id {agent_id}) of source {source} was started {value:humanizeDuration}"
            " ago.",
            keep_seconds=0,
        )
