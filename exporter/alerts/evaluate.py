"""Alerts from one evaluation to the next: pending, firing, resolved, just as in Prometheus.

Nothing in here waits, sends or keeps anything: the state goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.samples import Labels, identity
from exporter.clock import Moment


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.alerts.rule import Rule
    from exporter.alerts.samples import SampleView


_log = structlog.get_logger("exporter.alerts")

#: The identity of an alert: its labels.
Key = Labels


@unique
class Phase(StrEnum):
    """The states of an alert, in their order."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a rule: its labels, and since when its condition holds.

    Attributes:
        name: Its rule's name.
        labels: All labels, `alertname` and `severity` included, external ones not.
        value: The condition's value when it last held.
        since: When the condition began to hold.
        fired: When it had held for long enough.
        lapsed: Since when the condition no longer holds, though the alert is kept firing.
        resolved: When it ended.
        restored: Whether it comes from before a restart and has had no series since.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    phase: Phase
    since: Moment
    fired: Moment | None = None
    lapsed: Moment | None = None
    resolved: Moment | None = None
    restored: bool = False


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts after an evaluation.

    Attributes:
        active: Pending and firing ones.
        resolved: Those that fired and ended, until every receiver has accepted their end. One
            that is pending again is in both; one that fires again no longer is.
        crashed: The rules that could not be judged; their alerts are as they were.
    """

    active: Mapping[Key, Alert] = MappingProxyType({})
    resolved: Mapping[Key, Alert] = MappingProxyType({})
    crashed: frozenset[str] = frozenset()

    def announced(self) -> dict[Key, Alert]:
        """Return the alerts that receivers are sent: firing ones, then resolved ones."""
        firing = {key: one for key, one in self.active.items() if one.phase is Phase.FIRING}
        return {**firing, **self.resolved}


class Evaluator:
    """Judges the rules of a table."""

    def __init__(self, rules: Iterable[Rule], *, runbook_url: str) -> None:
        self._rules = tuple(rules)
        self._texts = {rule.name: rule.annotations(runbook_url=runbook_url) for rule in self._rules}

    def evaluate(
        self, samples: SampleView, now: Moment, before: Alerts, *, hold_restored: bool = False
    ) -> Alerts:
        """Judge all rules over the newest samples and the outcome of the evaluation before.

        With `hold_restored`, what comes from before a restart stays as it is while it has no
        series: the first polls have not brought them yet.
        """
        known: dict[str, dict[Key, Alert]] = {}
        for key, alert in before.active.items():
            known.setdefault(alert.name, {})[key] = alert
        active: dict[Key, Alert] = {}
        gone: dict[Key, Alert] = {}
        crashed: set[str] = set()
        for rule in self._rules:
            mine = known.pop(rule.name, {})
            try:
                holding = self._holding(rule, samples, now, mine)
            except Exception:  # noqa: BLE001 - it must neither silence the others nor resolve
                _log.exception("rule_crashed", alertname=rule.name)
                active |= mine
                crashed.add(rule.name)
                continue
            active |= holding
            for key, alert in mine.items():
                if key in holding:
                    continue
                if alert.restored and hold_restored:
                    active[key] = alert
                elif _is_kept(rule, alert, now):
                    active[key] = msgspec.structs.replace(alert, lapsed=alert.lapsed or now)
                else:
                    gone[key] = alert
        for mine in known.values():
            # Their rules are gone: a reload has switched them off.
            gone |= mine
        return Alerts(
            active=active,
            resolved=_resolved(before, active, gone, now),
            crashed=frozenset(crashed),
        )

    def _holding(
        self, rule: Rule, samples: SampleView, now: Moment, before: Mapping[Key, Alert]
    ) -> dict[Key, Alert]:
        texts = self._texts[rule.name]
        holding = {}
        for result, value in rule.expression.evaluate(samples, now.unix).items():
            labels = dict(result)
            annotations = {name: text.render(labels, value) for name, text in texts.items()}
            labels |= {"alertname": rule.name, "severity": rule.severity.value}
            key = identity(labels)
            known = before.get(key)
            since = known.since if known else now
            fired = known.fired if known else None
            if fired is None and now.monotonic - since.monotonic >= rule.hold_seconds:
                fired = now
            holding[key] = Alert(
                name=rule.name,
                labels=labels,
                annotations=annotations,
                value=value,
                phase=Phase.PENDING if fired is None else Phase.FIRING,
                since=since,
                fired=fired,
            )
        return holding


def _is_kept(rule: Rule, alert: Alert, now: Moment) -> bool:
    lapsed = alert.lapsed or now
    return alert.phase is Phase.FIRING and now.monotonic - lapsed.monotonic < rule.keep_seconds


def _resolved(
    before: Alerts, active: Mapping[Key, Alert], gone: Mapping[Key, Alert], now: Moment
) -> dict[Key, Alert]:
    """Return what had ended before or ends now, but for what fires again."""
    ended = {
        key: msgspec.structs.replace(alert, phase=Phase.RESOLVED, resolved=now, restored=False)
        for key, alert in gone.items()
        if alert.phase is Phase.FIRING
    }
    return {
        key: alert
        for key, alert in {**before.resolved, **ended}.items()
        if key not in active or active[key].phase is Phase.PENDING
    }
