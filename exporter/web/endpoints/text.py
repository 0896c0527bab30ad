"""Plain text: metrics, configuration, health, readiness, and reload."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

import yaml
from starlette.responses import PlainTextResponse, Response

from exporter.errors import ConfigurationError
from exporter.web.access.gate import add_default_headers
from exporter.web.endpoints.answers import takes_an_answer
from exporter.web.server.ready import ReadyAnswer


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from exporter.metrics.exposition import ScrapeResponse
    from exporter.overview.interface import View


#: The largest slice of a response that waits in memory for a client.
SLICE_BYTES = 1 << 18


class TextPages:
    """The endpoints that answer with plain text; with `lifecycle`, requests may reload."""

    def __init__(self, view: View, *, lifecycle: bool) -> None:
        self._view = view
        self._lifecycle = lifecycle

    async def metrics(self, request: Request) -> Response:
        """Return the response with the metrics, in the client's preferred format and encoding."""
        query = request.query_params
        page = self._page(request, names=query.getlist("name[]"), sources=query.getlist("source"))
        return SlicedResponse(page.parts, _page_headers(page.content_type, page.content_encoding))

    def page_at_hand(self, request: Request) -> ReadyAnswer:
        """Return the response of `metrics` to a request for all metrics.

        Raises:
            HTTPException: The client accepts none of the encodings.
        """
        page = self._page(request)
        length = sum(map(len, page.parts))
        start = _page_start(page.content_type, page.content_encoding, length)
        return ReadyAnswer(start=start, body=tuple(slices(page.parts)))

    def _page(
        self, request: Request, *, names: Sequence[str] = (), sources: Sequence[str] = ()
    ) -> ScrapeResponse:
        accept_encoding = takes_an_answer(request)
        return self._view.metrics(
            accept=", ".join(request.headers.getlist("accept")),
            accept_encoding=accept_encoding,
            names=names,
            sources=sources,
        )

    async def config(self, request: Request) -> Response:
        """Return the response with the effective configuration, without secrets, as YAML."""
        del request
        document = yaml.safe_dump(dict(self._view.config()), sort_keys=False, allow_unicode=True)
        return PlainTextResponse(document)

    async def healthy(self, request: Request) -> Response:
        """Return 200 if the event loop works, else 503."""
        del request
        if self._view.healthy:
            return _text(HTTPStatus.OK, "healthy")
        late = "not healthy: the event loop's heartbeat is late"
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, late)

    async def ready(self, request: Request) -> Response:
        """Return 200 once every task was polled or restored or had time for that, else 503."""
        del request
        if self._view.ready:
            return _text(HTTPStatus.OK, "ready")
        early = "not ready: the first polls have not finished"
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, early)

    async def reload(self, request: Request) -> Response:
        """Reload the configuration.

        Returns:
            200, or 500 with every mistake in the new configuration.
        """
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


def _page_headers(content_type: str, content_encoding: str | None) -> dict[str, str]:
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if content_encoding:
        headers["Content-Encoding"] = content_encoding
    return headers


@lru_cache(maxsize=8)
def _page_start(content_type: str, content_encoding: str | None, length: int) -> Message:
    """Return the message that starts the response, with the headers of the middleware."""
    headers = {**_page_headers(content_type, content_encoding), **_length(length)}
    start = _start(Response(headers=headers))
    add_default_headers(start)
    return start


def _length(length: int) -> dict[str, str]:
    return {"Content-Length": str(length)}


def _start(response: Response) -> Message:
    return {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": response.raw_headers,
    }


class SlicedResponse(Response):
    """A response whose body consists of parts shared with other responses, so they are not copied.

    The body is sent slice by slice, so that a slow client takes the memory of one slice. The
    response ends when the client has read nearly all of it or is gone.
    """

    def __init__(self, parts: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, **_length(sum(map(len, parts)))})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then one slice after the other as the client reads."""
        del receive
        await send(_start(self))
        if scope["method"] != "HEAD":
            for piece in slices(self._parts):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def slices(parts: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """Yield slices: large parts are cut without copying them, small ones are joined."""
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
