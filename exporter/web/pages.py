"""What is read by people, by Prometheus and by whoever watches the process."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import jinja2
import yaml
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from exporter import __version__
from exporter.web import text
from exporter.web.board import arranged, target_rows
from exporter.web.fleet import groups, headline, source_row
from exporter.web.slices import in_slices


if TYPE_CHECKING:
    from starlette.requests import Request

    from exporter.web.view import View


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("exporter.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=text.duration, signed=text.signed, instant=text.instant)
    environment.globals["release"] = __version__
    return environment


class Pages:
    """The endpoints that are neither JSON nor files."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._fleet = _templates().get_template("fleet.html")

    async def fleet(self, request: Request) -> Response:
        """Answer with the state of the fleet, for people."""
        del request
        now = self._view.now()
        sources = [source_row(source, now) for source in self._view.sources()]
        rows = arranged(await in_slices(target_rows(self._view.snapshots(), now)))
        pieces = self._fleet.generate(
            now=now,
            headline=headline(rows, sources, ready=self._view.ready),
            sources=sources,
            groups=groups(rows),
        )
        return HTMLResponse("".join(await in_slices(pieces)))

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
        return Response(page.body, headers=headers)

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
