"""The memory of the alerts: a document of the state, so that no restart ends or repeats a page.

It holds no secrets: labels, texts and times. One that cannot be read costs the memory and nothing
else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evaluate import Alert, Alerts, Key, Phase
from exporter.alerts.evidence import UNKNOWN_SECONDS
from exporter.alerts.samples import identity
from exporter.clock import Moment
from exporter.errors import StateError


if TYPE_CHECKING:
    from collections.abc import Collection

    from structlog.typing import FilteringBoundLogger

    from exporter.sharding import Shard
    from exporter.state.base import Document, State


#: Changed whenever an older document could be misunderstood.
VERSION = 1


class AlertingState(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, and which receivers have accepted the end of the resolved ones."""

    alerts: Alerts = Alerts()
    accepted: Mapping[Key, frozenset[str]] = {}


class _SavedAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert in the document, its times by both clocks of the writer.

    Attributes:
        value: As text, since JSON has neither infinities nor what is not a number.
    """

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    value: str
    phase: Phase
    since: Moment
    fired: Moment | None = None
    lapsed: Moment | None = None
    unknown: Moment | None = None
    resolved: Moment | None = None
    accepted_by: list[str] = []


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The document.

    Attributes:
        written: When, by the writer's monotonic clock.
    """

    version: int
    written: float
    alerts: list[_SavedAlert]


class AlertMemory:
    """The document in which the alerts of one process are kept."""

    def __init__(self, state: State, *, namespace: str, shard: Shard) -> None:
        """Take over a state.

        Args:
            state: Where the document is.
            namespace: Installations with another one have another document.
            shard: Our share of the targets, of which each has its own alerts.
        """
        self._state = state
        described = json.dumps([namespace, shard.index, shard.total]).encode()
        self.key = f"alerts/{hashlib.blake2b(described, digest_size=16).hexdigest()}"
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts")
        self._failing = False

    async def load(self, now: Moment) -> AlertingState:
        """Return the alerts at the end of the run before, without active ones if long ago."""
        try:
            document = await self._state.get(self.key)
            if document is not None:
                return await asyncio.to_thread(_state, document, now)
        except StateError as error:
            self._log.warning("alerts_forgotten", message=str(error))
        except (ValueError, RecursionError):
            # The error's own text could quote a label's value.
            message = "what was kept of them is damaged, or of another version"
            self._log.warning("alerts_forgotten", message=message)
        return AlertingState()

    async def save(self, state: AlertingState, now: Moment) -> None:
        """Write the document anew; a failure is logged, once."""
        try:
            content = await asyncio.to_thread(_encoded, state, now)
            await self._state.put(self.key, content)
        except Exception as error:  # noqa: BLE001 - what cannot be kept must not end the alerts
            if not self._failing:
                message = str(error) if isinstance(error, StateError) else type(error).__name__
                self._log.warning("alerts_not_saved", message=message)
            self._failing = True
        else:
            self._failing = False


def _encoded(state: AlertingState, now: Moment) -> bytes:
    alerts = state.alerts
    saved = [_saved_alert(one, ()) for one in alerts.active.values()]
    for key, one in alerts.resolved.items():
        saved.append(_saved_alert(one, state.accepted.get(key, ())))
    return msgspec.json.encode(_Saved(version=VERSION, written=now.monotonic, alerts=saved))


def _saved_alert(alert: Alert, accepted_by: Collection[str]) -> _SavedAlert:
    return _SavedAlert(
        name=alert.name,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        value=repr(alert.value),
        phase=alert.phase,
        since=alert.since,
        fired=alert.fired,
        lapsed=alert.lapsed,
        unknown=alert.unknown,
        resolved=alert.resolved,
        accepted_by=sorted(accepted_by),
    )


def _state(document: Document, now: Moment) -> AlertingState:
    """Make the alerts of a document.

    Raises:
        ValueError: It is damaged or of another version, or an alert in it cannot be.
        RecursionError: It is nested as none of ours is.
    """
    found = msgspec.json.decode(document.value, type=_Saved)
    if found.version != VERSION:
        raise ValueError("it is of another version")
    away = document.age_seconds
    if not math.isfinite(found.written):
        raise ValueError("it was written at no time")
    ahead = now.monotonic - away - found.written
    active: dict[Key, Alert] = {}
    resolved: dict[Key, Alert] = {}
    accepted: dict[Key, frozenset[str]] = {}
    for saved in found.alerts:
        alert = _alert(saved, now, away=away, ahead=ahead)
        key = identity(alert.labels)
        if alert.phase is Phase.RESOLVED:
            resolved[key] = alert
            accepted[key] = frozenset(saved.accepted_by)
        elif away <= UNKNOWN_SECONDS:
            active[key] = alert
    return AlertingState(alerts=Alerts(active=active, resolved=resolved), accepted=accepted)


def _alert(saved: _SavedAlert, now: Moment, *, away: float, ahead: float) -> Alert:
    """Make an alert of a saved one.

    Args:
        saved: It.
        now: On our clocks.
        away: Seconds for which nothing was evaluated.
        ahead: Seconds by which our monotonic clock is ahead of the writer's.

    Raises:
        ValueError: A time that its phase demands is missing, or the value is no number.
    """
    if (saved.fired is None) != (saved.phase is Phase.PENDING):
        raise ValueError("only what is pending has not fired")
    if (saved.resolved is None) == (saved.phase is Phase.RESOLVED):
        raise ValueError("what is resolved has an end, and nothing else has one")
    since = _moment(saved.since, now, ahead)
    if saved.phase is Phase.PENDING:
        # Nothing was evaluated while the exporter was away: that time does not count as pending.
        since = _moment(saved.since.later(away), now, ahead)
    return Alert(
        name=saved.name,
        labels=saved.labels,
        annotations=saved.annotations,
        value=float(saved.value),
        phase=saved.phase,
        since=since,
        fired=None if saved.fired is None else _moment(saved.fired, now, ahead),
        lapsed=None if saved.lapsed is None else _moment(saved.lapsed, now, ahead),
        unknown=None if saved.unknown is None else _moment(saved.unknown, now, ahead),
        resolved=None if saved.resolved is None else _moment(saved.resolved, now, ahead),
        restored=saved.phase is not Phase.RESOLVED,
    )


def _moment(moment: Moment, now: Moment, ahead: float) -> Moment:
    """Return a moment of the past on this process's clocks; the wall clock may have been set.

    Raises:
        ValueError: It is no time.
    """
    ours = moment.rebased(ahead)
    return Moment(unix=min(ours.unix, now.unix), monotonic=min(ours.monotonic, now.monotonic))
