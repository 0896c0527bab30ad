"""A source's calls: the client they are sent with, and many of them at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import PollError
from exporter.http import HttpClient


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.sources.base import SourceContext
    from exporter.sources.settings import SourceSettings


K = TypeVar("K")
A = TypeVar("A")


def http_client(settings: SourceSettings, context: SourceContext) -> HttpClient:
    """Make the client that a source's calls are sent with."""
    return HttpClient(settings.http_options(), clock=context.clock, random=context.random)


async def fan_out(asks: Mapping[K, Callable[[], Awaitable[A]]]) -> dict[K, A | PollError]:
    """Make all calls and return what became of each, in the order of the calls.

    They are started in their order; how many are under way at once is the guard's business. Any
    error but a `PollError` ends all of them.
    """
    outcomes: dict[K, A | PollError] = {}

    async def one(key: K, ask: Callable[[], Awaitable[A]]) -> None:
        try:
            outcomes[key] = await ask()
        except PollError as error:
            outcomes[key] = error

    async with asyncio.TaskGroup() as group:
        for key, ask in asks.items():
            group.create_task(one(key, ask))
    return {key: outcomes[key] for key in asks}
