"""Workers by names that outlive their starts: a restarted worker has a new id at its master.

A worker is called by its host, and the second of a host as `host/2`. One that comes takes the place
of one that went on the same host.
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
    """The workers of a reply: agents, and the loads of those that are connected."""

    agents: tuple[Agent, ...]
    loads: tuple[WorkerLoad, ...]


class Names:
    """Gives each worker's row its name.

    Attributes:
        ids: By name the id that the worker has now.
        ignored: The ids of dead workers that have, or may have, a successor; a stop of the test
            leaves nothing but their rows in the list.
    """

    def __init__(self, ids: Mapping[str, str], ignored: Iterable[str]) -> None:
        self.ids = dict(ids)
        self.ignored = set(ignored)

    def rows(self, listed: Iterable[WorkerRow]) -> dict[str, WorkerRow]:
        """Return the rows by the names of their workers.

        The row of a dead worker whose successor is there as well is left out. So is that of one
        that was never seen alive, on a host with others: it may have a successor among them.
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
        """Forget the workers that are none of these."""
        wanted = set(names)
        self.ids = {name: each for name, each in self.ids.items() if name in wanted}


def _free(host: str, named: Mapping[str, WorkerRow]) -> str:
    """Return the first name on a host that no worker has, or a dead one."""
    for number in itertools.count(1):
        name = host if number == 1 else f"{host}/{number}"
        if name not in named or named[name].state == MISSING:
            return name
    raise AssertionError  # the count has no end


def host_of(worker_id: str) -> str:
    """Return the host's name of a worker; an id of another form is its own name."""
    found = _ID.fullmatch(worker_id)
    return found[1] if found else worker_id


def readings(rows: Mapping[str, WorkerRow], now: Moment, surprise: Surprised) -> Listed:
    """Return the agents of the rows, and the loads of those that are connected."""
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
            # A dead worker keeps its last values, which are true no more.
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
