"""Plain text for Prometheus and for whoever watches or reloads the process."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import yaml
from starlette.responses import PlainTextResponse

from exporter.errors import ConfigurationError
from exporter.web.streaming import SlicedResponse


if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.overview.interface import View


class TextPages:
    """The endpoints that answer with plain text."""

    def __init__(self, view: View, *, lifecycle: bool) -> None:
        """Prepare the endpoints.

        Args:
            view: Where everything shown comes from.
            lifecycle: Whether a request may have the configuration reloaded.
        """
        self._view = view
        self._lifecycle = lifecycle

    async def metrics(self, request: Request) -> Response:
        """Answer with the exposition, in the format and encoding the client prefers."""
        page = self._view.metrics(
            accept=", ".join(request.headers.getlist("accept")),
            accept_encoding=", ".join(request.headers.getlist("accept-encoding")),
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
            return PlainTextResponse("healthy\n")
        return PlainTextResponse(
            "not healthy: the event loop's heartbeat is late\n",
            status_code=HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def ready(self, request: Request) -> Response:
        """Answer whether the first round of polls is over."""
        del request
        if self._view.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(
            "not ready: the first round of polls has not finished\n",
            status_code=HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def reload(self, request: Request) -> Response:
        """Reload the configuration; 500 with every mistake when the old one stays in use."""
        del request
        if not self._lifecycle:
            return PlainTextResponse(
                "Reloading by request is off; start with --web.enable-lifecycle.\n",
                status_code=HTTPStatus.FORBIDDEN,
            )
        try:
            await self._view.reload()
        except ConfigurationError as error:
            lines = [f"configuration: {problem}" for problem in error.problems]
            return PlainTextResponse(
                "\n".join(["The old configuration stays in use.", *lines, ""]),
                status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
            )
        return PlainTextResponse("reloaded\n")
