"""The built-in alerts: looks at the store on its own ticker and keeps the receivers informed.

It is apart from polling and from the pages: an Alertmanager that hangs delays nobody but itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts import samples
from exporter.alerts.alert import Alert, Alerts, Key, Phase
from exporter.alerts.alertmanager import REPEAT_RESOLVED_SECONDS, Connect, Delivery, Receiver
from exporter.alerts.evaluate import Evaluator
from exporter.alerts.memory import Remembered, StateFile
from exporter.alerts.rule import Severity
from exporter.alerts.table import rules
from exporter.clock import Clock
from exporter.fleet.store import Store
from exporter.metrics.telemetry import SelfMetrics


if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from exporter.alerts.settings import AlertingSettings
    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


#: The end of an alert that a receiver never accepted is given up after this long: that receiver
#: has ended it by itself, having heard nothing for so long.
UNDELIVERED_SECONDS = 86_400.0

#: So many ended alerts are kept for the receivers; of more, the oldest are given up.
MAX_RESOLVED = 10_000

#: Without any change the memory is saved after this long, to know how long we were away.
SAVE_SECONDS = 60.0

_SEVERITIES = {severity.value: place for place, severity in enumerate(Severity)}


class AlertingContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the built-in alerts are given beside their settings.

    Attributes:
        started: Whether the first round of polls is over.
        connect: Makes the client that sends the calls to an Alertmanager.
    """

    store: Store
    telemetry: SelfMetrics
    clock: Clock
    started: Callable[[], bool]
    connect: Connect


class Alerting:
    """The built-in alerts of one configuration.

    Args:
        generator_url: Where people see more: the board.
        remembered: What an instance before this one knew; without it, what the state file holds.
    """

    def __init__(
        self,
        settings: AlertingSettings,
        context: AlertingContext,
        *,
        generator_url: str,
        remembered: Remembered | None = None,
    ) -> None:
        self._settings = settings
        self._store = context.store
        self._telemetry = context.telemetry
        self._clock = clock = context.clock
        self._started = context.started
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts")
        self._rules = tuple(rule for rule in rules(settings.thresholds) if rule.built_in)
        self._evaluator = Evaluator(self._rules, runbook_url=settings.runbook_url)
        self._metrics = samples.metrics(rule.expression for rule in self._rules)
        delivery = Delivery(
            resend_seconds=max(settings.resend_interval, settings.evaluation_interval),
            generator_url=generator_url,
            external_labels=settings.external_labels,
        )
        self._receivers = tuple(
            Receiver(
                each,
                delivery,
                telemetry=context.telemetry,
                clock=clock,
                connect=context.connect,
            )
            for each in settings.alertmanagers
        )
        self._file = StateFile(settings.state_file) if settings.state_file else None
        if remembered is None:
            remembered = self._file.load(clock.now()) if self._file else Remembered()
        self._alerts = remembered.alerts
        for key, names in remembered.accepted.items():
            for receiver in self._receivers:
                if receiver.name in names:
                    receiver.assume(key, remembered.alerts.resolved[key])
        self._saved: tuple[object, float] = (None, clock.monotonic())
        self._count()

    def active(self) -> tuple[Alert, ...]:
        """Return what fires, then what is pending, each by severity and name."""
        return tuple(sorted(self._alerts.active.values(), key=_place))

    def remember(self) -> Remembered:
        """Return all that an instance after this one has to know."""
        return Remembered(
            alerts=self._alerts,
            accepted={
                key: frozenset(r.name for r in self._receivers if r.knows(key, alert))
                for key, alert in self._alerts.resolved.items()
            },
        )

    async def run(self) -> None:
        """Evaluate and notify until cancelled, then save what is known."""
        workers = [
            asyncio.create_task(receiver.run(), name=f"notify {receiver.name}")
            for receiver in self._receivers
        ]
        try:
            while True:
                begun = self._clock.monotonic()
                try:
                    await self.tick()
                except Exception:  # noqa: BLE001 - the ticker must outlive a mistake; it is logged
                    self._log.exception("evaluation_crashed")
                took = self._clock.monotonic() - begun
                await self._clock.sleep(max(0.0, self._settings.evaluation_interval - took))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.gather(*(receiver.aclose() for receiver in self._receivers))
            if self._file is not None:
                self._file.save(self.remember(), self._clock.now())

    async def tick(self) -> None:
        """Evaluate once, publish the outcome and save it."""
        now = self._clock.now()
        self._store.expire()
        # In a thread, as ten thousand agents take a while; what it reads never changes.
        judged = await asyncio.to_thread(self._judge, self._store.snapshots(), now)
        before, self._alerts = self._alerts, self._without_settled(judged, now)
        self._log_changes(before)
        self._count()
        announced = self._alerts.announced()
        for receiver in self._receivers:
            receiver.publish(announced)
        await self._save(now)

    def _judge(self, snapshots: tuple[Snapshot, ...], now: Moment) -> Alerts:
        newest = samples.view(snapshots, self._telemetry.registry, self._metrics)
        return self._evaluator.evaluate(
            newest, now, self._alerts, hold_restored=not self._started()
        )

    def _without_settled(self, alerts: Alerts, now: Moment) -> Alerts:
        """Forget the ended alerts of which nobody needs to hear any more."""
        kept: dict[Key, Alert] = {}
        for key, alert in alerts.resolved.items():
            age = now.monotonic - (alert.resolved or now).monotonic
            known = all(receiver.knows(key, alert) for receiver in self._receivers)
            if age <= (REPEAT_RESOLVED_SECONDS if known else UNDELIVERED_SECONDS):
                kept[key] = alert
            elif not known:
                self._log.warning("resolution_given_up", **_told(alert))
        newest = list(kept.items())[-MAX_RESOLVED:]
        return msgspec.structs.replace(alerts, resolved=dict(newest))

    def _log_changes(self, before: Alerts) -> None:
        for key, alert in self._alerts.active.items():
            known = before.active.get(key)
            if alert.phase is Phase.FIRING and (known is None or known.phase is Phase.PENDING):
                self._log.warning("alert_firing", **_told(alert))
        for key, alert in self._alerts.resolved.items():
            if key not in before.resolved:
                self._log.info("alert_resolved", **_told(alert))

    def _count(self) -> None:
        active = self._alerts.active.values()
        firing = Counter(alert.name for alert in active if alert.phase is Phase.FIRING)
        self._telemetry.fires(
            {(rule.name, rule.severity.value): firing[rule.name] for rule in self._rules}
        )

    async def _save(self, now: Moment) -> None:
        """Save what is known if it has changed in essence, or now and then while there is any."""
        if self._file is None:
            return
        remembered = self.remember()
        active = {(key, alert.phase) for key, alert in remembered.alerts.active.items()}
        essence = (active, remembered.accepted)
        known, saved_at = self._saved
        if essence == known and (now.monotonic - saved_at < SAVE_SECONDS or essence == (set(), {})):
            return
        self._saved = (essence, now.monotonic)
        await asyncio.to_thread(self._file.save, remembered, now)


def _told(alert: Alert) -> dict[str, str]:
    """Return what the log says of an alert."""
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    return {"alert": alert.name, "labels": labels}


def _place(alert: Alert) -> tuple[object, ...]:
    pending = alert.phase is not Phase.FIRING
    severity = _SEVERITIES.get(alert.labels.get("severity", ""), len(_SEVERITIES))
    return (pending, severity, alert.name, sorted(alert.labels.items()))
