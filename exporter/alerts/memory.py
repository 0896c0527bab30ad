"""Keeps the alerts in the state store, so that a restart neither resolves nor repeats an alert.

Each process writes one document. Of several processes that watch the same sources one sends the
alerts about targets; a process that takes over continues from the document of the last sender.

A document holds labels, texts and times, but no secrets. If it cannot be read, no alert from
before the restart is known.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.alerts.evaluate import Alert, Alerts, Key, Phase
from exporter.alerts.evidence import UNKNOWN_SECONDS
from exporter.alerts.samples import identity
from exporter.alerts.table import OWN
from exporter.clock import LATEST_UNIX, Moment
from exporter.errors import StateError


if TYPE_CHECKING:
    from collections.abc import Collection

    from structlog.typing import FilteringBoundLogger

    from exporter.sharding import Shard
    from exporter.state.base import Document, State


#: Version of the documents' format, raised whenever an older document could be misread.
VERSION = 1

#: The most characters in the labels and annotations of one saved alert. No real alert comes near
#: it, and no receiver would accept more.
_MAX_CHARACTERS = 1 << 20

_NAME = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class AlertingState(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, and the receivers that have accepted each resolved alert.

    Attributes:
        sent: When this process last sent the alerts about targets, by its monotonic clock.
    """

    alerts: Alerts = Alerts()
    accepted: Mapping[Key, frozenset[str]] = {}
    sent: float | None = None

    def taken_over(self, known: AlertingState) -> AlertingState:
        """Return the state with which to take over from the process that sent alerts so far.

        Args:
            known: The state of that process. An alert that is missing there is resolved, and its
                receivers were notified.
        """
        sent = {key: one for key, one in known.alerts.active.items() if not is_own(one)}
        ended = {key: one for key, one in known.alerts.resolved.items() if not is_own(one)}
        active = {key: one for key, one in sent.items() if key not in self.alerts.resolved}
        for key, alert in self.alerts.active.items():
            if key not in ended or _when(ended[key].resolved) < _when(alert.since):
                active[key] = _earlier(alert, sent[key]) if key in sent else alert
        resolved = {
            key: one for key, one in self.alerts.resolved.items() if key in sent or is_own(one)
        }
        return AlertingState(
            alerts=Alerts(active=active, resolved=resolved | ended), accepted=known.accepted
        )


def is_own(alert: Alert) -> bool:
    """Return whether an alert is about the process that judges it."""
    return alert.name in OWN


def _earlier(ours: Alert, theirs: Alert) -> Alert:
    """Return our alert, with the times of another process's alert where these are earlier."""
    since = min(ours.since, theirs.since, key=_when)
    if theirs.phase is not Phase.FIRING:
        return msgspec.structs.replace(ours, since=since)
    fired = min(ours.fired or theirs.fired, theirs.fired, key=_when)
    return msgspec.structs.replace(ours, phase=Phase.FIRING, since=since, fired=fired)


def _when(moment: Moment | None) -> float:
    return math.inf if moment is None else moment.unix


