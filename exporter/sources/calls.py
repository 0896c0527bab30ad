"""A source's calls: the client they are sent with, and many of them at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import PollError
from exporter.http import HttpClient, HttpOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.sources.base import SourceContext
    from exporter.sources.settings import SourceSettings


K = TypeVar("K")
A = TypeVar("A")

_CONNECT_TIMEOUT_SECONDS = 5.0


def http_client(settings: SourceSettings, context: SourceContext) -> HttpClient:
    """Make the client that a source's calls are sent with."""
    return HttpClient(http_options(settings), clock=context.clock, random=context.random)


def http_options(settings: SourceSettings) -> HttpOptions:
    """Return the limits and the TLS material for a source's calls."""
    timeout = settings.timeout
    return HttpOptions(
        connect_timeout=min(settings.connect_timeout or _CONNECT_TIMEOUT_SECONDS, timeout),
        read_timeout=min(settings.read_timeout or timeout, timeout),
        total_timeout=timeout,
        max_reply_bytes=settings.max_reply_bytes,
        retries=settings.retries,
        requests_per_minute=settings.requests_per_minute,
        connections=settings.concurrency,
        ca_file=settings.ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        client_cert_file=settings.client_cert_file,
        client_key_file=settings.client_key_file,
        proxy_url=settings.proxy,
    )


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
