"""The exporter with planted leaks, named by `$LEAKS`, which the soak test must find.

LEAKS=memory,descriptor,thread python -m tests.faults.soak --hours 5 --program tests.faults.leaky
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from exporter.cli import main
from exporter.errors import StateError
from exporter.fleet.readings import Agent
from exporter.fleet.store import Store
from exporter.polling.reload import Reloader


if TYPE_CHECKING:
    from exporter.fleet.store import Snapshot


#: The memory that a `bytes` takes beyond its length.
_HEADER_BYTES = 33

#: The time within which troubles of the store count as one.
_TROUBLE_SECONDS = 10.0

_KEPT: list[bytes] = []


def leak_memory() -> None:
    """Keep a hundred bytes, or `$LEAK_BYTES`, of each new agent."""
    put, newest = Store.put, set[str]()
    size = int(os.environ.get("LEAK_BYTES", "100")) - _HEADER_BYTES

    def leaking(self: Store, snapshot: Snapshot) -> None:
        nonlocal newest
        agents = {each.agent_id for each in snapshot.readings if isinstance(each, Agent)}
        if snapshot.source == "simulated-portal" and agents:
            _KEPT.extend(bytes(size) for _ in agents - newest)
            newest = agents
        put(self, snapshot)

    _plant(Store, "put", leaking)


def leak_descriptor() -> None:
    """Keep a descriptor with each reload."""
    reload = Reloader.reload

    async def leaking(self: Reloader, **rest: Any) -> None:
        os.open(os.devnull, os.O_RDONLY)
        await reload(self, **rest)

    _plant(Reloader, "reload", leaking)


def leak_thread() -> None:
    """Keep a thread with each trouble of the store."""
    begin, last = StateError.__init__, 0.0

    def leaking(self: StateError, *arguments: Any, **rest: Any) -> None:
        nonlocal last
        now, before = time.monotonic(), last
        last = now
        if now - before > _TROUBLE_SECONDS:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        begin(self, *arguments, **rest)

    _plant(StateError, "__init__", leaking)


def _plant(owner: type, name: str, leaking: object) -> None:
    setattr(owner, name, leaking)


LEAKS = {"memory": leak_memory, "descriptor": leak_descriptor, "thread": leak_thread}

if __name__ == "__main__":
    for name in filter(None, os.environ.get("LEAKS", "").split(",")):
        LEAKS[name]()
    sys.exit(main())
