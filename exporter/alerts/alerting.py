"""The built-in alerts: evaluate the rules periodically and notify the receivers.

They run apart from polling and from the pages, so that an Alertmanager that hangs delays neither.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts import samples
from exporter.alerts.alertmanager import (
    REPEAT_RESOLVED_SECONDS,
    Connect,
    NotificationOptions,
    Receiver,
)
from exporter.alerts.evaluate import Alert, Alerts, Evaluator, Key, Phase
from exporter.alerts.evidence import EVIDENCE
from exporter.alerts.farewell import Farewells
from exporter.alerts.heartbeat import RECEIVER, Heartbeat
from exporter.alerts.memory import AlertingState, AlertMemory, is_own
from exporter.alerts.rule import Links, Severity
from exporter.clock import Clock
from exporter.fleet.store import Store
from exporter.metrics.telemetry import SelfMetrics


if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from exporter.alerts.settings import AlertingSettings
    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


#: Seconds for which a resolved alert is kept for a receiver that has not accepted it; longer if
#: `hold_on_silence` is longer. After that, the receiver has ended the alert by itself.
UNDELIVERED_SECONDS = 86_400.0

#: The most resolved alerts kept for the receivers. Beyond it, the oldest are dropped.
MAX_RESOLVED = 10_000

#: Seconds after which the state is saved even if nothing has changed. After a restart, the age of
#: the saved state is the time in which nothing was evaluated.
SAVE_SECONDS = 60.0

_SEVERITIES = {severity.value: rank for rank, severity in enumerate(Severity)}


class AlertingContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the built-in alerts need besides their settings.

    Attributes:
        started: Returns whether the first polls are over.
        memory: Keeps the alerts across restarts.
        connect: Makes the client that sends the calls to a receiver.
        sends: Returns whether this process sends the alerts about sources and their targets. Of
            several processes that watch the same sources only one does. Each process sends the
            alerts about itself.
    """

    store: Store
    telemetry: SelfMetrics
    clock: Clock
    started: Callable[[], bool]
    memory: AlertMemory
    connect: Connect
    sends: Callable[[], bool] = lambda: True


