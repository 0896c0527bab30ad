"""A simulated vendor that a few lines make: replies by request, behind a portal."""

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
    """Build a vendor that answers requests, refuses bad credentials and notes violations.

    Args:
        portal: Counts, refuses and blocks.
        replies: By method and path, such as `GET /agents`, what makes the reply: a `Response`, or
            something that is sent as JSON. A path may have parameters, as Starlette's.
        authorization: Makes the header `Authorization` of an accepted call from the portal's token;
            without it anybody may call.
        changes: Requests that change something although they are a GET, or are none of `replies`.
            So is every request with another method that is not among the replies.

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
    # Last, and without the page for other methods that a path of its own would answer with.
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
