"""The usual values of a source's targets, for comparison with the newest readings.

The usual values come from the history and are added to the readings. So everything that gets
readings has them: metrics, alerts, pages, a standby, and the process after a restart.
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
        suites: The baselines of suites, by id.
        pings: How long the vendor's calls to agents usually take, in seconds, by agent id.
    """

    suites: Mapping[str, Usual] = {}
    pings: Mapping[str, float] = {}

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Usuals:
        """Return the usual values in earlier readings, until the history has been read."""
        suites, pings = {}, {}
        for reading in readings:
            match reading:
                case Suite(suite_id=suite_id, usual=Usual() as usual):
                    suites[suite_id] = usual
                case Agent(agent_id=agent_id, usual_ping_seconds=float(seconds)):
                    pings[agent_id] = seconds
        return cls(suites=suites, pings=pings)

    def added_to(self, reading: R) -> R:
        """Return a reading with the usual values of its target, or without if they are unknown."""
        match reading:
            case Suite(suite_id=suite_id, usual=earlier):
                usual = self.suites.get(suite_id)
                if usual != earlier:
                    return msgspec.structs.replace(reading, usual=usual)
            case Agent(agent_id=agent_id, usual_ping_seconds=before):
                seconds = self.pings.get(agent_id)
                if seconds != before:
                    return msgspec.structs.replace(reading, usual_ping_seconds=seconds)
        return reading
