"""An alert: an alert of the table whose condition holds, or held, for one set of labels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType

import msgspec

from exporter.alerts.expression import Labels
from exporter.clock import Moment


@unique
class Phase(StrEnum):
    """Where an alert is on its way."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as it was at the newest evaluation.

    Attributes:
        name: The alert's name in the table.
        labels: All labels, `alertname` and `severity` included, external ones not.
        value: What the condition left when it last held.
        since: When the condition began to hold.
        fired: When it had held for long enough.
        lapsed: Since when the condition no longer holds, though the alert is kept firing.
        resolved: When it ended.
        restored: Whether it comes from before a restart and was not seen since.
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


#: The labels of an alert, by which it is told from others.
Key = Labels


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts after an evaluation.

    Attributes:
        active: Pending and firing ones.
        resolved: Those that fired and ended and may not have been told to everybody. One that is
            pending again is in both; one that fires again no longer is.
    """

    active: Mapping[Key, Alert] = MappingProxyType({})
    resolved: Mapping[Key, Alert] = MappingProxyType({})

    def announced(self) -> dict[Key, Alert]:
        """Return what receivers are told: what fires, then what has ended."""
        firing = {key: one for key, one in self.active.items() if one.phase is Phase.FIRING}
        return {**firing, **self.resolved}
