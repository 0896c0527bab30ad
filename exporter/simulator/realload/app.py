"""The simulated Real Load portal: one path, one token, an action in each body.

The vendor does not document some cases; here, a bad token gets the smallest error envelope with
status 200 (or the response that `Portal.refusal` selects), and a blocked address gets 403 with an
HTML page. An action that would change something is recorded as a violation and gets an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.simulator.realload.agents import (
    AGENT_FLAGS,
    AGENT_HANDLERS,
    RECORDER_FLAGS,
    Handler,
    Json,
    failure,
)
from exporter.simulator.realload.clusters import CLUSTER_FLAGS, CLUSTER_HANDLERS, CONTROLLER_FLAGS
from exporter.simulator.realload.jobs import JOB_HANDLERS
from exporter.simulator.realload.suites import SUITE_HANDLERS
from exporter.simulator.vendor import JsonResponse, Portal, Refusal, caller_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from exporter.simulator.options import SimulatorOptions
    from exporter.simulator.realload.fleet import Fleet
    from exporter.simulator.world import Machine

PATH: Final = "/RemoteUserAPI"
_JOBS_ACTION: Final = "getMeasuringAgentTestjobs"
_MEMBERS_ACTION: Final = "pingMeasuringAgentClusterMembers"
HANDLERS: Final[dict[str, Handler]] = {
    **AGENT_HANDLERS,
    **CLUSTER_HANDLERS,
    **JOB_HANDLERS,
    **SUITE_HANDLERS,
}
_FLAGS: Final = {
    "pingMeasuringAgent": AGENT_FLAGS,
    "pingClusterController": CONTROLLER_FLAGS,
    _MEMBERS_ACTION: CLUSTER_FLAGS,
    "pingProxyRecorder": RECORDER_FLAGS,
}
MUTATING_ACTIONS: Final = frozenset(
    [
        "createProject",
        "deleteProject",
        "createResourceSet",
        "deleteResourceSet",
        "createFile",
        "deleteFile",
        "addMeasuringAgent",
        "setMeasuringAgentActive",
        "deleteMeasuringAgent",
        "addMeasuringAgentCluster",
        "addMemberToMeasuringAgentCluster",
        "removeMemberFromMeasuringAgentCluster",
        "setMeasuringAgentClusterActive",
        "deleteMeasuringAgentCluster",
        "addProxyRecorder",
        "deleteProxyRecorder",
        "addProxyRecordersClientCertificate",
        "setProxyRecordersClientCertificateActive",
        "modifyProxyRecordersClientCertificate",
        "deleteProxyRecordersClientCertificate",
        "defineNewTestjobFromTemplate",
        "submitTestjob",
        "makeTestjobReadyToRun",
        "startTestjob",
        "saveTestjobOutDirectoryFileToProjectTree",
        "deleteTestjob",
        "startTestExecutionSuiteTestRun",
        "deleteTestExecutionSuiteTestRun",
    ]
)


def _controller_of_cluster(fleet: Fleet, request: Json) -> Machine | None:
    cluster = fleet.clusters.get(str(request.get("clusterId")))
    return fleet.controllers.get(cluster.controller) if cluster else None


_PARTNERS: Final[dict[str, Callable[[Fleet, Json], Machine | None]]] = {
    "pingMeasuringAgent": lambda fleet, request: fleet.agents.get(str(request.get("agentId"))),
    _JOBS_ACTION: lambda fleet, request: fleet.agents.get(str(request.get("measuringAgentId"))),
    "pingClusterController": lambda fleet, request: fleet.controllers.get(
        f"{request.get('controllerHost')}:{request.get('controllerPort')}"
    ),
    _MEMBERS_ACTION: _controller_of_cluster,
    "pingProxyRecorder": lambda fleet, request: fleet.recorders.get(str(request.get("recorderId"))),
}
"""For each action, the machine that the portal itself calls."""


def app(fleet: Fleet, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> Starlette:
    """Return the application; `state.portal` is its portal."""
    portal = Portal(fleet, options, clock, options.token)

    async def endpoint(request: Request) -> Response:
        caller = caller_of(request)
        try:
            body = msgspec.json.decode(await request.body(), type=dict[str, Any])
        except msgspec.MsgspecError:
            return JsonResponse(failure("Invalid JSON"))
        action = str(body.get("action"))
        return await portal.answer(action, lambda: _answer(fleet, portal, caller, body))

    application = Starlette(routes=[Route(PATH, endpoint, methods=["POST"]), portal.route()])
    application.state.portal = portal
    return application


async def _answer(fleet: Fleet, portal: Portal, caller: str, request: Json) -> Response:
    action = str(request.get("action"))
    if portal.is_blocked(caller):
        return HTMLResponse("<html><body><h1>Forbidden</h1></body></html>\n", status_code=403)
    if portal.token is None or request.get("authTokenValue") != portal.token:
        portal.refuse(caller)
        return _refusal(portal, action)
    if action in MUTATING_ACTIONS:
        portal.violations.append(action)
        return JsonResponse(failure("The simulator changes nothing"))
    handler = HANDLERS.get(action)
    if handler is None:
        return JsonResponse(failure("Invalid action"))
    if action == _JOBS_ACTION and request.get("synchronizeLocalTestjobsState") is not False:
        portal.violations.append(f"{action} with synchronizeLocalTestjobsState")
    await _reach(fleet, portal, action, request)
    reply = handler(fleet, request)
    if action != _MEMBERS_ACTION:  # a partly failed reply of this action has no `isError`
        reply.setdefault("isError", False)
    return JsonResponse(reply)


def _refusal(portal: Portal, action: str) -> Response:
    if portal.refusal is Refusal.BARE:
        return JsonResponse({"isError": True})
    text = "Invalid authentication token"
    flags = _FLAGS.get(action, ()) if portal.refusal is Refusal.FLAGS else ()
    status = 401 if portal.refusal is Refusal.HTTP_401 else 200
    return JsonResponse(failure(text, flags), status_code=status)


async def _reach(fleet: Fleet, portal: Portal, action: str, request: Json) -> None:
    """Sleep for the duration of the portal's own call to the machine of the action, if any."""
    find = _PARTNERS.get(action)
    machine = find(fleet, request) if find else None
    if machine is not None:
        up = machine.is_up(fleet.timeline.moment())
        await portal.reach(up=up, delay_seconds=machine.delay_seconds)
