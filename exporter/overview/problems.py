"""Problems: the conditions of the alert table that hold now, about targets, sources and the fleet.

The table is evaluated as for the built-in alerts, but without waiting times, since a page shows the
present state. The headline, the order of rows, their marks and the exit code of `status` all come
from these problems, so they never contradict an alert, whether Prometheus or the exporter sends it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts import samples
from exporter.alerts.evaluate import Alerts, Evaluator, Phase
from exporter.alerts.evidence import EVIDENCE
from exporter.alerts.rule import PREFIX, Links, Severity
from exporter.fleet.kinds import Kind
from exporter.metrics.own import PREFLIGHT


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry, Gauge

    from exporter.alerts.evaluate import Alert
    from exporter.alerts.rule import Rule
    from exporter.alerts.samples import Labels
    from exporter.alerts.settings import AlertingSettings
    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot
    from exporter.metrics.own import OwnFamily


#: The severities that mean that something is wrong, the worst first.
WRONG = (Severity.CRITICAL, Severity.WARNING)

#: The positions of severities in the order of problems.
RANKS: Mapping[str, int] = {severity: rank for rank, severity in enumerate(Severity)}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of the alert table that holds, no matter for how long.

    Attributes:
        alert: The alert's name.
        severity: The alert's severity.
        description: The alert's description.
        provider, source: The source; empty for a problem of the exporter itself.
        kind, id: The target with a page; empty for a problem of a source or of the exporter.
        name: The name of the target, or of the member, certificate, task or preflight.
        labels: All labels of the alert, including those that the configuration adds to the source.
        since_timestamp_seconds: The latest Unix time at which the problem began.
        unknown: Whether the problem existed when its target was last read, but nothing is known
            about the target now.
        runbook_url: The URL of the runbook.
    """

    alert: str
    severity: Severity
    description: str
    provider: str = ""
    source: str = ""
    kind: str = ""
    id: str = ""
    name: str = ""
    labels: Mapping[str, str] = {}
    since_timestamp_seconds: float | None = None
    unknown: bool = False
    runbook_url: str = ""

    @property
    def target(self) -> tuple[str, str, str]:
        """Source, kind and id of the target."""
        return (self.source, self.kind, self.id)

    def at_latest(self, since: float | None) -> Problem:
        """Return the problem with the earlier of its own beginning and another Unix time."""
        known = [at for at in (self.since_timestamp_seconds, since) if at is not None]
        return msgspec.structs.replace(self, since_timestamp_seconds=min(known, default=None))

    @property
    def preflight(self) -> str:
        """The preflight that the problem is about, empty for other problems."""
        return self.labels.get(PREFLIGHT, "")

    @property
    def title(self) -> str:
        """The alert's name without the common prefix."""
        return self.alert.removeprefix(PREFIX)

    @property
    def spoken(self) -> str:
        """The title in words."""
        return spoken(self.title)