class _SavedAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert in the document, its times by both clocks of the writer.

    Attributes:
        value: As text, since JSON has neither infinities nor NaN.
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


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a document that ranks it among those of other processes.

    Attributes:
        written: When the document was written, by the writer's monotonic clock.
        sent: When the writer last sent the alerts about targets, by the same clock.
    """

    version: int
    written: float
    sent: float | None = None


class _Saved(_Head, frozen=True, kw_only=True):
    """The document."""

    alerts: list[_SavedAlert]


class AlertMemory:
    """The documents in which the alerts are kept, one per process."""

    def __init__(self, state: State, *, namespace: str, shard: Shard) -> None:
        """Use the documents of one namespace and shard.

        Args:
            state: The store that holds the documents.
            namespace: Separates installations that use the same store.
            shard: Our share of the targets; each shard has its own alerts.
        """
        self._state = state
        #: The prefix of all keys. Versions that wrote one document for all processes used it as
        #: the key.
        self.group = f"alerts/{_hashed([namespace, shard.index, shard.total])}"
        self._log: FilteringBoundLogger = structlog.get_logger("exporter.alerts")
        self._failing = False

    def key(self, instance: str) -> str:
        """Return the key of the document of a process."""
        return f"{self.group}/{_hashed(instance)}"

    async def load(self, now: Moment, *, instance: str = "") -> AlertingState | None:
        """Return the saved alerts, `None` if no document can be read.

        The alerts about the process itself come from its own document, those about targets from
        the document of the process that sent alerts last. Active alerts are left out if their
        document is older than `UNKNOWN_SECONDS`.

        Args:
            now: The current time on our clocks.
            instance: The name of this process.
        """
        try:
            documents = await self._state.documents(self.group)
        except StateError as error:
            self._log.warning("alerts_forgotten", message=str(error))
            return None
        ours = self.key(instance) if self.key(instance) in documents else self.group
        states = await asyncio.to_thread(_states, documents, ours, now)
        if documents and (states is None or (ours in documents and states[1] is None)):
            # Not the error's own text, which could quote a label's value.
            message = "a saved document is damaged or of another version"
            self._log.warning("alerts_forgotten", message=message)
        if states is None:
            return None
        group, own = states
        return _joined(group, own or AlertingState(), instance)

    async def save(self, state: AlertingState, now: Moment, *, instance: str = "") -> None:
        """Replace the document of a process; log only the first of several failures in a row."""
        try:
            content = await asyncio.to_thread(_encoded, state, now)
            await self._state.put(self.key(instance), content)
        except Exception as error:  # noqa: BLE001 - a failing store must not stop the alerts
            if not self._failing:
                message = str(error) if isinstance(error, StateError) else type(error).__name__
                self._log.warning("alerts_not_saved", message=message)
            self._failing = True
        else:
            self._failing = False


def _hashed(described: object) -> str:
    return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()


def _states(
    documents: Mapping[str, Document], ours: str, now: Moment
) -> tuple[AlertingState, AlertingState | None] | None:
    """Return the state of the process that sent last, and our own (`None` if unreadable).

    Return `None` if no document can be read.
    """
    found: dict[str, AlertingState | None] = {}
    for key in sorted(documents, key=lambda key: _silence(documents[key])):
        found[key] = group = _readable(documents[key], now)
        if group is not None:
            if ours in documents and ours not in found:
                found[ours] = _readable(documents[ours], now)
            return group, found.get(ours)
    return None


def _silence(document: Document) -> float:
    """Return for how many seconds the writer of a document has sent nothing."""
    try:
        head = msgspec.json.decode(document.value, type=_Head)
    except (ValueError, RecursionError):
        return math.inf
    # A writer that has never sent ranks behind each that has sent within a day.
    silent = UNKNOWN_SECONDS if head.sent is None else max(0.0, head.written - head.sent)
    return document.age_seconds + silent


def _readable(document: Document, now: Moment) -> AlertingState | None:
    try:
        return _state(document, now)
    except (ValueError, RecursionError):
        return None


def _joined(group: AlertingState, own: AlertingState, instance: str) -> AlertingState:
    """Join the alerts of `group` about targets with the alerts of `own` about the process."""

    def of(alerts: Mapping[Key, Alert], others: Mapping[Key, Alert]) -> dict[Key, Alert]:
        mine = {key: one for key, one in others.items() if is_own(one)}
        return {key: one for key, one in alerts.items() if not is_own(one)} | {
            key: one for key, one in mine.items() if one.labels.get("instance", "") == instance
        }

    return AlertingState(
        alerts=Alerts(
            active=of(group.alerts.active, own.alerts.active),
            resolved=of(group.alerts.resolved, own.alerts.resolved),
        ),
        accepted={**own.accepted, **group.accepted},
        sent=own.sent,
    )


def _encoded(state: AlertingState, now: Moment) -> bytes:
    alerts = state.alerts
    saved = [_saved_alert(one, ()) for one in alerts.active.values()]
    for key, one in alerts.resolved.items():
        saved.append(_saved_alert(one, state.accepted.get(key, ())))
    return msgspec.json.encode(
        _Saved(version=VERSION, written=now.monotonic, sent=state.sent, alerts=saved)
    )


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
    """Return the state that a document holds.

    Raises:
        ValueError: The document is damaged or of another version, or an alert in it is impossible.
        RecursionError: The document is nested too deeply.
    """
    found = msgspec.json.decode(document.value, type=_Saved)
    if found.version != VERSION:
        raise ValueError("the document is of another version")
    away = document.age_seconds
    if not (abs(found.written) <= LATEST_UNIX and abs(found.sent or 0.0) <= LATEST_UNIX):
        raise ValueError("a time of the document is out of range")
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
    return AlertingState(
        alerts=Alerts(active=active, resolved=resolved),
        accepted=accepted,
        sent=None if found.sent is None else found.sent + ahead,
    )


def _alert(saved: _SavedAlert, now: Moment, *, away: float, ahead: float) -> Alert:
    """Return the alert that a document describes.

    Args:
        saved: The alert in the document.
        now: The current time on our clocks.
        away: Seconds for which nothing was evaluated.
        ahead: Seconds by which our monotonic clock is ahead of the writer's.

    Raises:
        ValueError: The times do not fit the phase, the value is no number, a label's name is
            invalid, or the texts are too long.
    """
    if (saved.fired is None) != (saved.phase is Phase.PENDING):
        raise ValueError("a pending alert has fired, or another one has not")
    if (saved.resolved is None) == (saved.phase is Phase.RESOLVED):
        raise ValueError("a resolved alert has no end, or another one has an end")
    if not all(map(_NAME.fullmatch, saved.labels)):
        raise ValueError("a label's name is invalid")
    texts = (*saved.labels.values(), *saved.annotations.values())
    if sum(map(len, texts)) > _MAX_CHARACTERS:
        raise ValueError("an alert's texts are too long")
    since = _moment(saved.since, now, ahead)
    if saved.phase is Phase.PENDING:
        # Nothing was evaluated while the exporter was stopped: that time does not count as pending.
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
    """Return a saved moment on our clocks, not later than now, as the wall clock may have been set.

    Raises:
        ValueError: The moment is out of range.
    """
    ours = moment.rebased(ahead)
    return Moment(unix=min(ours.unix, now.unix), monotonic=min(ours.monotonic, now.monotonic))
