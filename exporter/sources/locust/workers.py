"""Workers with stable names: a restarted worker gets a new id from its master, but keeps its name.

A worker is named after its host; the second worker of a host is `host/2`. A new worker takes the
name of a dead worker on the same host.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import msgspec

from exporter.sources.api import Agent, AgentState, Moment, Reason, measured
from exporter.sources.locust.families import WorkerLoad


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.sources.api import Surprised
    from exporter.sources.locust.replies import WorkerRow


MISSING = "missing"
BUSY = frozenset({"spawning", "running"})
_CONNECTED = BUSY | {"ready", "cleanup", "stopping", "stopped"}

_ID = re.compile(r"(.+)_[0-9a-f]{32}")


class Listed(msgspec.Struct, frozen=True):
    """The workers of a reply as agents, and the loads of the connected workers."""

    agents: tuple[Agent, ...]
    loads: tuple[WorkerLoad, ...]


class Names:
    """The names of the workers.

    Attributes:
        ids: The worker's current id by name.
        ignored: The ids of dead workers that have, or may have, a successor. They are remembered,
            because after a stop of the test only their rows may be left in the list.
    """

    def __init__(self, ids: Mapping[str, str], ignored: Iterable[str]) -> None:
        self.ids = dict(ids)
        self.ignored = set(ignored)

    def rows(self, listed: Iterable[WorkerRow]) -> dict[str, WorkerRow]:
        """Return the rows by the names of their workers.

        The row of a dead worker is left out if its successor is listed, too. It is also left out
        if the worker was never seen alive and its host has living workers, because one of them may
        be its successor.
        """
        rows = {row.id: row for row in listed if row.id}
        named = {name: rows[each] for name, each in self.ids.items() if each in rows}
        dead = {row.id for row in rows.values() if row.state == MISSING}
        alive = {host_of(row.id) for row in rows.values() if row.id not in dead}
        self.ignored &= dead
        for row in rows.values():
            host = host_of(row.id)
            if row in named.values():
                continue
            if row.id in self.ignored or (row.id in dead and host in alive):
                self.ignored.add(row.id)
                continue
            name = _free(host, named)
            if name in named:
                self.ignored.add(named[name].id)
            named[name] = row
            self.ids[name] = row.id
        return named

    def keep(self, names: Iterable[str]) -> None:
        """Forget all workers but these."""
        wanted = set(names)
        self.ids = {name: each for name, each in self.ids.items() if name in wanted}


def _free(host: str, named: Mapping[str, WorkerRow]) -> str:
    """Return the first name on a host that is unused or belongs to a dead worker."""
    for number in itertools.count(1):
        name = host if number == 1 else f"{host}/{number}"
        if name not in named or named[name].state == MISSING:
            return name
    raise AssertionError  # not reached: the loop is endless


def host_of(worker_id: str) -> str:
    """Return the host in a worker's id, or an id of an unknown form unchanged."""
    found = _ID.fullmatch(worker_id)
    return found[1] if found else worker_id


def readings(rows: Mapping[str, WorkerRow], now: Moment, surprise: Surprised) -> Listed:
    """Return the agents for some rows, and the loads of the connected ones."""
    agents, loads = [], []
    for name, row in rows.items():
        up = row.state in _CONNECTED
        if up or row.state == MISSING:
            state = AgentState(
                read_at=now,
                up=up,
                reason=None if up else Reason.NO_HEARTBEAT,
                busy=row.state in BUSY if up else None,
            )
        else:
            surprise("enum" if row.state else "missing_field")
            state = None
        agents.append(Agent(agent_id=name, agent=name, host=host_of(row.id), state=state))
        if up:
            # The row of a dead worker keeps its last values, which are not current any more.
            cpu_percent = measured(row.cpu_usage)
            loads.append(
                WorkerLoad(
                    agent_id=name,
                    agent=name,
                    users=measured(row.user_count),
                    cpu_ratio=None if cpu_percent is None else cpu_percent / 100,
                    memory_bytes=measured(row.memory_usage) or None,
                )
            )
    return Listed(tuple(agents), tuple(loads))
