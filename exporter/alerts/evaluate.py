"""The life of alerts from one evaluation to the next: pending, firing, resolved, as in Prometheus.

An evaluation is a function of the samples, the time and the alerts before. It neither waits nor
sends, and an `Evaluator` keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum, unique
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evidence import UNKNOWN_SECONDS
from exporter.alerts.expression import ALERTS
from exporter.alerts.samples import Labels, Partners, Row, identity, key, metrics, vector
from exporter.alerts.values import evaluate, evaluated, keys
from exporter.clock import Moment


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.alerts.expression import Expression
    from exporter.alerts.rule import Links, Rule
    from exporter.alerts.samples import SampleView, Vector
    from exporter.alerts.texts import Text


_log = structlog.get_logger("exporter.alerts")

#: The identity of an alert: its labels.
Key = Labels


@unique
class Phase(StrEnum):
    """The states of an alert, in the order in which it passes through them."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a rule: its labels, and since when its condition holds.

    Attributes:
        name: The name of the rule.
        labels: All labels including `alertname` and `severity`, but without external labels.
        value: The condition's value when it last held.
        since: When the condition began to hold.
        fired: When the alert began to fire.
        lapsed: When the condition ceased to hold, for an alert that is kept firing.
        unknown: Since when nothing is known of the target; the alert keeps its phase meanwhile.
        resolved: When the alert was resolved.
        restored: Whether the alert dates from before a restart and has had no series since.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    phase: Phase
    since: Moment
    fired: Moment | None = None
    lapsed: Moment | None = None
    unknown: Moment | None = None
    resolved: Moment | None = None
    restored: bool = False


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts after an evaluation.

    Attributes:
        active: The pending and firing alerts.
        resolved: The alerts that fired and were resolved, until every receiver has accepted that.
            An alert that is pending again is in both; one that fires again is only in `active`.
        crashed: The names of the rules whose evaluation raised; their alerts are unchanged.
    """

    active: Mapping[Key, Alert] = MappingProxyType({})
    resolved: Mapping[Key, Alert] = MappingProxyType({})
    crashed: frozenset[str] = frozenset()

    def announced(self) -> dict[Key, Alert]:
        """Return the alerts to send to receivers: first the firing, then the resolved ones."""
        firing = {key: one for key, one in self.active.items() if one.phase is Phase.FIRING}
        return {**firing, **self.resolved}


class Evaluator:
    """Evaluates the rules of a table.

    Args:
        links: The addresses that alerts link to.
        instance: The name of this process, a label of the alerts about itself.
    """

    def __init__(self, rules: Iterable[Rule], *, links: Links, instance: str = "") -> None:
        self._rules = tuple((rule, rule.annotations(links)) for rule in rules)
        # The rules whose conditions ask whether other alerts fire.
        self._dependent = {
            rule.name for rule, _ in self._rules if ALERTS in metrics((rule.expression,))
        }
        self._instance = instance

    def evaluate(
        self, samples: SampleView, now: Moment, before: Alerts, *, hold_restored: bool = False
    ) -> Alerts:
        """Return the alerts after an evaluation of all rules.

        Args:
            samples: The newest samples.
            now: The time of the evaluation.
            before: The outcome of the evaluation before.
            hold_restored: Keep alerts from before a restart while they have no series, because the
                first polls are not over.
        """
        known: dict[tuple[str, str], dict[Key, Alert]] = {}
        for found, alert in before.active.items():
            name = (alert.name, alert.labels.get("severity", ""))
            known.setdefault(name, {})[found] = alert
        partners = Partners(samples)
        evidence = _Evidence(samples, now)
        active: dict[Key, Alert] = {}
        gone: dict[Key, Alert] = {}
        crashed: set[str] = set()
        for rule, texts in self._rules:
            mine = known.pop((rule.name, rule.severity.value), {})
            seen = samples
            if rule.name in self._dependent:
                # `known` still holds the alerts of the rules that come later.
                seen = samples.extended(ALERTS, partial(_firing, (active, *known.values())))
            try:
                values = evaluated(rule.expression, seen, now.unix)
                annotated = partial(_annotated, texts, partners)
                holding = self._holding(rule, values, annotated, now, mine)
                missing = {each: alert for each, alert in mine.items() if each not in holding}
                known_of = evidence.of(rule) if missing else None
            except Exception:  # noqa: BLE001 - a bug in one rule must not stop the others
                _log.exception("rule_crashed", alertname=rule.name)
                active |= mine
                crashed.add(rule.name)
                continue
            active |= holding
            for each, alert in missing.items():
                if alert.restored and hold_restored:
                    after: Alert | None = alert
                elif known_of is not None and not known_of(alert.labels):
                    after = _unknown(alert, now)
                else:
                    after = _lapsed(rule, alert, now)
                if after is None:
                    gone[each] = alert
                else:
                    active[each] = after
        for mine in known.values():
            # Alerts of rules that a reload has switched off.
            gone |= mine
        return Alerts(
            active=active,
            resolved=_resolved(before, active, gone, now),
            crashed=frozenset(crashed),
        )

    def _holding(
        self,
        rule: Rule,
        values: Mapping[Key, float],
        annotated: Callable[[Mapping[str, str], float], dict[str, str]],
        now: Moment,
        before: Mapping[Key, Alert],
    ) -> dict[Key, Alert]:
        own = {"alertname": rule.name, "severity": rule.severity.value}
        if rule.about is None and self._instance:
            own["instance"] = self._instance
        holding = {}
        for result, value in values.items():
            labels = {**dict(result), **own}
            its_key = identity(labels)
            known = before.get(its_key)
            since = known.since if known else now
            if known and known.unknown and known.phase is Phase.PENDING:
                # The time in which nothing was known does not count as pending.
                since = since.later(now.monotonic - known.unknown.monotonic)
            fired = known.fired if known else None
            if fired is None and now.monotonic - since.monotonic >= rule.hold_seconds:
                fired = now
            holding[its_key] = Alert(
                name=rule.name,
                labels=labels,
                annotations=annotated(labels, value),
                value=value,
                phase=Phase.PENDING if fired is None else Phase.FIRING,
                since=since,
                fired=fired,
            )
        return holding


def _annotated(
    texts: Mapping[str, Text], partners: Partners, labels: Mapping[str, str], value: float
) -> dict[str, str]:
    return {name: text.render(labels, value, partners) for name, text in texts.items()}


def _firing(alerts: Iterable[Mapping[Key, Alert]]) -> Vector:
    """Return the `ALERTS` series of the firing alerts, as Prometheus has them."""
    return vector(
        ({**alert.labels, "alertstate": alert.phase.value}, 1.0)
        for some in alerts
        for alert in some.values()
        if alert.phase is Phase.FIRING
    )


class _Evidence:
    """Finds out whether the targets of alerts are known now."""

    def __init__(self, samples: SampleView, now: Moment) -> None:
        self._samples = samples
        self._now = now.unix
        self._found: dict[tuple[Expression, Row], set[Row]] = {}

    def of(self, rule: Rule) -> Callable[[Mapping[str, str]], bool] | None:
        """Return a function that returns whether the state of an alert's target is known.

        The function takes the alert's labels. It is `None` if the rule's alerts need no evidence to
        end.
        """
        about = rule.about
        if about is None:
            return None
        on, owner = about.on, about.listing.on
        targets = self._keys(about.read(), on)
        listed = about.listing.read()
        lists = self._keys(listed, owner) if listed is not None else set()
        polled = self._keys(about.listing.polled(), owner)
        # A task that is no longer polled was removed from the configuration, so its alerts may end.
        return lambda labels: (
            key(labels, on) in targets
            or key(labels, owner) in lists
            or key(labels, owner) not in polled
        )

    def _keys(self, expression: Expression, on: Row) -> set[Row]:
        found = self._found.get((expression, on))
        if found is None:
            series = evaluate(expression, self._samples, self._now)
            found = self._found[expression, on] = keys(series, on)
        return found


def _unknown(alert: Alert, now: Moment) -> Alert | None:
    """Return an alert of an unknown target; `None` if it is unknown for `UNKNOWN_SECONDS`."""
    since = alert.unknown or now
    if now.monotonic - since.monotonic >= UNKNOWN_SECONDS:
        return None
    return msgspec.structs.replace(alert, lapsed=None, unknown=since)


def _lapsed(rule: Rule, alert: Alert, now: Moment) -> Alert | None:
    """Return an alert whose condition no longer holds; `None` unless it is kept firing."""
    since = alert.lapsed or now
    kept = now.monotonic - since.monotonic < rule.keep_seconds
    if alert.phase is not Phase.FIRING or not kept:
        return None
    return msgspec.structs.replace(alert, lapsed=since, unknown=None)


def _resolved(
    before: Alerts, active: Mapping[Key, Alert], gone: Mapping[Key, Alert], now: Moment
) -> dict[Key, Alert]:
    """Return the alerts resolved before or now, without those that fire again."""
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
