"""Plain text for Prometheus and for whoever watches or reloads the process."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import yaml
from starlette.responses import PlainTextResponse, Response

from exporter.errors import ConfigurationError
from exporter.web.endpoints.answers import takes_an_answer


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from exporter.overview.interface import View


#: Bytes of a large answer that wait for a client at once, beside what the system's socket takes.
SLICE_BYTES = 1 << 18


class TextPages:
    """The endpoints that answer with plain text; `lifecycle` allows to reload by request."""

    def __init__(self, view: View, *, lifecycle: bool) -> None:
        self._view = view
        self._lifecycle = lifecycle

    async def metrics(self, request: Request) -> Response:
        """Answer with the exposition, in the format and encoding the client prefers."""
        return self.page(request)

    def page(self, request: Request) -> SlicedResponse:
        """Return the answer with the exposition.

        Raises:
            HTTPException: The client takes no encoding that there is.
        """
        accept_encoding = takes_an_answer(request)
        page = self._view.metrics(
            accept=", ".join(request.headers.getlist("accept")),
            accept_encoding=accept_encoding,
            names=request.query_params.getlist("name[]"),
            sources=request.query_params.getlist("source"),
        )
        headers = {"Content-Type": page.content_type, "Vary": "Accept, Accept-Encoding"}
        if page.content_encoding:
            headers["Content-Encoding"] = page.content_encoding
        return SlicedResponse(page.parts, headers)

    async def config(self, request: Request) -> Response:
        """Answer with the effective configuration, without secrets."""
        del request
        document = yaml.safe_dump(dict(self._view.config()), sort_keys=False, allow_unicode=True)
        return PlainTextResponse(document)

    async def healthy(self, request: Request) -> Response:
        """Answer whether this process works."""
        del request
        if self._view.healthy:
            return _text(HTTPStatus.OK, "healthy")
        late = "not healthy: the event loop's heartbeat is late"
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, late)

    async def ready(self, request: Request) -> Response:
        """Answer whether every task was polled once."""
        del request
        if self._view.ready:
            return _text(HTTPStatus.OK, "ready")
        early = "not ready: the first polls have not finished"
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, early)

    async def reload(self, request: Request) -> Response:
        """Reload the configuration; 500 with every mistake when the old one stays in use."""
        del request
        if not self._lifecycle:
            off = "Reloading by request is off; start with --web.enable-lifecycle."
            return _text(HTTPStatus.FORBIDDEN, off)
        try:
            await self._view.reload()
        except ConfigurationError as error:
            problems = [f"configuration: {problem}" for problem in error.problems]
            kept = "The old configuration stays in use."
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, kept, *problems)
        return _text(HTTPStatus.OK, "reloaded")


def _text(status: HTTPStatus, *lines: str) -> Response:
    return PlainTextResponse("".join(f"{line}\n" for line in lines), status_code=status)


class SlicedResponse(Response):
    """An answer whose body is parts that others hold as well: none is copied as a whole.

    They are sent slice by slice, so that a slow reader holds a slice in memory and no copy. The
    answer ends when the client has read nearly all of it or is gone.
    """

    def __init__(self, parts: Sequence[bytes], headers: Mapping[str, str]) -> None:
        length = {"Content-Length": str(sum(map(len, parts)))}
        super().__init__(headers={**headers, **length})
        self._parts = parts

    def start(self) -> Message:
        """Return the message that begins the answer."""
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }

    def slices(self) -> Iterator[bytes | memoryview]:
        """Cut the body."""
        return slices(self._parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and slice after slice; the server waits before each until it may."""
        del receive
        await send(self.start())
        if scope["method"] != "HEAD":
            for piece in self.slices():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def slices(parts: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """Cut large parts, without copying them, and join small ones."""
    small: list[bytes] = []
    size = 0
    for part in parts:
        if small and size + len(part) > SLICE_BYTES:
            yield b"".join(small)
            small, size = [], 0
        if len(part) > SLICE_BYTES:
            view = memoryview(part)
            yield from (view[at : at + SLICE_BYTES] for at in range(0, len(part), SLICE_BYTES))
        else:
            small.append(part)
            size += len(part)
    if small:
        yield b"".join(small)