class Judge:
    """Evaluates the alert table, each time from the outcome of the evaluation before.

    So a problem continues while nothing is known about its target, as an alert does, and its
    beginning is known.

    Args:
        rules: The table with the changes by the settings.
        registry: The exporter's own metrics.
        runbook_url: The folder of the runbooks.
    """

    def __init__(
        self, rules: Sequence[Rule], registry: CollectorRegistry, *, runbook_url: str
    ) -> None:
        self._rules = {
            rule.name: (position, rule)
            for position, rule in enumerate(rules)
            if rule.built_in and rule.severity is not Severity.NONE
        }
        table = [
            msgspec.structs.replace(rule, hold_seconds=0.0, keep_seconds=0.0)
            for rule in rules
            if rule.name in self._rules
        ]
        self._registry = registry
        self._metrics = samples.metrics(table) | EVIDENCE
        self._evaluator = Evaluator(table, links=Links(runbook_url=runbook_url))
        self._alerts = Alerts()

    @classmethod
    def of(
        cls, alerting: AlertingSettings, registry: CollectorRegistry, *, serves: bool = True
    ) -> Judge:
        """Return the judge for some settings.

        Args:
            alerting: The settings.
            registry: The exporter's own metrics.
            serves: Whether this process is a daemon. A command that polls once leaves out the
                alerts about the exporter, as it neither reloads its configuration nor sends alerts.
        """
        rules = [rule for rule in alerting.rules() if serves or rule.about is not None]
        return cls(rules, registry, runbook_url=alerting.runbook_url)

    def judge(
        self,
        snapshots: Iterable[Snapshot],
        now: Moment,
        alerts: Iterable[Alert] = (),
        gauges: Mapping[OwnFamily[Gauge], Mapping[tuple[str, ...], float]] = MappingProxyType({}),
    ) -> tuple[Problem, ...]:
        """Return the problems, the worst first.

        Args:
            snapshots: The readings of all targets.
            now: The time of the evaluation.
            alerts: The alerts of the built-in evaluation. They add alerts that are kept firing
                after their condition, and beginnings from before a restart.
            gauges: Values of own metrics, by labels, that replace those in the registry.
        """
        newest = samples.view(snapshots, self._registry, self._metrics)
        for family, values in gauges.items():
            if family.name in self._metrics:
                newest = newest.extended(family.name, partial(_vector, family.labels, values))
        self._alerts = self._evaluator.evaluate(newest, now, self._alerts)
        found = {
            same_alert(each.labels): self._problem(each) for each in self._alerts.active.values()
        }
        for alert in alerts:
            key = same_alert(alert.labels)
            if key in found:
                found[key] = found[key].at_latest(alert.since.unix)
            elif alert.phase is Phase.FIRING and alert.name in self._rules:
                found[key] = self._problem(alert)
        return tuple(sorted(found.values(), key=self._order))

    def _problem(self, alert: Alert) -> Problem:
        _, rule = self._rules[alert.name]
        labels, kind = alert.labels, rule.about.kind if rule.about is not None else None
        on = rule.about.on if rule.about is not None else ()
        target_id = labels.get(on[2], "") if len(on) > 2 else ""
        return Problem(
            alert=alert.name,
            severity=Severity(labels["severity"]),
            description=alert.annotations["description"],
            provider=labels.get("provider", ""),
            source=labels.get("source", ""),
            kind=kind or "",
            id=target_id if kind else "",
            name=_name(kind, labels) or labels.get("task", labels.get(PREFLIGHT, "")) or target_id,
            labels=labels,
            since_timestamp_seconds=alert.since.unix,
            unknown=alert.unknown is not None,
            runbook_url=alert.annotations["runbook_url"],
        )

    def _order(self, problem: Problem) -> tuple[object, ...]:
        position, _ = self._rules[problem.alert]
        # Problems of a whole source come first, as they explain those of its targets.
        return (
            RANKS[problem.severity],
            bool(problem.kind),
            position,
            problem.source,
            problem.name.casefold(),
            problem.id,
        )


def _vector(names: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> samples.Vector:
    return samples.vector(
        (dict(zip(names, labels, strict=True)), value) for labels, value in values.items()
    )


def rank(severity: Severity | None) -> int:
    """Return the position of a severity in the order of rows; `info` counts as no problem."""
    return WRONG.index(severity) if severity in WRONG else len(WRONG)


def spoken(title: str) -> str:
    """Return an alert's title in words, such as `agent unreachable`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title).lower()


def by_target(problems: Iterable[Problem]) -> Mapping[tuple[str, str, str], list[Problem]]:
    """Return the problems of each target that has any."""
    found: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        if problem.kind:
            found[problem.target].append(problem)
    return found


def same_alert(labels: Mapping[str, str]) -> Labels:
    """Return the identity that a problem and its built-in alert have in common, by their labels."""
    # Only the built-in alerts about the exporter itself have the label `instance`.
    return samples.identity({**labels, "instance": ""})


def _name(kind: Kind | None, labels: Mapping[str, str]) -> str:
    if kind is None:
        return ""
    name = labels.get(kind.name_field, "")
    member = labels.get(Kind.MEMBER.name_field, "") if "member_id" in labels else ""
    return f"{name}/{member}" if member else name
