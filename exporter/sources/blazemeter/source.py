"""A BlazeMeter account as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.http import HttpClient
from exporter.sources.blazemeter.client import BlazeMeterClient
from exporter.sources.blazemeter.inventory import AgentInventory
from exporter.sources.blazemeter.tracker import RunTracker


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.sources.base import Explanation, Poll, SourceContext
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


class BlazeMeterSource:
    """Polls one API key's workspaces and runs."""

    def __init__(
        self, settings: BlazeMeterSettings, context: SourceContext, *, client: BlazeMeterClient
    ) -> None:
        self._settings = settings
        self._client = client
        surprise = context.telemetry.surprise
        agents = AgentInventory(settings, client, clock=context.clock, surprise=surprise)
        runs = RunTracker(
            settings,
            client,
            clock=context.clock,
            surprise=surprise,
            location_names=agents.location_names,
        )
        self._polls: Mapping[str, Callable[[], Awaitable[Poll]]] = {
            "runs": runs.poll,
            "agents": agents.poll,
        }
        self._explains: Mapping[str, Callable[[str], Awaitable[Explanation]]] = {
            "agent": agents.explain,
            "run": runs.explain_run,
            "suite": runs.explain_suite,
        }

    @property
    def settings(self) -> BlazeMeterSettings:
        """The settings it was made from."""
        return self._settings

    @property
    def up(self) -> bool:
        """Whether the newest call was answered validly."""
        return self._client.up

    @property
    def auth_failed(self) -> bool:
        """Whether calls are held back because the key was refused."""
        return self._client.guard.auth_failed

    @property
    def blocked(self) -> bool:
        """Whether no call may be sent now."""
        return self._client.guard.blocked

    async def poll(self, task: str) -> Poll:
        """Read everything a task covers.

        Raises:
            LookupError: There is no such task.
            PollError: Nothing could be learnt.
        """
        return await self._polls[task]()

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Look at one known target now.

        Raises:
            LookupError: There is no such kind, or no such target in the inventory.
            PollError: The look failed.
        """
        if kind not in self._explains:
            raise LookupError(f"there is no kind {kind!r}; there is: {', '.join(self._explains)}")
        return await self._explains[kind](target_id)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def connect(settings: BlazeMeterSettings, context: SourceContext) -> BlazeMeterSource:
    """Make a source; sends nothing yet."""
    http = HttpClient(
        settings.http_options(),
        telemetry=context.telemetry,
        clock=context.clock,
        random=context.random,
    )
    return source_over(http, settings, context)


def source_over(
    http: HttpClient, settings: BlazeMeterSettings, context: SourceContext
) -> BlazeMeterSource:
    """Make a source over a client of one's own, such as one with another transport."""
    client = BlazeMeterClient(settings, context, http=http)
    return BlazeMeterSource(settings, context, client=client)
