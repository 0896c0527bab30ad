"""A builder for simple simulated vendors: a table of replies behind a portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.simulator.vendor import JsonResponse, Portal, caller_of


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.requests import Request


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def application(
    portal: Portal,
    replies: Mapping[str, Callable[[Request], Any]],
    *,
    authorization: Callable[[str], str] | None = None,
    changes: Collection[str] = (),
) -> Starlette:
    """Build a vendor that answers requests, refuses bad credentials and records violations.

    Args:
        portal: Counts calls, refuses bad credentials and blocks callers.
        replies: The function that makes the reply, by method and path, such as `GET /agents`. It
            returns a `Response` or data to send as JSON. A path may have Starlette's parameters.
        authorization: Makes the header `Authorization` of an accepted call from the portal's token;
            without it the vendor requires no credentials.
        changes: GET requests, not in `replies`, that count as violations because they change
            something. A request with another method that is not in `replies` always does.

    Returns:
        The application, with the portal in `state.portal`.
    """

    async def other(request: Request) -> Response:
        asked = f"{request.method} {request.url.path}"
        if request.method != "GET" or asked in changes:
            portal.violations.append(asked)

        async def work() -> Response:
            return JsonResponse({"message": "Not Found"}, status_code=404)

        return await portal.answer("unknown", work)

    routes = [_route(portal, name, make, authorization) for name, make in replies.items()]
    # The route for all other requests comes last. A path of its own would answer other methods
    # with 405, and the portal would not see them.
    vendor = Starlette(
        routes=[portal.route(), *routes, Route("/{rest:path}", other, methods=_METHODS)]
    )
    vendor.state.portal = portal
    return vendor


def _route(
    portal: Portal,
    name: str,
    make: Callable[[Request], Any],
    authorization: Callable[[str], str] | None,
) -> Route:
    method, _, path = name.partition(" ")

    async def endpoint(request: Request) -> Response:
        await request.body()

        async def work() -> Response:
            if authorization is not None and not _is_accepted(request, portal, authorization):
                return JsonResponse({"message": "Unauthorized"}, status_code=401)
            content = make(request)
            return content if isinstance(content, Response) else JsonResponse(content)

        return await portal.answer(name, work)

    return Route(path, endpoint, methods=[method])


def _is_accepted(request: Request, portal: Portal, authorization: Callable[[str], str]) -> bool:
    given = request.headers.get("authorization", "")
    if portal.token is not None and given == authorization(portal.token):
        return True
    portal.refuse(caller_of(request))
    return False
