"""An Eggplant DAI server as a source: one call tells of all agents and their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.http import HttpClient
from exporter.readings import Agent, Reading, Run
from exporter.sources.base import Explanation, Poll
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.eggplant.client import EggplantClient
from exporter.sources.eggplant.fleet import Fleet
from exporter.sources.eggplant.replies import AgentEntry
from exporter.sources.shown import shown


if TYPE_CHECKING:
    from exporter.sources.base import SourceContext
    from exporter.sources.eggplant.settings import EggplantSettings


class EggplantSource:
    """Polls one server."""

    def __init__(
        self, settings: EggplantSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        self._settings = settings
        self._clock = context.clock
        self._client = EggplantClient(settings, context, http=http)
        self._fleet = Fleet(
            expected=settings.expected_agents,
            remember_for=settings.remember_for,
            run_linger=settings.run_linger,
            wanted=settings.wanted,
            surprise=context.telemetry.surprise,
        )

    @property
    def settings(self) -> EggplantSettings:
        """The settings it was made from."""
        return self._settings

    @property
    def up(self) -> bool:
        """Whether the newest call to the server was answered validly."""
        return self._client.up

    @property
    def auth_failed(self) -> bool:
        """Whether calls are held back because the credentials were refused."""
        return self._client.guard.auth_failed

    @property
    def blocked(self) -> bool:
        """Whether no call may be sent now."""
        return self._client.guard.blocked

    async def poll(self, task: str) -> Poll:
        """Read all agents, connected or missed, and their runs.

        Raises:
            LookupError: There is no such task.
            PollError: The call failed, and nothing is said about anybody.
        """
        if task not in self._settings.TASKS:
            raise LookupError(f"there is no task {task!r}")
        entries = await self._client.agents()
        return Poll(readings=self._fleet.look(entries, self._clock.now()))

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Look at an agent or a run now.

        Raises:
            LookupError: There is no such kind, or no such target listed or remembered.
            PollError: The call failed.
        """
        if kind not in EGGPLANT.kinds:
            known = ", ".join(EGGPLANT.kinds)
            raise LookupError(f"there is no kind {kind!r}; there is: {known}")
        bodies: list[bytes] = []
        entries = await self._client.agents(seen=bodies.append)
        for reading in self._fleet.look(entries, self._clock.now()):
            if target_id == _id_of(reading, kind):
                reply = _listed(shown(bodies[-1], list[AgentEntry]), kind, target_id)
                return Explanation(reading=reading, reply=reply)
        raise LookupError(f"there is no {kind} {target_id!r}")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def connect(settings: EggplantSettings, context: SourceContext) -> EggplantSource:
    """Make a source; sends nothing yet."""
    http = HttpClient(
        settings.http_options(),
        telemetry=context.telemetry,
        clock=context.clock,
        random=context.random,
    )
    return EggplantSource(settings, context, http=http)


def _id_of(reading: Reading, kind: str) -> str | None:
    if isinstance(reading, Agent) and kind == "agent":
        return reading.agent_id
    if isinstance(reading, Run) and kind == "run":
        return reading.run_id
    return None


def _listed(entries: Any, kind: str, target_id: str) -> Any:
    """Return the first entry that tells of the target, `None` when it is no longer listed."""
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        execution = entry.get("execution_status")
        run_id = execution.get("id") if isinstance(execution, dict) else None
        if target_id == (entry.get("agent_name") if kind == "agent" else run_id):
            return entry
    return None
