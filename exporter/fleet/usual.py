"""Usual values of the targets of a source, with which its readings are compared.

It comes from a history, and goes into the readings themselves. So all who are given readings have
it: the metrics, the alerts, the pages, a standby, and the process after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Agent, Suite, Usual


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.fleet.changes import R
    from exporter.fleet.readings import Reading


class Usuals(msgspec.Struct, frozen=True, kw_only=True):
    """The usual values of a source's targets.

    Attributes:
        suites: Of suites, by id.
        pings: Of agents, by id: how long the vendor's calls to them take, in seconds.
    """

    suites: Mapping[str, Usual] = {}
    pings: Mapping[str, float] = {}

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Usuals:
        """Return what readings tell, in the place of a history that has not been read yet."""
        suites, pings = {}, {}
        for reading in readings:
            match reading:
                case Suite(suite_id=suite_id, usual=Usual() as usual):
                    suites[suite_id] = usual
                case Agent(agent_id=agent_id, usual_ping_seconds=float(seconds)):
                    pings[agent_id] = seconds
        return cls(suites=suites, pings=pings)

    def added_to(self, reading: R) -> R:
        """Return a reading that says what is usual of its target, or that nothing is."""
        match reading:
            case Suite(suite_id=suite_id, usual=told):
                usual = self.suites.get(suite_id)
                if usual != told:
                    return msgspec.structs.replace(reading, usual=usual)
            case Agent(agent_id=agent_id, usual_ping_seconds=before):
                seconds = self.pings.get(agent_id)
                if seconds != before:
                    return msgspec.structs.replace(reading, usual_ping_seconds=seconds)
        return reading
