"""The table of alerts, the source of the rules for Prometheus and of the built-in evaluation.

The semantics of the metrics keep the conditions short: an inactive agent has no `up`, an outdated
agent that answers is up, and a value that the vendor does not send has no series. One fault is one
alert: a condition excludes the targets for which another alert already reports the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.machines import about_agents, about_certificates, about_machines
from exporter.alerts.operation import about_exporters, about_operation, about_sources
from exporter.alerts.rule import PREFIX, Rule, Severity
from exporter.alerts.runs import about_preflights, about_runs, about_suites
from exporter.alerts.thresholds import AlertSettings, Thresholds


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def rules(
    thresholds: Thresholds, alerts: Mapping[str, AlertSettings] | None = None
) -> tuple[Rule, ...]:
    """Return the rules that are switched on, the most important first.

    Args:
        thresholds: The values that conditions compare with.
        alerts: Changes of single alerts, by the alert's name with or without the prefix.
    """
    table = (
        *about_exporters(),
        *about_sources(),
        *about_machines(thresholds),
        *about_preflights(),
        *about_suites(thresholds),
        *about_runs(thresholds),
        *about_operation(thresholds),
        *about_certificates(thresholds),
        *about_agents(thresholds),
    )
    return tuple(_rows(table, thresholds.for_scale, alerts or {}))


def _rows(
    table: tuple[Rule, ...], scale: float, alerts: Mapping[str, AlertSettings]
) -> Iterator[Rule]:
    for rule in table:
        short = rule.name.removeprefix(PREFIX)
        changed = alerts.get(short) or alerts.get(rule.name) or AlertSettings()
        if changed.off:
            continue
        hold = rule.hold_seconds if changed.hold is None else changed.hold
        yield msgspec.structs.replace(
            rule,
            severity=Severity(changed.severity or rule.severity),
            hold_seconds=hold * scale,
            keep_seconds=rule.keep_seconds * scale,
        )


#: Thresholds that switch on every alert.
EVERYTHING = Thresholds.model_validate({"suite_overdue": "1d"})

_EVERY = rules(EVERYTHING)

#: The names of all alerts without their prefix, including alerts that are off by default.
NAMES = tuple(dict.fromkeys(rule.name.removeprefix(PREFIX) for rule in _EVERY))

#: The names of the alerts about an exporter itself.
OWN = frozenset(rule.name for rule in _EVERY if rule.about is None)

#: The labels that identify the targets of alerts.
IDENTITY = frozenset(label for rule in _EVERY if rule.about is not None for label in rule.about.on)
