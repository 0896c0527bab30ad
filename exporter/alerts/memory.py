"""The state file: keeps the alerts over a restart, so that it neither ends a page nor repeats one.

The file holds no secrets: labels, texts and times. It is replaced as a whole, so that it is never
half written; one that cannot be read costs the state and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evaluate import Alert, Alerts, Key, Phase
from exporter.alerts.samples import identity
from exporter.clock import Moment


if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger


#: Changed whenever an older file could be misunderstood.
VERSION = 1

#: After so long active alerts are dropped: nothing is known of them any more, and Alertmanager has
#: long ended them.
OUTAGE_TOLERANCE_SECONDS = 3600.0


class AlertingState(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, and which receivers have accepted the end of the resolved ones."""

    alerts: Alerts = Alerts()
    accepted: Mapping[Key, frozenset[str]] = {}


class _SavedAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert in the file; its times are seconds since the epoch.

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


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    saved_at: float
    alerts: list[_SavedAlert]


class StateFile:
    """The file in which the state is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts").bind(
            state_file=str(path)
        )
        self._failing = False

    def load(self, now: Moment) -> AlertingState:
        """Return the state at the end of the run before, without active alerts if long ago."""
        try:
            return _state(msgspec.json.decode(self._path.read_bytes(), type=_File), now)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.warning("alerts_forgotten", message=error.strerror or "cannot be read")
        except ValueError:
            # msgspec's own text could quote a label's value.
            self._log.warning("alerts_forgotten", message="the file is damaged or not of ours")
        return AlertingState()

    def save(self, state: AlertingState, now: Moment) -> None:
        """Write the file anew; a failure is logged, once."""
        content = msgspec.json.format(msgspec.json.encode(_file(state, now)))
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            if not self._failing:
                self._log.warning("alerts_not_saved", message=error.strerror or "unknown error")
            self._failing = True
        else:
            self._failing = False


def _file(state: AlertingState, now: Moment) -> _File:
    alerts = state.alerts
    saved = [_saved_alert(one, ()) for one in alerts.active.values()]
    for key, one in alerts.resolved.items():
        saved.append(_saved_alert(one, state.accepted.get(key, ())))
    return _File(version=VERSION, saved_at=now.unix, alerts=saved)


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


def _state(file: _File, now: Moment) -> AlertingState:
    """Make the state of a file.

    Raises:
        ValueError: It is of another version, or an alert in it cannot be.
    """
    if file.version != VERSION:
        raise ValueError("it is of another version")
    away = now.unix - file.saved_at
    active: dict[Key, Alert] = {}
    resolved: dict[Key, Alert] = {}
    accepted: dict[Key, frozenset[str]] = {}
    for saved in file.alerts:
        alert = _alert(saved, now, away=max(0.0, away))
        key = identity(alert.labels)
        if alert.phase is Phase.RESOLVED:
            resolved[key] = alert
            accepted[key] = frozenset(saved.accepted_by)
        elif abs(away) <= OUTAGE_TOLERANCE_SECONDS:
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
    """Return a moment of the past on this process's clocks."""
    return Moment(unix=unix, monotonic=now.monotonic - (now.unix - unix))
