"""Pages that are rendered once and shared by all clients."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from exporter.cooperative import collected
from exporter.metrics.exposition import accepts_gzip, accepts_plain
from exporter.web.endpoints.answers import entity_tag, takes_an_answer, unchanged


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    import jinja2
    from starlette.requests import Request


#: Smaller pages are sent without compression.
_WORTH_PACKING = 16 * 1024

#: How many pages are kept; each combination of filters in use is a page.
KEPT = 32


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of a page.

    Attributes:
        tag: The page's `ETag`, a hash of its content, so that it stays the same after a restart.
        packed: The page compressed with gzip, `None` for a small page.
    """

    tag: str
    plain: bytes
    packed: bytes | None = None


class Pages:
    """The newest pages, each of which is rendered once for all clients."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, asyncio.Task[Page]] = OrderedDict()

    async def get(self, key: Hashable, render: Callable[[], Awaitable[Page]]) -> Page:
        """Return the page of a key, rendered now if necessary, once for all waiting clients."""
        task = self._found.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._found[key] = asyncio.ensure_future(render())
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)
        # Shielded, so that a client that disconnects does not cancel the page of others.
        return await asyncio.shield(task)


async def rendered(template: Callable[[], jinja2.Template], **context: Any) -> Page:
    """Return a rendered page, made without blocking the event loop.

    Args:
        template: Returns the template, which is compiled the first time.
        context: The variables of the template.
    """
    text = await collected((await asyncio.to_thread(template)).generate(**context))
    return await asyncio.to_thread(_finished, text)


def _finished(text: list[str]) -> Page:
    body = "".join(text).encode("utf-8", "replace")
    return Page(
        tag=entity_tag(body),
        plain=body,
        packed=gzip.compress(body, 5, mtime=0) if len(body) >= _WORTH_PACKING else None,
    )


def answer(request: Request, page: Page, *, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return the response with a page, or 304 if the client has this page."""
    accepted = takes_an_answer(request)
    packed = page.packed if accepts_gzip(accepted) else None
    if packed is None and not accepts_plain(accepted):
        packed = gzip.compress(page.plain, 1, mtime=0)  # a small page
    tag = page.tag if packed is None else entity_tag(page.tag.encode(), b"gzip")
    headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
    if status is HTTPStatus.OK and unchanged(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Type"] = "text/html; charset=utf-8"
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(page.plain if packed is None else packed, status_code=status, headers=headers)
