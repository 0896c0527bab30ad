"""The web application with its table of routes, and its server."""

from __future__ import annotations

import os
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from exporter import systemd
from exporter.config.address import parse_address
from exporter.metrics import own
from exporter.web.access.gate import DEFAULT_HEADERS, Gate, OwnPages, SecurityHeaders
from exporter.web.access.security import WebSecurity
from exporter.web.endpoints.api import Api
from exporter.web.endpoints.badge import Badges
from exporter.web.endpoints.discovery import Discovery
from exporter.web.endpoints.history import HistoryApi
from exporter.web.endpoints.html import HtmlPages
from exporter.web.endpoints.probe import Probe
from exporter.web.endpoints.text import TextPages
from exporter.web.server.limits import LimitRequests
from exporter.web.server.room import PLACES
from exporter.web.server.uvicorn_server import WebServer


if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Scope

    from exporter.clock import Clock
    from exporter.metrics.telemetry import SelfMetrics
    from exporter.overview.interface import View
    from exporter.settings.sections import WebSettings
    from exporter.web.server.ready import ReadyAnswer


_METRICS = "/metrics"


def create_app(
    view: View, *, route_prefix: str = "", max_requests: int = 40, lifecycle: bool = False
) -> WebApp:
    """Return the web application.

    Args:
        view: The source of everything shown.
        route_prefix: The path prefix of all routes, such as `/fleet`. Links between pages are
            relative, so they also work behind a proxy that adds or removes a path.
        max_requests: The limit of concurrent requests; 0 means no limit. Requests for health and
            readiness do not count, because a busy process is still alive. Scrapes are counted
            separately, and only until their response is made: all scrapes share one page in memory.
        lifecycle: Whether a request may reload the configuration.
    """
    text, html = TextPages(view, lifecycle=lifecycle), HtmlPages(view)
    api, badges, discovery = Api(view), Badges(view), Discovery(view)
    # Guards the endpoints that cause a vendor call or a change.
    guarded = [Middleware(OwnPages)]
    health = [
        Route("/healthy", text.healthy),
        Route("/ready", text.ready),
        Route("/reload", text.reload, methods=["POST", "PUT"], middleware=guarded),
    ]
    scrapes = _router(Route(_METRICS, text.metrics))
    bounded = [
        Route("/", html.fleet),
        Route("/target", html.target),
        Route("/runbooks/", html.runbooks),
        Route("/runbooks/{alert}", html.runbook),
        Route("/config", text.config),
        Route("/api/v1/targets", api.targets),
        Route("/api/v1/sources", api.sources),
        Route("/api/v1/alerts", api.alerts),
        Route("/api/v1/problems", api.problems),
        Route("/api/v1/status", api.status),
        Route("/api/v1/preflight", api.preflight),
        Route("/badge/fleet.svg", badges.fleet),
        Route("/badge/target.svg", badges.target),
        Route("/api/v1/history", HistoryApi(view).history),
        Route("/sd/agents", discovery.agents),
        Route("/sd/controllers", discovery.controllers),
        Route("/sd/recorders", discovery.recorders),
        Route("/probe", Probe(view).answer, middleware=guarded),
        Mount("/static", _Files(packages=[("exporter.web", "static")])),
    ]
    everything = _router(
        Mount("/-", _router(*health)),
        Route(_METRICS, LimitRequests(scrapes, max_requests, until_read=False)),
        Mount("/", _router(*bounded), middleware=[Middleware(LimitRequests, max_requests)]),
    )
    prefix = route_prefix.strip("/")
    routes: list[BaseRoute] = [Mount(f"/{prefix}", everything)]
    if prefix:
        folder = prefix.rpartition("/")[2]
        routes = [
            Route("/", RedirectResponse(f"{prefix}/", HTTPStatus.FOUND), methods=["GET"]),
            Route(f"/{prefix}", RedirectResponse(f"{folder}/", HTTPStatus.FOUND), methods=["GET"]),
            *routes,
        ]
    return WebApp(
        text,
        f"/{prefix}{_METRICS}" if prefix else _METRICS,
        routes=routes,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )


def make_server(  # noqa: PLR0913 - all but two by keyword
    app: ASGIApp,
    web: WebSettings,
    *,
    clock: Clock,
    telemetry: SelfMetrics | None = None,
    environ: Mapping[str, str] = os.environ,
    max_connections: int = PLACES,
) -> WebServer:
    """Return the server of an app, which listens after `start`.

    Args:
        app: Answers the requests.
        web: The addresses to listen on, and the web configuration file.
        clock: The source of time.
        telemetry: Shows whether the web configuration file is valid, and the certificate's expiry.
        environ: The environment, in which systemd names the sockets that it passes.
        max_connections: The limit of connections with a request in flight.

    Raises:
        ConfigurationError: The web configuration file, or a file that it names, is wrong.
    """
    addresses = [parse_address(text) for text in web.listen_address]
    sockets = (lambda: systemd.inherited(environ, pid=os.getpid())) if web.systemd_socket else None
    serve = partial(
        WebServer,
        addresses=addresses,
        sockets=sockets,
        max_connections=max_connections,
        # Also answered while the server is busy, so that no supervisor restarts a busy process.
        always=[f"{web.route_prefix}/-/{page}" for page in ("healthy", "ready")],
    )
    if web.config_file is None:
        return serve(app)
    security = WebSecurity(web.config_file, clock=clock)
    if telemetry is not None:
        telemetry[own.WEB_CONFIG_SUCCESSFUL].set_function(lambda: not security.refused)
        if security.certificate_end is not None:
            telemetry.expose(own.WEB_CERTIFICATE_END).set_function(
                lambda: security.certificate_end or 0.0
            )
    gate = Gate(app, security, route_prefix=web.route_prefix)
    return serve(gate, tls=security.context, refresh=security.refresh)


class WebApp(Starlette):
    """The routes, with a shortcut for scrapes of all metrics."""

    def __init__(self, text: TextPages, page_path: str, **options: Any) -> None:
        super().__init__(**options)
        self._text = text
        self._page_path = page_path

    def ready(self, scope: Scope) -> ReadyAnswer | None:
        """Return the response to a scrape of all metrics; `None` for any other request.

        The routes would return the same response. Behind a `Gate` the server does not call this
        method, so the web configuration file always applies.

        Raises:
            HTTPException: The client accepts none of the encodings.
        """
        if scope["method"] != "GET" or scope["path"] != self._page_path or scope["query_string"]:
            return None
        return self._text.page_at_hand(Request(scope))


class _Files(StaticFiles):
    """Static files that browsers revalidate at each use."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _router(*routes: BaseRoute) -> Router:
    # Starlette's redirect to the path with or without a slash would use the Host header.
    return Router(routes, redirect_slashes=False)


async def _refused(request: Request, error: Exception) -> Response:
    """Answer with an error that routes or endpoints raised, such as 404 or 405."""
    del request
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    text = f"{status.value} {status.phrase}"
    if error.detail != status.phrase:
        text += f": {error.detail}"
    elif status is HTTPStatus.NOT_FOUND:
        text += ". The first page links to all others"
    return PlainTextResponse(f"{text}.\n", status_code=status, headers=error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """Answer with 500 after an unexpected error, which starlette raises again for the log."""
    del request, error
    return PlainTextResponse(
        "500 Internal Server Error. The log says more.\n",
        status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
        headers=DEFAULT_HEADERS,  # this response is made outside the middleware
    )
