"""Limits for clients: the time and size of a request, and the number of concurrent requests.

uvicorn limits only how long an idle connection is kept after a response. It limits neither how long
a request takes to arrive, nor the size of its head, nor how slowly a client reads the response.
With too many connections uvicorn refuses all requests, including those for health.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, cast

import structlog
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporter.web.access.gate import DEFAULT_HEADERS
from exporter.web.server.ready import send_ready


if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from exporter.web.server.room import Room


# The value of a Host header: a host, which may be empty, and optionally a colon and a port.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")

_WITHOUT_HOST = PlainTextResponse(
    "400 Bad Request. Send one Host header, with a host or host:port.\n",
    status_code=HTTPStatus.BAD_REQUEST,
    headers={**DEFAULT_HEADERS, "Connection": "close"},
)


_BUSY = PlainTextResponse(
    "503 Service Unavailable: too many requests are in flight. Try again.\n",
    status_code=HTTPStatus.SERVICE_UNAVAILABLE,
    headers={**DEFAULT_HEADERS, "Connection": "close", "Retry-After": "1"},
)


_log = structlog.get_logger("exporter.web")


class FencedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits; it closes the connection of a client that exceeds one.

    Attributes:
        request_seconds: How long a request may take to arrive, also the first of a connection.
        answer_seconds: How long a client may take to read a response that did not fit the socket.
        head_bytes: The size limit of a request's head.
    """

    request_seconds: ClassVar[float] = 10.0
    answer_seconds: ClassVar[float] = 30.0
    head_bytes: ClassVar[int] = 65_536

    def __init__(self, *args: Any, room: Room, always: Collection[str] = (), **kwargs: Any) -> None:
        """Prepare for a connection.

        Args:
            args: Arguments of uvicorn's protocol.
            room: The places of connections.
            always: The paths that are answered also while all places are busy.
            kwargs: Arguments of uvicorn's protocol.
        """
        super().__init__(*args, **kwargs)
        self.accepted: socket.socket | None = None
        self._room = room
        self._always = always
        self._request_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.accepted = None
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers and give the place back."""
        self._request_arrived()
        self._answer_read()
        self._room.leave(self)
        if self._answering is not None:
            # uvicorn informs only the newest request that its client is gone. With pipelining, the
            # request that is being answered may be an older one.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process a part of a request, or close the connection if the head is too large."""
        if self._idle:
            self._expect_request()
            self._room.ask(self)
            self._head_size += len(data)
            if self._head_size > self.head_bytes:
                self.transport.abort()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Start the response, or a refusal, and reset the count of the head's size."""
        self._head_size = 0
        last = self._room.is_busy and self._idle
        if not last:
            self._room.work(self)
        app = self.app
        self.app = self._refusal(last=last) or app
        try:
            super().on_headers_complete()
        finally:
            self.app = app
        if last:
            self._room.rest(self)
            self.cycle.keep_alive = False

    def _refusal(self, *, last: bool) -> ASGIApp | None:
        """Return the app that refuses the request, `None` to answer it.

        A request without exactly one valid Host header gets 400 (RFC 9112, 3.2), and the connection
        is closed: a proxy in front may see the following bytes as part of another request.

        Args:
            last: Whether all places are busy, so that requests except for `always` get 503.
        """
        hosts = [value for name, value in self.headers if name == b"host"]
        old = self.parser.get_http_version() in ("1.0", "0.9")
        sound = old if not hosts else len(hosts) == 1 and _HOST.fullmatch(hosts[0].strip(b" \t"))
        if not sound:
            return _WITHOUT_HOST
        if last and self.url.partition(b"?")[0].decode("latin-1") not in self._always:
            _log.warning(
                "requests_refused",
                message=f"{self._room.places} connections have a request in flight, the limit",
            )
            return _BUSY
        return None

    def on_message_complete(self) -> None:
        """Stop waiting for the request."""
        self._request_arrived()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start to wait for the client to read."""
        super().pause_writing()
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read, if the response is complete."""
        super().resume_writing()
        if self._idle:
            self._answer_read()

    def on_response_complete(self) -> None:
        """Stop waiting for the client to read, if nothing is left to read."""
        if not self.flow.write_paused:
            self._answer_read()
        super().on_response_complete()
        if not self.pipeline:
            self._room.rest(self)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; abort it if the client has not read its response."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request, without a task if the response is ready and no other request waits."""
        self._answering = cycle
        rest = app if self.pipeline else send_ready(cycle, app)
        if rest is not None:
            super()._start_asgi_task(cycle, rest)

    @property
    def is_asking(self) -> bool:
        """True if the client has sent something that the server has not read yet."""
        sock = self.accepted or self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:  # the connection ends
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_unread(self) -> bool:
        """True if the client has not read all of its last response yet."""
        return self.accepted is None and self.transport.get_write_buffer_size() > 0

    def cut(self) -> None:
        """Close the connection at once, without a TLS shutdown, to free its descriptor."""
        if self.accepted is None:
            self.transport.abort()
            return
        # The event loop owns the socket already, and notices its end.
        with contextlib.suppress(OSError):
            self.accepted.shutdown(socket.SHUT_RDWR)

    @property
    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None at first, despite uvicorn's type
        return cycle is None or cycle.response_complete

    def _expect_request(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _request_arrived(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _answer_read(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


class LimitRequests:
    """A middleware that answers with 503 while `limit` requests are in flight; 0 means no limit."""

    def __init__(self, app: ASGIApp, limit: int, *, until_read: bool = True) -> None:
        """Put a limit in front of an app.

        Args:
            app: Answers the requests.
            limit: The limit.
            until_read: Whether a request counts until the client has read the response, which takes
                memory until then; if false, it counts until the response is made.
        """
        self._app = app
        self._limit = limit
        self._until_read = until_read
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if self._limit and self._in_flight >= self._limit:
            refusal = PlainTextResponse(
                f"503 Service Unavailable: {self._limit} requests are in flight, which is the "
                "limit (web.max_requests). Try again.\n",
                status_code=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": "1"},
            )
            await refusal(scope, receive, send)
            return
        self._in_flight += 1
        counted = True

        def give_back() -> None:
            nonlocal counted
            self._in_flight -= counted
            counted = False

        async def send_in_time(message: Message) -> None:
            if not self._until_read:
                give_back()
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                # The server sends the last message only after the client has read the others.
                await send({**message, "more_body": True})
                message = {"type": "http.response.body"}
            await send(message)

        try:
            # Yield once, so that all requests that arrive together are counted before the first of
            # them is answered: most responses are made without another pause.
            await asyncio.sleep(0)
            await self._app(scope, receive, send_in_time)
        finally:
            give_back()
