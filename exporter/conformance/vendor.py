"""A server on the loopback interface that answers each request with the bytes a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Self

import msgspec


if TYPE_CHECKING:
    import ssl


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A received request; `target` is that of the request line, unchanged."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """The server's end of a connection."""

    writer: asyncio.StreamWriter
    closing: asyncio.Event


Step = Callable[[Wire], Awaitable[None]]


def reply(
    body: bytes = b"{}", *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Step:
    """Return a step that sends a valid reply and keeps the connection."""
    fields = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    return say(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)


def say(data: bytes, *, then: Step | None = None) -> Step:
    """Return a step that sends bytes unchanged, and then takes another step if given."""

    async def step(wire: Wire) -> None:
        wire.writer.write(data)
        await wire.writer.drain()
        if then is not None:
            await then(wire)

    return step


async def hang(wire: Wire) -> None:
    """Send nothing until the server closes."""
    await wire.closing.wait()


async def drop(wire: Wire) -> None:
    """Close the connection properly."""
    wire.writer.close()


async def reset(wire: Wire) -> None:
    """Reset the connection."""
    sock = wire.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.transport.abort()


def endless(head: bytes, piece: bytes, *, pause_seconds: float = 0.0) -> Step:
    """Return a step that sends a head and then pieces without end."""

    async def step(wire: Wire) -> None:
        wire.writer.write(head)
        while not wire.closing.is_set() and not wire.writer.transport.is_closing():
            wire.writer.write(piece)
            await wire.writer.drain()
            await asyncio.sleep(pause_seconds)

    return step


class Vendor:
    """The server; takes one step per request, in their order, and repeats the last step."""

    def __init__(self, *steps: Step, tls: ssl.SSLContext | None = None) -> None:
        self._steps = list(steps)
        self._tls = tls
        self._closing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._served = asyncio.Event()
        self._served.set()
        self._connections: set[asyncio.StreamWriter] = set()
        self.seen: list[Seen] = []
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/api"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and close all connections."""
        self._closing.set()
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._served.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self._served.clear()
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while not writer.transport.is_closing():
                    self.seen.append(await read_request(reader))
                    step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
                    await step(Wire(writer=writer, closing=self._closing))
        finally:
            writer.transport.abort()
            self._connections.discard(writer)
            if not self._connections:
                self._served.set()


async def read_request(reader: asyncio.StreamReader) -> Seen:
    """Return the next request of a connection, with its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method=method, target=target, headers=headers, body=body)
