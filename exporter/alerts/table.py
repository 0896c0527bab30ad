"""The table of alerts, from which the Prometheus rules and the built-in evaluation are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts import machines
from exporter.alerts.expression import Absent, Age, Match, Select, select
from exporter.alerts.rule import PREFIX, SOURCE, Rule, Severity
from exporter.alerts.text import Text
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from exporter.alerts.thresholds import Thresholds


__all__ = ["Rule", "Severity", "rules"]

# The phases of a run in which it does not generate load yet.
_PREPARING = ("pending", "booting", "downloading", "ready")


def rules(thresholds: Thresholds) -> tuple[Rule, ...]:
    """Return the rows that the thresholds leave on, what matters most first."""
    table = (
        *_exporter(),
        *_sources(thresholds),
        *machines.reachability(),
        *machines.versions(),
        *machines.clocks(thresholds),
        *_suites(thresholds),
        *_runs(thresholds),
        *_operation(thresholds),
        *machines.certificates(thresholds),
        *machines.agents(thresholds),
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
    nowhere = Absent(metric=own.BUILD_INFO.name).where("unless", failing)
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
            .where("and", count.compared(">=", 2), "job", "instance", *SOURCE),
            severity=Severity.CRITICAL,
            summary="A large part of a source's agents cannot be reached.",
            description=Text(
                "{value:humanizePercentage} of the agents of source {source} ({provider}) cannot"
                f" be reached; the limit is {percentage}. One cause for many, such as a network"
                " or a data centre, is likely."
            ),
        ),
    ]


def _suites(thresholds: Thresholds) -> list[Rule]:
    suite = (*SOURCE, "suite_id")
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
    run = (*SOURCE, "run_id")
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
    success = select(own.POLL_LAST_SUCCESS)
    # A task without any success counts from the start of the exporter or its newest reload.
    since = success.compared(">", 0).either(
        success.plus_one_of(select(own.RELOAD_SUCCESS_TIMESTAMP), "job", "instance")
    )
    limit = select(own.POLL_INTERVAL).times(thresholds.stale_intervals)
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
            expression=select(own.RELOAD_SUCCESSFUL).compared("==", 0),
            severity=Severity.WARNING,
            summary="The exporter could not load its configuration anew.",
            description=Text(
                "The newest reload of the configuration was refused. The exporter goes on with the"
                " one before, and a restart would fail."
            ),
        ),
        Rule(
            name=f"{PREFIX}NotificationsFailing",
            expression=select(own.NOTIFICATIONS_FAILING).compared("==", 1),
            severity=Severity.WARNING,
            summary="The exporter cannot deliver its alerts to an Alertmanager.",
            description=Text(
                "No alert has reached Alertmanager {receiver} from the exporter for five minutes."
            ),
        ),
    ]
