"""Send what is ready at once, without a task and the app's layers in between.

The page that Prometheus asks for is finished bytes. To start a task, to pass middleware and routes
and to hand over slice by slice takes as long as the system needs to take all of them in one call.
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
    """An answer that needs no more than to be sent.

    Attributes:
        start: The message that begins it, with all headers; among them is the body's length.
        body: Slices; those that the system does not take at once wait for the client one by one.
    """

    start: Message
    body: Sequence[bytes | memoryview]


class Answering:
    """An app as the server calls it: for what is ready, and in a task for all else.

    An app may have a method `ready` that returns a `ReadyAnswer` to a request, or `None`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._find: Callable[[Scope], ReadyAnswer | None] | None = getattr(app, "ready", None)
        self._had_its_turn = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; uvicorn would log a traceback for each one that a stop cancels."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    def ready(self, scope: Scope) -> ReadyAnswer | None:
        """Return the app's answer if it is ready, once in a turn of the event loop.

        Of requests that come together the others go the usual way, where they are counted: a crowd
        must neither hold the loop nor escape `web.max_requests`.
        """
        if self._find is None or self._had_its_turn:
            return None
        try:
            answer = self._find(scope)
        except Exception:  # noqa: BLE001 - the app meets it again, answers, and has it logged
            return None
        if answer is not None:
            self._had_its_turn = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return answer

    def _next_turn(self) -> None:
        self._had_its_turn = False


def send_ready(cycle: RequestResponseCycle, app: Any) -> Any:
    """Send a ready answer as far as the socket takes it.

    Args:
        cycle: That of the request whose turn it is.
        app: What is to answer; is asked for a ready answer if it is an `Answering`.

    Returns:
        What is to run in a task: the app itself, or what sends the rest; `None` if all is sent.
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
    """Sends the rest of an answer, as slowly as the client reads."""

    def __init__(self, body: Iterator[memoryview]) -> None:
        self._body = tuple(body)
        self.length = sum(map(len, self._body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        for piece in self._body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send(_END)


def _may_send(cycle: RequestResponseCycle) -> bool:
    """Return whether bytes may go past the transport: it has none itself and encrypts none.

    What ends the connection is left to the usual way, on which requests behind it are not read.
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
    """As much of a transport as it takes to write a head."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def _head(cycle: RequestResponseCycle, start: Message) -> bytes:
    """Have uvicorn write a head, and return it instead of sending it."""
    transport, gathering = cycle.transport, _Gathering()
    cycle.transport = cast("asyncio.Transport", gathering)
    try:
        _run(cycle.send(cast("Any", start)))
    finally:
        cycle.transport = transport
    return gathering.written


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to its end what has nothing to wait for."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("uvicorn waits although the client reads")


def _write(transport: asyncio.Transport, pieces: Sequence[bytes | memoryview]) -> int:
    """Return how many bytes the system has taken."""
    try:
        return os.writev(transport.get_extra_info("socket").fileno(), pieces)
    except OSError:
        # It takes nothing now, or not so many pieces, or the client is gone, as the transport will
        # find out by itself.
        return 0


def _after(pieces: Sequence[bytes | memoryview], taken: int) -> Iterator[memoryview]:
    for piece in pieces:
        if taken < len(piece):
            yield memoryview(piece)[taken:]
        taken = max(0, taken - len(piece))