class Alerting:
    """The built-in alerts of one configuration.

    Args:
        generator_url: The board's URL, to which alerts link.
        instance: The name of this process, a label of the alerts about itself.
        state: The state that the instance before this one left, in this process or before a
            restart.
    """

    def __init__(
        self,
        settings: AlertingSettings,
        context: AlertingContext,
        *,
        generator_url: str,
        instance: str = "",
        state: AlertingState,
    ) -> None:
        self._settings = settings
        self._store = context.store
        self._telemetry = context.telemetry
        self._clock = clock = context.clock
        self._started = context.started
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts")
        self._rules = tuple(rule for rule in settings.rules() if rule.built_in)
        links = Links(
            runbook_url=settings.runbook_url,
            board_url=generator_url,
            grafana_url=settings.grafana_url or "",
        )
        self._evaluator = Evaluator(self._rules, links=links, instance=instance)
        self._metrics = samples.metrics(self._rules) | EVIDENCE
        options = notification_options(settings, generator_url=generator_url)
        self._receivers = tuple(
            Receiver(
                each,
                options,
                telemetry=context.telemetry,
                clock=clock,
                connect=context.connect,
            )
            for each in settings.alertmanagers
        )
        self._heartbeat: Heartbeat | None = None
        if settings.heartbeat is not None:
            self._heartbeat = Heartbeat(
                settings.heartbeat,
                pause_seconds=options.resend_seconds,
                telemetry=context.telemetry,
                clock=clock,
                connect=context.connect,
            )
        self._memory = context.memory
        self._instance = instance
        self._may_send = context.sends
        self._sends, self._sent = context.sends(), state.sent
        self._alerts = state.alerts
        self._mark_delivered(state)
        self._saved: tuple[object, float] = (None, clock.monotonic())
        self._count()

    @property
    def delivers(self) -> bool:
        """True if any receiver answered its newest call, or if there are no receivers."""
        return not self._receivers or any(each.reached for each in self._receivers)

    def announced(self) -> dict[Key, Alert]:
        """Return the firing and resolved alerts that this process sends."""
        return {key: one for key, one in self._alerts.announced().items() if self._is_ours(one)}

    def active(self) -> tuple[Alert, ...]:
        """Return the firing, then the pending alerts, both sorted by severity and name."""
        return tuple(sorted(self._alerts.active.values(), key=_rank))

    def state(self) -> AlertingState:
        """Return the state from which the next instance continues."""
        return AlertingState(
            alerts=self._alerts,
            accepted={
                key: frozenset(r.name for r in self._receivers if r.has_accepted(key, alert))
                for key, alert in self._alerts.resolved.items()
            },
            sent=self._sent,
        )

    async def run(self) -> None:
        """Evaluate and notify until cancelled, then save the state."""
        workers = [
            asyncio.create_task(receiver.run(), name=f"notify {receiver.name}")
            for receiver in self._receivers
        ]
        if self._heartbeat is not None:
            workers.append(asyncio.create_task(self._heartbeat.run(), name="heartbeat"))
        try:
            while True:
                begun = self._clock.monotonic()
                try:
                    await self.tick()
                except Exception:  # noqa: BLE001 - the ticker must survive a bug, which is logged
                    self._log.exception("evaluation_crashed")
                took = self._clock.monotonic() - begun
                await self._clock.sleep(max(0.0, self._settings.evaluation_interval - took))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.gather(*(receiver.aclose() for receiver in self._receivers))
            if self._heartbeat is not None:
                await self._heartbeat.aclose()
            await self._memory.save(self.state(), self._clock.now(), instance=self._instance)

    async def tick(self) -> None:
        """Evaluate once, publish the outcome and save it."""
        now = self._clock.now()
        await self._turn(now)
        self._store.expire()
        # In a thread, since 10,000 agents take a while. Snapshots are immutable.
        judged = await asyncio.to_thread(self._judge, self._store.snapshots(), now)
        before, self._alerts = self._alerts, self._without_settled(judged, now)
        self._log_changes(before)
        self._count()
        announced = self.announced()
        for receiver in self._receivers:
            receiver.publish(announced)
        if self._heartbeat is not None and not self._alerts.crashed:
            self._heartbeat.beat()
        await self._save(now)

    async def _turn(self, now: Moment) -> None:
        """Start or stop sending the alerts about targets, as `AlertingContext.sends` demands."""
        sent, self._sends = self._sends, self._may_send()
        if self._sends and not sent:
            known = await self._memory.load(now, instance=self._instance)
            if known is not None:
                after = self.state().taken_over(known)
                self._alerts = after.alerts
                self._mark_delivered(after)
        elif sent and not self._sends:
            for receiver in self._receivers:
                receiver.rest()
        if self._sends:
            self._sent = now.monotonic

    def _mark_delivered(self, state: AlertingState) -> None:
        """Note which resolved alerts the receivers accepted before."""
        for key, names in state.accepted.items():
            alert = state.alerts.resolved.get(key)
            for receiver in self._receivers:
                if alert is not None and receiver.name in names:
                    receiver.mark_delivered(key, alert)

    def _is_ours(self, alert: Alert) -> bool:
        # The process that sends the alerts about targets also sends the only heartbeat alert.
        return self._sends or (is_own(alert) and is_trouble(alert))

    def _judge(self, snapshots: tuple[Snapshot, ...], now: Moment) -> Alerts:
        newest = samples.view(snapshots, self._telemetry.registry, self._metrics)
        return self._evaluator.evaluate(
            newest, now, self._alerts, hold_restored=not self._started()
        )

    def _without_settled(self, alerts: Alerts, now: Moment) -> Alerts:
        """Return the alerts without the resolved ones that no receiver needs any more."""
        kept: dict[Key, Alert] = {}
        undelivered = max(UNDELIVERED_SECONDS, self._settings.hold_on_silence)
        for key, alert in alerts.resolved.items():
            age = now.monotonic - (alert.resolved or now).monotonic
            # No receiver waits for an alert that another process sends.
            accepted = not self._is_ours(alert) or all(
                each.has_accepted(key, alert) for each in self._receivers
            )
            if age <= (REPEAT_RESOLVED_SECONDS if accepted else undelivered):
                kept[key] = alert
            elif not accepted:
                self._log.warning("resolved_alert_dropped", **_log_fields(alert))
        newest = list(kept.items())[-MAX_RESOLVED:]
        return msgspec.structs.replace(alerts, resolved=dict(newest))

    def _log_changes(self, before: Alerts) -> None:
        for key, alert in self._alerts.active.items():
            known = before.active.get(key)
            if not is_trouble(alert):
                continue
            if alert.phase is Phase.FIRING and (known is None or known.phase is Phase.PENDING):
                self._log.warning("alert_firing", **_log_fields(alert))
        for key, alert in self._alerts.resolved.items():
            if key not in before.resolved and is_trouble(alert):
                self._log.info("alert_resolved", **_log_fields(alert))

    def _count(self) -> None:
        firing = Counter(
            (alert.name, alert.labels["severity"])
            for alert in self._alerts.active.values()
            if alert.phase is Phase.FIRING
        )
        known = ((rule.name, rule.severity.value) for rule in self._rules)
        self._telemetry.fires({each: firing[each] for each in known if each[1] != Severity.NONE})

    async def _save(self, now: Moment) -> None:
        """Save the state if alerts, phases or deliveries have changed, else every `SAVE_SECONDS`.

        A state without alerts is saved only once.
        """
        state = self.state()
        # The heartbeat always fires, so it need not be remembered.
        active = {
            (key, alert.phase) for key, alert in state.alerts.active.items() if is_trouble(alert)
        }
        essence = (self._sends, active, state.accepted)
        known, saved_at = self._saved
        recent = now.monotonic - saved_at < SAVE_SECONDS
        if essence == known and (recent or not (active or state.accepted)):
            return
        self._saved = (essence, now.monotonic)
        await self._memory.save(state, now, instance=self._instance)


