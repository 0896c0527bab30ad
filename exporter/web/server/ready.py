"""A shortcut for ready responses, which are sent without a task, middleware and routes.

The page that Prometheus scrapes is ready in memory, and one system call can send all of it. A task,
middleware, routes and sending in slices would take as long again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class ReadyAnswer(NamedTuple):
    """A complete response.

    Attributes:
        start: The ASGI message that starts the response, with all headers including the length.
        body: Slices of the body. Slices that the socket does not take at once are sent one by one
            as the client reads.
    """

    start: Message
    body: Sequence[bytes | memoryview]


class Answering:
    """An app with the shortcut for ready responses.

    The app may have a method `ready` that returns a `ReadyAnswer` to a request, or `None`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._find: Callable[[Scope], ReadyAnswer | None] | None = getattr(app, "ready", None)
        self._had_its_turn = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if the server cancels it while stopping, uvicorn logs nothing."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    def ready(self, scope: Scope) -> ReadyAnswer | None:
        """Return the app's ready response, at most once in a turn of the event loop, else `None`.

        If several requests arrive together, the others take the normal way. So a crowd of clients
        neither blocks the event loop nor avoids the limit `web.max_requests`.
        """
        if self._find is None or self._had_its_turn:
            return None
        try:
            answer = self._find(scope)
        except Exception:  # noqa: BLE001 - the normal way raises it again and logs it
            return None
        if answer is not None:
            self._had_its_turn = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return answer

    def _next_turn(self) -> None:
        self._had_its_turn = False


def send_ready(cycle: RequestResponseCycle, app: Any) -> Any:
    """Send a ready response as far as the socket takes it.

    Args:
        cycle: uvicorn's object for the request.
        app: Answers the request; only an `Answering` can have a ready response.

    Returns:
        The app to run in a task: `app` itself, or an app that sends the rest of the response;
        `None` if the response is complete.
    """
    ready = isinstance(app, Answering) and _may_send(cycle)
    answer = app.ready(cycle.scope) if ready else None
    if answer is None:
        return app
    head = _head(cycle, answer.start)
    taken = _write(cycle.transport, [head, *answer.body])
    if taken < len(head):
        cycle.transport.write(head[taken:])
    rest = _Rest(_after(answer.body, max(0, taken - len(head))))
    cycle.expected_content_length = rest.length
    if rest.length:
        return Answering(rest)
    _run(cycle.send(_END))
    return None


_END = cast("Any", {"type": "http.response.body"})


class _Rest:
    """An app that sends the rest of a response as the client reads."""

    def __init__(self, body: Iterator[memoryview]) -> None:
        self._body = tuple(body)
        self.length = sum(map(len, self._body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        for piece in self._body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send(_END)


def _may_send(cycle: RequestResponseCycle) -> bool:
    """Return whether bytes may bypass the transport: no TLS, and no bytes that wait in it.

    A request that ends the connection takes the normal way, which reads no further requests.
    """
    transport = cycle.transport
    return (
        cycle.keep_alive
        and cycle.scope["scheme"] == "http"
        and not cycle.flow.write_paused
        and not transport.is_closing()
        and not transport.get_write_buffer_size()
    )


class _Gathering:
    """A transport that collects the bytes written to it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def _head(cycle: RequestResponseCycle, start: Message) -> bytes:
    """Return the head of a response as uvicorn would send it."""
    transport, gathering = cycle.transport, _Gathering()
    cycle.transport = cast("asyncio.Transport", gathering)
    try:
        _run(cycle.send(cast("Any", start)))
    finally:
        cycle.transport = transport
    return gathering.written


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that does not wait for anything."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("uvicorn waits although the client reads")


def _write(transport: asyncio.Transport, pieces: Sequence[bytes | memoryview]) -> int:
    """Write to the socket and return the number of bytes that it took."""
    try:
        return os.writev(transport.get_extra_info("socket").fileno(), pieces)
    except OSError:
        # The socket is full, the pieces are too many, or the client is gone. The transport handles
        # all of these.
        return 0


def _after(pieces: Sequence[bytes | memoryview], taken: int) -> Iterator[memoryview]:
    for piece in pieces:
        if taken < len(piece):
            yield memoryview(piece)[taken:]
        taken = max(0, taken - len(piece))
