"""A server in front of a simulated vendor that injects faults and forwards all other requests.

The server listens on a real socket, so that every fault of a connection can be injected. The vendor
behind it is an ASGI application in the same process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

import msgspec

from exporter.conformance.vendor import Seen, Step, Wire, read_request, reply


if TYPE_CHECKING:
    import ssl
    from collections.abc import MutableMapping
    from types import TracebackType

    from starlette.applications import Starlette


class Answer(msgspec.Struct, kw_only=True):
    """A reply of the vendor."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""


#: Forwards the request to the vendor and returns its reply.
Ask = Callable[[], Awaitable[Answer]]

#: A fault for a request, in place of the vendor's reply.
Treatment = Callable[[Wire, Ask], Awaitable[None]]

#: A fault for a new connection, which is closed afterwards.
Greeting = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def instead(step: Step) -> Treatment:
    """Return a treatment that takes a step without forwarding the request to the vendor."""

    async def treat(wire: Wire, ask: Ask) -> None:
        del ask
        await step(wire)

    return treat


def changed(change: Callable[[bytes], bytes]) -> Treatment:
    """Return a treatment that changes the body of the vendor's reply."""

    async def treat(wire: Wire, ask: Ask) -> None:
        answer = await ask()
        await answered(answer, change(answer.body))(wire)

    return treat


def changed_json(change: Callable[[Any], bytes]) -> Treatment:
    """Return a treatment that changes the JSON in the vendor's reply; other bodies stay."""

    def body(content: bytes) -> bytes:
        try:
            value = json.loads(content)
        except ValueError:
            return content
        return change(value)

    return changed(body)


def judged(step: Step) -> Treatment:
    """Return a treatment that forwards the request and then takes a step in place of the reply."""

    async def treat(wire: Wire, ask: Ask) -> None:
        await ask()
        await step(wire)

    return treat


def line(seen: Seen) -> str:
    """Return a request as one line of text, to match it with expressions."""
    url = urlsplit(seen.target)  # a request to a proxy has a full URL
    query = f"?{url.query}" if url.query else ""
    return f"{seen.method} {url.path}{query} {seen.body.decode()}"


class Front:
    """The server in front of a vendor.

    Attributes:
        treatment: The fault for requests; `None` forwards them to the vendor.
        struck: Returns whether to inject the fault into a request; by default into all.
        greeting: The fault for new connections; takes precedence over everything else.
        tls: The server's TLS context for new connections; `None` for plain HTTP.
        before: Called with each request before anything else.
        seen: The received requests.
        treated: The number of requests with an injected fault.
        port: The port at which the server listens.
    """

    def __init__(self, app: Starlette, *, tls: ssl.SSLContext | None = None) -> None:
        self.treatment: Treatment | None = None
        self.struck: Callable[[Seen], bool] = lambda _: True
        self.greeting: Greeting | None = None
        self.tls = tls
        self.before: Callable[[Seen], None] = lambda _: None
        self.seen: list[Seen] = []
        self.treated = 0
        self.port = 0
        self._scheme = "https" if tls else "http"
        self._socket = self._bound()
        self._accepting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._vendor = app

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()
        self._socket.close()

    async def open(self) -> None:
        """Start to listen, always on the same port."""
        if self._accepting is None:
            self._socket.listen()
            self._accepting = asyncio.create_task(self._accept())

    async def refuse(self) -> None:
        """Stop listening and close all connections, but keep the port."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
            self._socket.close()
            self._socket = self._bound()
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close all connections."""
        self._closing.set()
        self._closing = asyncio.Event()
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        self.port = bound.getsockname()[1]
        return bound

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._socket)
            task = asyncio.create_task(self._serve(accepted))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        tls = None if self.greeting else self.tls
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=tls)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            wire = Wire(writer=writer, closing=self._closing)
            try:
                if self.greeting is not None:
                    await self.greeting(reader, writer)
                    return
                while not writer.transport.is_closing():
                    await self._handle(await read_request(reader), wire)
            finally:
                writer.transport.abort()

    async def _handle(self, seen: Seen, wire: Wire) -> None:
        self.seen.append(seen)
        self.before(seen)

        async def ask() -> Answer:
            return await _ask(self._vendor, seen)

        if self.treatment is None or not self.struck(seen):
            answer = await ask()
            await answered(answer, answer.body)(wire)
            return
        self.treated += 1
        await self.treatment(wire, ask)


async def _ask(app: Starlette, seen: Seen) -> Answer:
    """Call an ASGI application with a request and return its reply.

    Raises:
        ConnectionAbortedError: The application returned without a reply.
    """
    url = urlsplit(seen.target)  # a request to a proxy has a full URL
    answer = Answer()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": seen.method,
        "path": unquote(url.path),
        "query_string": url.query.encode(),
        "headers": [(name.encode(), text.encode()) for name, text in seen.headers.items()],
        "client": ("127.0.0.1", 1),
    }

    messages: list[dict[str, Any]] = [{"type": "http.request", "body": seen.body}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    if not answer.status:
        raise ConnectionAbortedError
    return answer


def answered(answer: Answer, body: bytes) -> Step:
    """Return a step that sends the vendor's reply with another body."""
    headers = {name: text for name, text in answer.headers.items() if name != "content-length"}
    return reply(body, status=answer.status, headers=headers)