class BuiltInAlerts:
    """Starts, replaces and stops the built-in alerts, and hands over their state."""

    def __init__(self, context: AlertingContext) -> None:
        self._context = context
        self._settings: AlertingSettings | None = None
        self._generator_url = ""
        self._alerting: Alerting | None = None
        self._task: asyncio.Task[None] | None = None
        self._farewells = Farewells(context.clock, context.connect)

    def active(self) -> tuple[Alert, ...] | None:
        """Return the firing, then the pending alerts; `None` while the built-in alerts are off."""
        return self._alerting.active() if self._alerting is not None else None

    @property
    def delivers(self) -> bool:
        """True if any receiver answered its newest call, or if there are no receivers."""
        return self._alerting is None or self._alerting.delivers

    async def apply(
        self, settings: AlertingSettings, *, generator_url: str, instance: str = ""
    ) -> None:
        """Continue with these settings; without a receiver in them the built-in alerts are off.

        Alertmanagers that the settings no longer name are notified that all alerts are resolved.
        """
        if (settings, generator_url) == (self._settings, self._generator_url):
            return
        state = announced = None
        if self._alerting is not None:
            state, announced = self._alerting.state(), self._alerting.announced()
        await self._halt()
        for name in _receivers(self._settings) - _receivers(settings):
            self._context.telemetry.remove(receiver=name)
        await self._farewells.call_off(settings)
        if self._settings is not None and announced is not None:
            ended = _ended(announced.values(), self._context.clock.now())
            options = notification_options(self._settings, generator_url=self._generator_url)
            self._farewells.begin(self._settings, settings, ended, options)
        self._settings, self._generator_url = settings, generator_url
        if settings.built_in:
            if state is None:
                now = self._context.clock.now()
                state = await self._context.memory.load(now, instance=instance)
            self._alerting = Alerting(
                settings,
                self._context,
                generator_url=generator_url,
                instance=instance,
                state=state or AlertingState(),
            )
            self._task = asyncio.create_task(self._alerting.run(), name="alerts")

    async def stop(self) -> None:
        """Stop evaluating and notifying, and save the state; no alert is resolved by this."""
        await self._halt()
        await self._farewells.stop()

    async def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._context.telemetry.fires({})
        self._alerting = self._task = None


def notification_options(settings: AlertingSettings, *, generator_url: str) -> NotificationOptions:
    """Return the options of notifications, the same for all Alertmanagers."""
    return NotificationOptions(
        resend_seconds=max(settings.resend_interval, settings.evaluation_interval),
        hold_seconds=settings.hold_on_silence,
        generator_url=generator_url,
        external_labels=settings.external_labels,
    )


def is_trouble(alert: Alert) -> bool:
    """Return whether an alert reports a problem; the heartbeat reports that all is well."""
    return alert.labels.get("severity") != Severity.NONE


def _receivers(settings: AlertingSettings | None) -> set[str]:
    """Return the receivers' names in the metrics."""
    if settings is None:
        return set()
    heartbeat = set() if settings.heartbeat is None else {RECEIVER}
    return heartbeat | {each.url for each in settings.alertmanagers}


def _ended(announced: Iterable[Alert], now: Moment) -> list[Alert]:
    """Return the announced alerts, the firing ones resolved as of now."""
    return [
        one
        if one.resolved
        else msgspec.structs.replace(one, phase=Phase.RESOLVED, resolved=now, restored=False)
        for one in announced
    ]


def _log_fields(alert: Alert) -> dict[str, str]:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    return {"alert": alert.name, "labels": labels}


def _rank(alert: Alert) -> tuple[object, ...]:
    pending = alert.phase is not Phase.FIRING
    severity = _SEVERITIES.get(alert.labels.get("severity", ""), len(_SEVERITIES))
    return (pending, severity, alert.name, sorted(alert.labels.items()))
