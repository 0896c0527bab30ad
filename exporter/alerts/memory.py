"""The memory of the alerts: a document of the state, so that no restart ends or repeats a page.

It holds no secrets: labels, texts and times. One that cannot be read costs the memory and nothing
else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evaluate import Alert, Alerts, Key, Phase
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

#: A time stamp beyond this is no time: the year 5138.
_MAX_UNIX = 1e11

#: After so long active alerts are dropped: nothing is known of them any more, and Alertmanager has
#: long ended them.
OUTAGE_TOLERANCE_SECONDS = 3600.0


class AlertingState(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, and which receivers have accepted the end of the resolved ones."""

    alerts: Alerts = Alerts()
    accepted: Mapping[Key, frozenset[str]] = {}


class _SavedAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert in the document; its times are seconds since the epoch.

    Attributes:
        value: As text, since JSON has neither infinities nor what is not a number.
    """

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    value: str
    phase: Phase
    since: float
    fired: float | None = None
    resolved: float | None = None
    accepted_by: list[str] = []


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    version: int
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

    async def save(self, state: AlertingState) -> None:
        """Write the document anew; a failure is logged, once."""
        try:
            content = await asyncio.to_thread(_encoded, state)
            await self._state.put(self.key, content)
        except Exception as error:  # noqa: BLE001 - what cannot be kept must not end the alerts
            if not self._failing:
                message = str(error) if isinstance(error, StateError) else type(error).__name__
                self._log.warning("alerts_not_saved", message=message)
            self._failing = True
        else:
            self._failing = False


def _encoded(state: AlertingState) -> bytes:
    alerts = state.alerts
    saved = [_saved_alert(one, ()) for one in alerts.active.values()]
    for key, one in alerts.resolved.items():
        saved.append(_saved_alert(one, state.accepted.get(key, ())))
    return msgspec.json.encode(_Saved(version=VERSION, alerts=saved))


def _saved_alert(alert: Alert, accepted_by: Collection[str]) -> _SavedAlert:
    return _SavedAlert(
        name=alert.name,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        value=repr(alert.value),
        phase=alert.phase,
        since=alert.since.unix,
        fired=alert.fired.unix if alert.fired else None,
        resolved=alert.resolved.unix if alert.resolved else None,
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
    active: dict[Key, Alert] = {}
    resolved: dict[Key, Alert] = {}
    accepted: dict[Key, frozenset[str]] = {}
    for saved in found.alerts:
        alert = _alert(saved, now, away=away)
        key = identity(alert.labels)
        if alert.phase is Phase.RESOLVED:
            resolved[key] = alert
            accepted[key] = frozenset(saved.accepted_by)
        elif away <= OUTAGE_TOLERANCE_SECONDS:
            active[key] = alert
    return AlertingState(alerts=Alerts(active=active, resolved=resolved), accepted=accepted)


def _alert(saved: _SavedAlert, now: Moment, *, away: float) -> Alert:
    """Make an alert of a saved one.

    Raises:
        ValueError: A time that its phase demands is missing, or the value is no number.
    """
    if (saved.fired is None) != (saved.phase is Phase.PENDING):
        raise ValueError("only what is pending has not fired")
    if (saved.resolved is None) == (saved.phase is Phase.RESOLVED):
        raise ValueError("what is resolved has an end, and nothing else has one")
    # Nothing was evaluated while the exporter was away: that time does not count as pending.
    since = saved.since + away if saved.phase is Phase.PENDING else saved.since
    return Alert(
        name=saved.name,
        labels=saved.labels,
        annotations=saved.annotations,
        value=float(saved.value),
        phase=saved.phase,
        since=_moment(since, now),
        fired=None if saved.fired is None else _moment(saved.fired, now),
        resolved=None if saved.resolved is None else _moment(saved.resolved, now),
        restored=saved.phase is not Phase.RESOLVED,
    )


def _moment(unix: float, now: Moment) -> Moment:
    """Return a moment of the past on this process's clocks.

    Raises:
        ValueError: It is no time.
    """
    if not 0.0 <= unix <= _MAX_UNIX:
        raise ValueError("a time stamp is none")
    unix = min(unix, now.unix)  # the clock was set back
    return Moment(unix=unix, monotonic=now.monotonic - (now.unix - unix))
