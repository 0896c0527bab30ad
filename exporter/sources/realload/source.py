"""One account at a portal as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.http import HttpClient
from exporter.sources.realload.account import AccountFacts
from exporter.sources.realload.agents import Agents
from exporter.sources.realload.certificates import Certificates
from exporter.sources.realload.client import Http, RealLoadClient
from exporter.sources.realload.clusters import Clusters
from exporter.sources.realload.controllers import Controllers
from exporter.sources.realload.jobs import Jobs
from exporter.sources.realload.portal import Portal
from exporter.sources.realload.recorders import Recorders
from exporter.sources.realload.suites import Suites
from exporter.sources.realload.templates import Templates


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.sources.base import Explanation, Poll, SourceContext
    from exporter.sources.realload.settings import RealLoadSettings


class RealLoadSource:
    """Polls one account; each task is a module of this package."""

    def __init__(self, settings: RealLoadSettings, client: RealLoadClient, portal: Portal) -> None:
        self._settings = settings
        self._client = client
        agents, account = Agents(portal), AccountFacts(portal)
        controllers, clusters, suites = Controllers(portal), Clusters(portal), Suites(portal)
        recorders = Recorders(portal, account)
        self._polls: Mapping[str, Callable[[], Awaitable[Poll]]] = {
            "agents": agents.poll,
            "controllers": controllers.poll,
            "clusters": clusters.poll,
            "recorders": recorders.poll,
            "suites": suites.poll,
            "versions": account.poll,
            "jobs": Jobs(portal, agents).poll,
            "templates": Templates(portal).poll,
            "certificates": Certificates(portal).poll,
        }
        self._explains: Mapping[str, Callable[[str], Awaitable[Explanation]]] = {
            "agent": agents.explain,
            "controller": controllers.explain,
            "cluster": clusters.explain,
            "recorder": recorders.explain,
            "suite": suites.explain,
        }

    @property
    def settings(self) -> RealLoadSettings:
        """The settings it was made from."""
        return self._settings

    @property
    def up(self) -> bool:
        """Whether the newest call to the portal was answered validly."""
        return self._client.up

    @property
    def auth_failed(self) -> bool:
        """Whether calls are held back because the token was refused."""
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


def connect(settings: RealLoadSettings, context: SourceContext) -> RealLoadSource:
    """Make a source; sends nothing yet."""
    http = HttpClient(
        settings.http_options(),
        telemetry=context.telemetry,
        clock=context.clock,
        random=context.random,
    )
    return source_over(http, settings, context)


def source_over(http: Http, settings: RealLoadSettings, context: SourceContext) -> RealLoadSource:
    """Make a source over a client of one's own, such as one with another transport."""
    client = RealLoadClient(settings, context, http=http)
    portal = Portal(
        shard=context.shard,
        client=client,
        settings=settings,
        clock=context.clock,
        surprise=context.telemetry.surprise,
    )
    return RealLoadSource(settings, client, portal)
