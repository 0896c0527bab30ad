"""A source whose calls all go through one guarded client: what every provider needs of it.

A provider hands in its client and, by name, what polls its tasks and what looks at its kinds of
targets; the rest of the protocol `exporter.sources.base.Source` is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exporter.http import HttpClient


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.lockout.guard import Guard
    from exporter.sources.base import Explanation, Poll, SourceContext
    from exporter.sources.settings import SourceSettings


class GuardedClient(Protocol):
    """A vendor's client, as far as its source has to know it."""

    guard: Guard

    @property
    def up(self) -> bool:
        """Whether the newest call was answered validly."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class GuardedSource:
    """One configured account or portal."""

    def __init__(
        self,
        settings: SourceSettings,
        client: GuardedClient,
        *,
        polls: Mapping[str, Callable[[], Awaitable[Poll]]],
        looks: Mapping[str, Callable[[str], Awaitable[Explanation]]],
    ) -> None:
        """Join a client with what is asked through it.

        Args:
            settings: What it was made from.
            client: Closed with the source.
            polls: What polls each task.
            looks: What looks at a target of each kind, by its id.
        """
        self._settings = settings
        self._client = client
        self._polls = polls
        self._looks = looks

    @property
    def settings(self) -> SourceSettings:
        """The settings it was made from."""
        return self._settings

    @property
    def up(self) -> bool:
        """Whether the newest call to the vendor's API was answered validly."""
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
        if kind not in self._looks:
            raise LookupError(f"there is no kind {kind!r}; there is: {', '.join(self._looks)}")
        return await self._looks[kind](target_id)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def http_client(settings: SourceSettings, context: SourceContext) -> HttpClient:
    """Make the client that a source's calls are sent with."""
    return HttpClient(settings.http_options(), clock=context.clock, random=context.random)
