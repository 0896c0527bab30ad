"""Visitors of the exporter: Prometheus in three ways, an open board, and clients that leave."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from tests.faults.churn import PASSWORD, USER
from tests.support.wait import until


if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tests.faults.churn import World


#: Simulated seconds between two scrapes, and between two requests for other pages.
SCRAPE_SECONDS, LOOK_SECONDS = 15.0, 60.0

#: The shortest real interval of requests, and that of repeated ones.
LEAST_SECONDS, AGAIN_SECONDS = 0.25, 1.0

#: The longest wait for a page to change: after refused calls, one call is sent at a time.
PATIENCE_SECONDS = 600.0

SCRAPES: tuple[Mapping[str, str], ...] = (
    {},
    {"Accept-Encoding": "gzip"},
    {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"},
)

PAGES = (
    "/",
    "/?q=soak",
    "/api/v1/targets",
    "/api/v1/sources",
    "/api/v1/problems",
    "/api/v1/alerts",
    "/sd/agents",
    "/-/ready",
    "/target?source=simulated-portal&kind=agent&id={id}",
    "/api/v1/history?source=simulated-portal&kind=agent&id={id}&span=24h",
)

_AGENT = re.compile(
    r'^loadfleet_agent_up\{[^}]*agent_id="(\d+)"[^}]*source="simulated-portal"', re.MULTILINE
)


class Answer(NamedTuple):
    """An answer of the exporter."""

    status: int
    body: bytes
    is_packed: bool

    def text(self) -> str:
        """Return the body as it was before it was packed."""
        return (gzip.decompress(self.body) if self.is_packed else self.body).decode()


class Visitors:
    """All visitors together.

    Attributes:
        answers: The number of answers by path, without the query, and status.
        wrong: The failed checks, each once.
    """

    def __init__(self, world: World, port: int) -> None:
        self._world = world
        self._port = port
        self._trust: ssl.SSLContext = world.authority.client()
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._login = {"Host": "localhost", "Authorization": f"Basic {login}"}
        self.answers: dict[tuple[str, int], int] = {}
        self.wrong: dict[str, None] = {}

    async def scrape(self) -> None:
        """Scrape for ever, over one connection as long as it stands."""
        pause = max(LEAST_SECONDS, self._world.seconds(SCRAPE_SECONDS))
        turns = itertools.cycle(SCRAPES)
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await self._connected()
                try:
                    while True:
                        await self._ask(reader, writer, "/metrics", next(turns))
                        await asyncio.sleep(pause)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Read one page after the other for ever, each over a new connection."""
        pause = max(LEAST_SECONDS, self._world.seconds(LOOK_SECONDS) / len(PAGES))
        for path in itertools.cycle(PAGES):
            newest = next(reversed(self._world.simulation.fleet.agents))
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.get(path.format(id=quote(newest)))
            await asyncio.sleep(pause)

    async def leave(self) -> None:
        """Connect for ever, and leave silently, in the request, or in the answer."""
        pause = max(LEAST_SECONDS, self._world.seconds(LOOK_SECONDS))
        for request in itertools.cycle((b"GET /met", self._request("/metrics"), b"")):
            with suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await self._connected()
                try:
                    writer.write(request)
                    await writer.drain()
                    await asyncio.sleep(pause / 8)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(pause)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask once.

        Raises:
            OSError: There is no answer.
        """
        reader, writer = await self._connected()
        try:
            return await self._ask(
                reader, writer, path, {"Accept-Encoding": "gzip", **(headers or {})}
            )
        finally:
            writer.transport.abort()

    async def page(self) -> str:
        """Return `/metrics`."""
        return (await self.get("/metrics")).text()

    async def value(self, family: str) -> float:
        """Return the sum of a family's samples, not a number if there are none."""
        found = [
            float(line.rpartition(" ")[2])
            for line in (await self.page()).splitlines()
            if re.match(rf"{family}[ {{]", line)
        ]
        return sum(found) if found else float("nan")

    async def shown(self, family: str, value: float, *, other: bool = False) -> None:
        """Wait until a family has a value, or another value than the given one.

        Raises:
            TimeoutError: The family did not get the value.
        """

        async def holds() -> bool:
            with suppress(OSError, asyncio.IncompleteReadError):
                if (await self.value(family) == value) is not other:
                    return True
            return await self._not_yet()

        await until(holds, timeout_seconds=PATIENCE_SECONDS)

    async def whole(self) -> str:
        """Wait until the page shows exactly the present agents, and return it.

        Raises:
            TimeoutError: The page never showed them.
        """
        page = ""

        async def holds() -> bool:
            nonlocal page
            with suppress(OSError, asyncio.IncompleteReadError):
                page = await self.page()
                if set(_AGENT.findall(page)) == self._world.shown():
                    return True
            return await self._not_yet()

        await until(holds, timeout_seconds=PATIENCE_SECONDS)
        return page

    async def _not_yet(self) -> bool:
        """Leave time to the daemon and to the vendors in this process: a page is large."""
        await asyncio.sleep(min(AGAIN_SECONDS, self._world.shortest_seconds / 2))
        return False

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._trust, limit=1 << 20
        )

    def _request(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        fields = {**self._login, **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        headers: Mapping[str, str],
    ) -> Answer:
        writer.write(self._request(path, headers))
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split()[1])
        body = await _body(reader, head)
        key = (path.partition("?")[0], status)
        self.answers[key] = self.answers.get(key, 0) + 1
        if status != 200 and not _may_be(status, path):
            self.wrong[f"{key[0]} was answered with {status}"] = None
        return Answer(status, body, "content-encoding: gzip" in head)


def _may_be(status: int, path: str) -> bool:
    """Return whether an answer with an error is right nevertheless."""
    # A new agent may be unknown yet (404), and a new source make the exporter unready (503).
    return (status == 404 and "id=" in path) or (status == 503 and path == "/-/ready")


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "content-length: " in head:
        return await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
