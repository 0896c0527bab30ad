"""`/-/reload`: the configuration, loaded again at a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.overview.interface import View


class Reload:
    """The endpoint, which does nothing unless it was allowed to at the start."""

    def __init__(self, view: View, *, allowed: bool) -> None:
        self._view = view
        self._allowed = allowed

    async def answer(self, request: Request) -> Response:
        """Reload; 500 with every mistake when the old configuration stays in use."""
        del request
        if not self._allowed:
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
