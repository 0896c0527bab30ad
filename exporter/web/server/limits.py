"""Limits for clients: on how long they hold a connection, and on how many ask at once.

uvicorn limits how long an idle connection is kept after an answer, but neither how long a
request may take to arrive nor how large its head may grow nor how slowly an answer may be read.
With too many connections it refuses the requests of all of them, those on health included.
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


# The host may be empty; what follows a colon is a port. No name holds a slash, a blank or an `@`.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")

_WITHOUT_HOST = PlainTextResponse(
    "400 Bad Request. Send one Host header, with a host or host:port.\n",
    status_code=HTTPStatus.BAD_REQUEST,
    headers={**DEFAULT_HEADERS, "Connection": "close"},
)


_BUSY = PlainTextResponse(
    "503 Service Unavailable: too many requests are under way. Try again.\n",
    status_code=HTTPStatus.SERVICE_UNAVAILABLE,
    headers={**DEFAULT_HEADERS, "Connection": "close", "Retry-After": "1"},
)


_log = structlog.get_logger("exporter.web")


class FencedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits for slow clients; who exceeds one is cut off.

    Attributes:
        request_seconds: How long a request may take to arrive, also the first of a connection.
        answer_seconds: How long an answer may take to be read, once it did not fit the socket.
        head_bytes: How large a request may be before its head is complete.
    """

    request_seconds: ClassVar[float] = 10.0
    answer_seconds: ClassVar[float] = 30.0
    head_bytes: ClassVar[int] = 65_536

    def __init__(self, *args: Any, room: Room, always: Collection[str] = (), **kwargs: Any) -> None:
        """Prepare for a connection.

        Args:
            args: For uvicorn's protocol.
            room: Has a place for it.
            always: The paths that are answered also when all places are busy.
            kwargs: For uvicorn's protocol.
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
            # uvicorn tells only the newest request that its client is gone, not the one answered.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, unless its head has grown too large."""
        if self._idle:
            self._expect_request()
            self._room.ask(self)
            self._head_size += len(data)
            if self._head_size > self.head_bytes:
                self.transport.abort()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Forget the size of the head, and refuse what is not to be answered."""
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
        """Return what answers 400 to a request that does not name one host (RFC 9112, 3.2).

        A proxy in front may read such a request in another way than we do, so what follows it on
        the connection is not read.

        Args:
            last: Whether all places are busy, so that 503 is the answer to most others.
        """
        hosts = [value for name, value in self.headers if name == b"host"]
        old = self.parser.get_http_version() in ("1.0", "0.9")
        sound = old if not hosts else len(hosts) == 1 and _HOST.fullmatch(hosts[0].strip(b" \t"))
        if not sound:
            return _WITHOUT_HOST
        if last and self.url.partition(b"?")[0].decode("latin-1") not in self._always:
            _log.warning(
                "requests_refused", message=f"{self._room.places} connections are busy, the limit"
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
        """Stop waiting for the client to read, if that was all."""
        super().resume_writing()
        if self._idle:
            self._answer_read()

    def on_response_complete(self) -> None:
        """Stop waiting for the client to read, if it has."""
        if not self.flow.write_paused:
            self._answer_read()
        super().on_response_complete()
        if not self.pipeline:
            self._room.rest(self)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; do not wait for a client that left its answer unread."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer, at once if all is ready and no other request waits behind."""
        self._answering = cycle
        rest = app if self.pipeline else send_ready(cycle, app)
        if rest is not None:
            super()._start_asgi_task(cycle, rest)

    @property
    def is_asking(self) -> bool:
        """True if something came from the client that was not read yet."""
        sock = self.accepted or self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:  # it ends
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_unread(self) -> bool:
        """True if the client has not taken all of its last answer yet."""
        return self.accepted is None and self.transport.get_write_buffer_size() > 0

    def cut(self) -> None:
        """End at once, without a goodbye: who has no place has no descriptor either."""
        if self.accepted is None:
            self.transport.abort()
            return
        # The loop has the socket already, and sees that it ends.
        with contextlib.suppress(OSError):
            self.accepted.shutdown(socket.SHUT_RDWR)

    @property
    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None at first, whatever its type says
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
    """Answers 503 at once while `limit` requests are under way, so that no queue can grow.

    A limit of 0 is none.
    """

    def __init__(self, app: ASGIApp, limit: int, *, until_read: bool = True) -> None:
        """Put a limit in front of an app.

        A request is under way until its answer was read, since that long the answer takes memory;
        without `until_read`, until it was made.
        """
        self._app = app
        self._limit = limit
        self._until_read = until_read
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if self._limit and self._under_way >= self._limit:
            refusal = PlainTextResponse(
                f"503 Service Unavailable: {self._limit} requests are under way, which is the "
                "limit (web.max_requests). Try again.\n",
                status_code=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": "1"},
            )
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        counted = True

        def give_back() -> None:
            nonlocal counted
            self._under_way -= counted
            counted = False

        async def send_in_time(message: Message) -> None:
            if not self._until_read:
                give_back()
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                # The server lets a last message wait until the client has read those before it.
                await send({**message, "more_body": True})
                message = {"type": "http.response.body"}
            await send(message)

        try:
            # Most answers are made in one go: requests that arrive together have to be counted
            # before the first of them runs to its end.
            await asyncio.sleep(0)
            await self._app(scope, receive, send_in_time)
        finally:
            give_back()
