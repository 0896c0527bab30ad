"""An Eggplant DAI server as a source: one call reads all agents and their runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.fleet.readings import Agent, Reading, Run
from exporter.sources.base import Explanation, Poll, Source
from exporter.sources.calls import http_client
from exporter.sources.decode import redacted_reply
from exporter.sources.eggplant.client import EggplantClient
from exporter.sources.eggplant.inventory import Inventory
from exporter.sources.eggplant.replies import AgentEntry


if TYPE_CHECKING:
    from exporter.http import HttpClient
    from exporter.sources.base import SourceContext
    from exporter.sources.eggplant.settings import EggplantSettings


def connect(
    settings: EggplantSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Make a source; sends nothing yet.

    Args:
        settings: The settings.
        context: Whatever else a source needs.
        http: The client to send calls with, such as one with another transport.
    """
    http = http or http_client(settings, context)
    client = EggplantClient(settings, context, http=http)
    server = _Server(settings, context, client)
    return Source(
        settings,
        client,
        tasks={"agents": server.poll},
        explainers={kind: partial(server.explain, kind) for kind in ("agent", "run")},
    )


class _Server:
    """Asks one server for all agents at once."""

    def __init__(
        self, settings: EggplantSettings, context: SourceContext, client: EggplantClient
    ) -> None:
        self._clock = context.clock
        self._client = client
        self._inventory = Inventory(settings, surprise=context.telemetry.surprise)
        known = (each for each in context.known.get("agents", ()) if isinstance(each, Agent))
        self._inventory.recall(known, context.clock.now())

    async def poll(self) -> Poll:
        """Read all agents, connected or missed, and their runs.

        Raises:
            PollError: The call failed, and nothing is said about anybody.
        """
        entries = await self._client.agents()
        return Poll(readings=self._inventory.update(entries, self._clock.now()))

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Read an agent or a run now.

        Raises:
            LookupError: There is no such target listed or remembered.
            PollError: The call failed.
        """
        bodies: list[bytes] = []
        entries = await self._client.agents(seen=bodies.append)
        for reading in self._inventory.update(entries, self._clock.now()):
            if target_id == _id_of(reading, kind):
                reply = _listed(redacted_reply(bodies[-1], list[AgentEntry]), kind, target_id)
                return Explanation(reading=reading, reply=reply)
        raise LookupError(f"there is no {kind} {target_id!r}")


def _id_of(reading: Reading, kind: str) -> str | None:
    if isinstance(reading, Agent) and kind == "agent":
        return reading.agent_id
    if isinstance(reading, Run) and kind == "run":
        return reading.run_id
    return None


def _listed(entries: Any, kind: str, target_id: str) -> Any:
    """Return the first entry about the target, `None` when it is no longer listed."""
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        execution = entry.get("execution_status")
        run_id = execution.get("id") if isinstance(execution, dict) else None
        if target_id == (entry.get("agent_name") if kind == "agent" else run_id):
            return entry
    return None
