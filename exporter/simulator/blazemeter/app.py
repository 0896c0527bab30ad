"""The simulated BlazeMeter API: only GET, with basic authentication; the rest are violations."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.routing import Route

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.simulator.blazemeter.account import ACCOUNT_ID, USER_ID, Account
from exporter.simulator.blazemeter.replies import (
    LEVELS,
    Json,
    location_row,
    master_detail,
    master_row,
    master_status,
    multi_test_row,
    ship_row,
    test_row,
)
from exporter.simulator.blazemeter.results import ci_status, summary
from exporter.simulator.vendor import JsonResponse, Portal, caller_of


if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.simulator.options import SimulatorOptions

PREFIX: Final = "/api/v4"
KEY_ID: Final = "simulated-key-id"
KEY_SECRET: Final = "simulated-key-secret"  # noqa: S105 - invented, opens nothing
_PAGE: Final = 10
_REQUEST_ID: Final = "68e7a1f900b01"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

Parameters = dict[str, str]
View = Callable[[Account, Parameters, Parameters], Json]


class _ApiError(Exception):
    """A response with a status other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def app(account: Account, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> Starlette:
    """Return the application; `state.portal` is its portal."""
    portal = Portal(account, options, clock, f"{KEY_ID}:{KEY_SECRET}")
    routes = [_route(portal, account, path, name, view) for path, (name, view) in _VIEWS.items()]
    application = Starlette(routes=[portal.route(), *routes])
    application.state.portal = portal
    return application


def _route(portal: Portal, account: Account, path: str, name: str, view: View) -> Route:
    async def endpoint(request: Request) -> Response:
        async def work() -> Response:
            try:
                _authorize(portal, request)
                await portal.reach(up=True, delay_seconds=None)
                query = dict(request.query_params)
                return JsonResponse(view(account, request.path_params, query))
            except _ApiError as error:
                body = {"code": error.status, "message": str(error)}
                return JsonResponse(
                    {"error": body, "api_version": 4, "result": None}, status_code=error.status
                )

        return await portal.answer(name, work)

    return Route(PREFIX + path, endpoint, methods=list(_METHODS))


def _authorize(portal: Portal, request: Request) -> None:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        given = ""
    if portal.token is None or scheme.lower() != "basic" or given != portal.token:
        portal.refuse(caller_of(request))
        raise _ApiError(401, "Unauthorized")
    if request.method not in ("GET", "HEAD"):
        portal.violations.append(f"{request.method} {request.url.path}")
        raise _ApiError(403, "Forbidden")


def _envelope(result: Any) -> Json:
    return {**_single(result), "request_id": _REQUEST_ID}


def _single(result: Any) -> Json:
    return {"api_version": 4, "error": None, "result": result}


def _page(
    account: Account, rows: Sequence[Any], query: Parameters, row: Callable[[Any], Json]
) -> Json:
    """Return a page of a list in its envelope. `row` is called only for the rows of the page."""
    service = account.services["main"]
    limit = min(_number(query, "limit", _PAGE), service.page_cap)
    skip = _number(query, "skip", 0)
    first = 0 if service.skip_ignored else skip
    there = rows[: max(0, len(rows) - service.lost_rows)]
    return {
        "limit": limit,
        "skip": skip,
        "total": len(rows),
        "hidden": 0,
        **_single([row(one) for one in there[first : first + limit]]),
    }


def _number(query: Parameters, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise _ApiError(400, f"Bad Request: {name}")
    return int(text)


def _scope(account: Account, query: Parameters) -> set[int]:
    """Return the ids of the workspaces that a query for a list selects."""
    if "workspaceId" not in query:
        if query.get("accountId", str(ACCOUNT_ID)) != str(ACCOUNT_ID):
            raise _ApiError(404, "Not Found: Item Not Found")
        return {workspace.workspace_id for workspace in account.workspaces.values()}
    workspace = account.workspaces.get(query["workspaceId"])
    if workspace is None:
        raise _ApiError(404, "Not Found: Item Not Found")
    if workspace.forbidden:
        raise _ApiError(403, "Forbidden")
    return {workspace.workspace_id}


def _user(_: Account, __: Parameters, ___: Parameters) -> Json:
    user = {
        "id": USER_ID,
        "email": "user@example.net",
        "displayName": "Erika Example",
        "enabled": True,
        "defaultProject": {"id": 300_001, "accountId": ACCOUNT_ID, "workspaceId": 200_001},
    }
    return _envelope(user)


def _workspaces(account: Account, _: Parameters, query: Parameters) -> Json:
    def row(workspace: Any) -> Json:
        return {
            "id": workspace.workspace_id,
            "name": workspace.name,
            "userId": USER_ID,
            "created": 1_600_000_000,
            "updated": 1_759_995_000,
            "enabled": workspace.enabled,
            "dedicatedIpsEnabled": False,
            "privateLocationsEnabled": True,
            "membersCount": 12,
            "accountId": ACCOUNT_ID,
        }

    return _page(account, list(account.workspaces.values()), query, row)


def _masters(account: Account, _: Parameters, query: Parameters) -> Json:
    scope = _scope(account, query)
    wanted = [
        (query[name], multi)
        for name, multi in (("testId", False), ("collectionId", True))
        if name in query
    ]
    runs = [
        run
        for run in account.runs()
        if run.test.workspace_id in scope
        and all((str(run.test.test_id), run.test.multi) == each for each in wanted)
    ]
    page = _page(account, runs, query, lambda run: master_row(account, run))
    account_wide = "accountId" in query and "workspaceId" not in query
    if account_wide or not account.services["main"].totals_told:
        page["total"] = "n/a"
    return {**page, "request_id": _REQUEST_ID}


def _tests(account: Account, query: Parameters, row: Callable[[Any], Json], *, multi: bool) -> Json:
    scope, name = _scope(account, query), query.get("name", "")
    rows = [
        test
        for test in account.tests.values()
        if test.multi == multi and test.workspace_id in scope and name in test.name
    ]
    return _page(account, rows, query, row)


def _find_test(account: Account, path: Parameters, *, multi: bool) -> Any:
    test = account.tests.get(path["test"])
    if test is None or test.multi != multi:
        raise _ApiError(404, "Not Found: Item Not Found")
    if test.forbidden:
        raise _ApiError(403, "Forbidden")
    return test


def _test(account: Account, path: Parameters, query: Parameters) -> Json:
    """Return an object or an array with one, since the vendor's references show both forms."""
    test = _find_test(account, path, multi=False)
    if test.test_id % 2:
        return _single(test_row(test))
    return _page(account, [test], query, test_row)


def _multi_test(account: Account, path: Parameters, _: Parameters) -> Json:
    return _single(multi_test_row(account, _find_test(account, path, multi=True)))


def _find_run(account: Account, path: Parameters) -> Any:
    run = account.run(path["master"])
    if run is None:
        raise _ApiError(404, "Not Found: Item Not Found")
    if run.test.forbidden:
        raise _ApiError(403, "Forbidden")
    return run


def _master(account: Account, path: Parameters, _: Parameters) -> Json:
    return _envelope(master_detail(account, _find_run(account, path)))


def _status(account: Account, path: Parameters, query: Parameters) -> Json:
    run = _find_run(account, path)
    name = query.get("level", "INFO")
    if name not in LEVELS:
        raise _ApiError(400, "Bad Request: level")
    level = None if query.get("events") == "false" else LEVELS[name]
    return _envelope(master_status(account, run, level=level))


def _ci_status(account: Account, path: Parameters, _: Parameters) -> Json:
    return _single(ci_status(account, _find_run(account, path)))


def _summary(account: Account, path: Parameters, _: Parameters) -> Json:
    return _single(summary(account, _find_run(account, path)))


def _locations(account: Account, _: Parameters, query: Parameters) -> Json:
    if not query.keys() & {"workspaceId", "accountId"}:
        raise _ApiError(400, "Bad Request: workspaceId or accountId")
    scope = _scope(account, query)
    rows = [one for one in account.locations.values() if scope.intersection(one.workspaces)]
    return _page(account, rows, query, lambda one: location_row(account, one))


def _find_location(account: Account, path: Parameters) -> Any:
    location = account.locations.get(path["location"])
    if location is None:
        raise _ApiError(404, "Not Found: Item Not Found")
    return location


def _location(account: Account, path: Parameters, _: Parameters) -> Json:
    """Return an object or an array with one, since the vendor's references show both forms."""
    location = _find_location(account, path)
    row = location_row(account, location)
    return _single(row if int(location.location_id, 16) % 2 else [row])


def _servers(account: Account, path: Parameters, _: Parameters) -> Json:
    return _single(location_row(account, _find_location(account, path))["ships"])


def _server(account: Account, path: Parameters, _: Parameters) -> Json:
    ship = account.ships.get(path["ship"])
    if ship is None or ship.location_id != path["location"]:
        raise _ApiError(404, "Not Found: Item Not Found")
    return _single(ship_row(account, ship))


def _nothing(_: Account, __: Parameters, ___: Parameters) -> Json:
    raise _ApiError(404, "Not Found: Item Not Found")


_VIEWS: Final[dict[str, tuple[str, View]]] = {
    "/user": ("user", _user),
    "/workspaces": ("workspaces", _workspaces),
    "/masters": ("masters", _masters),
    "/masters/{master}": ("master", _master),
    "/masters/{master}/status": ("master_status", _status),
    "/masters/{master}/ci-status": ("ci_status", _ci_status),
    "/masters/{master}/reports/default/summary": ("summary", _summary),
    "/tests": ("tests", lambda account, _, query: _tests(account, query, test_row, multi=False)),
    "/tests/{test}": ("test", _test),
    "/multi-tests": (
        "multi_tests",
        lambda account, _, query: _tests(
            account, query, lambda test: multi_test_row(account, test), multi=True
        ),
    ),
    "/multi-tests/{test}": ("multi_test", _multi_test),
    "/private-locations": ("private_locations", _locations),
    "/private-locations/{location}": ("private_location", _location),
    "/private-locations/{location}/servers": ("servers", _servers),
    "/private-locations/{location}/servers/{ship}": ("server", _server),
    "/{rest:path}": ("unknown", _nothing),
}
