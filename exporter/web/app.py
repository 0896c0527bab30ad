"""The table of routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from exporter.web.endpoints.api import Api
from exporter.web.endpoints.discovery import Discovery
from exporter.web.endpoints.html import Screens
from exporter.web.endpoints.probe import Probe
from exporter.web.endpoints.reload import Reload
from exporter.web.endpoints.text import Pages
from exporter.web.middleware import SECURITY_HEADERS, LimitRequests, SecurityHeaders


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from exporter.overview.interface import View

    Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    view: View, *, route_prefix: str = "", max_requests: int = 40, lifecycle: bool = False
) -> Starlette:
    """Make the web application.

    Args:
        view: Where everything shown comes from.
        route_prefix: The path below which all is served, such as `/fleet`. Links between pages
            are relative, so they also hold behind a proxy that adds or cuts off a path.
        max_requests: How many requests may be under way at once; 0 is without a limit. Health
            and readiness do not count: a busy process is a living one. Scrapes are counted by
            themselves, and not while they are read: their page is there only once.
        lifecycle: Whether a request may have the configuration reloaded.
    """
    pages, screens, api = Pages(view), Screens(view), Api(view)
    discovery = Discovery(view)
    health = [
        Route("/healthy", pages.healthy),
        Route("/ready", pages.ready),
        Route("/reload", Reload(view, allowed=lifecycle).answer, methods=["POST", "PUT"]),
    ]
    scrapes = [Route("/metrics", pages.metrics)]
    bounded = [
        Route("/", screens.fleet),
        Route("/target", screens.target),
        Route("/config", pages.config),
        Route("/api/v1/targets", api.targets),
        Route("/api/v1/sources", api.sources),
        Route("/api/v1/alerts", api.alerts),
        Route("/sd/agents", discovery.agents),
        Route("/sd/controllers", discovery.controllers),
        Route("/sd/recorders", discovery.recorders),
        Route("/probe", Probe(view).answer),
        Mount("/static", StaticFiles(packages=[("exporter.web", "static")])),
    ]
    everything = _router(
        Mount("/-", _router(*health)),
        Route("/metrics", LimitRequests(_router(*scrapes), max_requests, until_read=False)),
        Mount("/", LimitRequests(_router(*bounded), max_requests)),
    )
    prefix = route_prefix.strip("/")
    routes: list[BaseRoute] = [Mount(f"/{prefix}", everything)]
    if prefix:
        folder = prefix.rpartition("/")[2]
        routes = [
            Route("/", _to(f"{prefix}/")),
            Route(f"/{prefix}", _to(f"{folder}/")),
            *routes,
        ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )


def _router(*routes: BaseRoute) -> Router:
    # A redirect to the path with or without a slash would be built from the Host header.
    return Router(routes, redirect_slashes=False)


def _to(location: str) -> Endpoint:
    """Make an endpoint that redirects to a relative location."""

    async def redirect(request: Request) -> Response:
        del request
        return Response(status_code=HTTPStatus.FOUND, headers={"Location": location})

    return redirect


async def _refused(request: Request, error: Exception) -> Response:
    """Answer what routes and endpoints raise, such as 404 and 405; the detail tells the reason."""
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
    """Answer when our own code failed; starlette raises the error again for the log."""
    del request, error
    return PlainTextResponse(
        "500 Internal Server Error. The log says more.\n",
        status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
        headers=SECURITY_HEADERS,  # this answer is made outside the middleware
    )
