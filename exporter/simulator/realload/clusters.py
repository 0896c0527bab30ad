"""Real Load's replies about clusters and controllers."""

from __future__ import annotations

from typing import Final

from exporter.simulator.realload.agents import (
    JAVA,
    OS,
    PINGED,
    Handler,
    Json,
    clock_of,
    failure,
    memory_of,
    millis,
    started_of,
)
from exporter.simulator.realload.fleet import (
    MIN_CONTROLLER_VERSION,
    OWNER_ID,
    Agent,
    Cluster,
    ClusterError,
    Controller,
    Fleet,
)


CONTROLLER_FLAGS: Final = (
    "controllerHostError",
    "controllerVersionOutdatedError",
    "controllerNotReachableError",
    "controllerPortError",
)
CLUSTER_FLAGS: Final = (
    "clusterIdError",
    "clusterAccessDeniedError",
    "controllerVersionOutdatedError",
    "controllerNotReachableError",
)


_UNREACHABLE: Final = "connect timed out"
_UNAUTHORIZED: Final = (
    "API call pingGetControllerInfo failed. "
    "Error code = 18, Error message = Invalid authentication token"
)
_TOO_OLD: Final = f"Min. cluster controller version required: {MIN_CONTROLLER_VERSION}"
_CLUSTER_TEXTS: Final[dict[ClusterError, str]] = {
    "clusterIdError": "Invalid clusterId",
    "clusterAccessDeniedError": "Access denied",
    "controllerVersionOutdatedError": _TOO_OLD,
    "controllerNotReachableError": _UNREACHABLE,
}


def _member_row(member_id: int, agent: Agent) -> Json:
    return {
        "clusterMemberId": member_id,
        "loadFactor": 1,
        "agentId": agent.agent_id,
        "agentActive": agent.active,
        "agentDescription": agent.description,
        "agentHost": agent.host,
        "agentPort": agent.port,
        "agentAuthToken": agent.token,
    }


def _clusters(fleet: Fleet, _: Json) -> Json:
    return {"measuringAgentClustersArray": [_cluster(fleet, c) for c in fleet.clusters.values()]}


def _cluster(fleet: Fleet, cluster: Cluster) -> Json:
    host, _, port = cluster.controller.rpartition(":")
    return {
        "clusterId": cluster.cluster_id,
        "createdBySystem": False,
        "ownerUserId": OWNER_ID,
        "clusterActive": cluster.active,
        "clusterDescription": cluster.description,
        "controllerHost": host,
        "controllerPort": int(port),
        "controllerAuthToken": _stored_token(fleet, cluster),
        "clusterMembersArray": [_member_row(*member) for member in fleet.members(cluster)],
    }


def _stored_token(fleet: Fleet, cluster: Cluster) -> str:
    if cluster.token is not None:
        return cluster.token
    controller = fleet.controllers.get(cluster.controller)
    return controller.token if controller else ""


def _controllers(fleet: Fleet, _: Json) -> Json:
    """Return an entry for each controller and each token that clusters store for it."""
    clusters: dict[str, dict[str, list[Json]]] = {}
    for cluster in fleet.clusters.values():
        by_token = clusters.setdefault(cluster.controller, {})
        by_token.setdefault(_stored_token(fleet, cluster), []).append(
            {
                "clusterId": cluster.cluster_id,
                "clusterDescription": cluster.description,
                "clusterActive": int(cluster.active),  # a number, as in the vendor's replies
            }
        )
    return {
        "clusterControllersArray": [
            {
                "controllerHost": controller.host,
                "controllerPort": controller.port,
                "controllerAuthToken": token,
                "measuringAgentClustersArray": rows,
            }
            for key, controller in fleet.controllers.items()
            for token, rows in clusters.get(key, {controller.token: []}).items()
        ]
    }


def _ping_controller(fleet: Fleet, request: Json) -> Json:
    host, port = request.get("controllerHost"), request.get("controllerPort")
    controller = fleet.controllers.get(f"{host}:{port}")
    if controller is None:
        known = any(host == controller.host for controller in fleet.controllers.values())
        flag = "controllerPortError" if known else "controllerHostError"
        return failure(f"Invalid controller {host}:{port}", CONTROLLER_FLAGS, flag)
    moment, token = fleet.timeline.moment(), request.get("controllerAuthToken") or ""
    return _controller_failure(fleet, controller, token, CONTROLLER_FLAGS) or {
        "controllerResponse": {
            **PINGED,
            "productVersion": controller.version,
            **OS,
            **JAVA,
            "javaMaxMemory": "512 MB",
            **clock_of(fleet, controller),
            "controllerStartupTimeStamp": started_of(fleet, controller),
            "httpExecuteTimeMillis": controller.took(moment, least_millis=40, spread_millis=210),
            "clusterControllerOutdated": controller.flagged,
        }
    }


def _controller_failure(
    fleet: Fleet, controller: Controller | None, token: str, flags: tuple[str, ...]
) -> Json | None:
    if controller is None or not controller.is_up(fleet.timeline.moment()):
        return failure(_UNREACHABLE, flags, "controllerNotReachableError")
    if controller.token != token:
        return failure(_UNAUTHORIZED, flags, "controllerNotReachableError")
    if controller.outdated:
        return failure(_TOO_OLD, flags, "controllerVersionOutdatedError")
    return None


def _ping_members(fleet: Fleet, request: Json) -> Json:
    cluster_id = request.get("clusterId")
    cluster = fleet.clusters.get(str(cluster_id))
    if cluster is None:
        return failure(f"Invalid clusterId = {cluster_id}", CLUSTER_FLAGS, "clusterIdError")
    if cluster.error is not None:
        return failure(_CLUSTER_TEXTS[cluster.error], CLUSTER_FLAGS, cluster.error)
    controller = fleet.controllers.get(cluster.controller)
    token = _stored_token(fleet, cluster)
    refused = _controller_failure(fleet, controller, token, CLUSTER_FLAGS)
    if refused is not None or controller is None:
        return refused or {}
    moment, now = fleet.timeline.moment(), millis(fleet.timeline.now())
    members = list(fleet.members(cluster))
    reached = [
        (member_id, agent)
        for member_id, agent in members
        if agent.is_up(moment) and agent.agent_id not in cluster.failing
    ]
    connected = {member_id for member_id, _ in reached}
    answers = {i: agent for i, agent in reached if agent.agent_id not in cluster.mute}
    reply: Json = {
        "controllerResponse": {
            "productVersion": controller.version,
            "clusterConnectResult": {
                "measuringAgentClusterMemberArray": [_member_row(*member) for member in members],
                "connectSuccessfulClusterMemberArray": sorted(connected),
                "connectFailedClusterMemberArray": [
                    {"clusterMemberId": i, "errorMessage": "Connection refused"}
                    for i, _ in members
                    if i not in connected
                ],
                "clusterConnectStartTimestamp": now,
                "clusterConnectDurationMillis": 79,
            },
            "clusterActionResult": {
                "actionSuccessfulClusterMemberArray": sorted(answers),
                "actionFailedClusterMemberArray": [
                    {"clusterMemberId": i, "errorMessage": "Read timed out"}
                    for i in sorted(connected - answers.keys())
                ],
                "jsonResponseClusterMemberArray": [
                    {
                        "clusterMemberId": i,
                        "jsonResponseObject": _member_answer(fleet, agent, controller),
                    }
                    for i, agent in answers.items()
                ],
                "clusterActionStartTimestamp": now + 79,
                "clusterActionDurationMillis": 43,
            },
            "httpExecuteTimeMillis": 1778,
            "clusterControllerOutdated": controller.flagged,
        }
    }
    if len(connected) == len(members):
        reply["isError"] = False  # the vendor's example of a partial failure has no `isError`
    return reply


def _member_answer(fleet: Fleet, agent: Agent, controller: Controller) -> Json:
    clock = clock_of(fleet, agent)
    clock["deltaTimeMillis"] -= round(controller.skew_seconds * 1000)
    return {
        "productVersion": agent.version,
        **clock,
        **OS,
        **JAVA,
        "javaMaxMemory": memory_of(agent),
        "samplingGranularityMillis": 4000,
        "isError": False,
        "measuringAgentOutdated": agent.outdated,
    }


CLUSTER_HANDLERS: Final[dict[str, Handler]] = {
    "getMeasuringAgentClusters": _clusters,
    "getClusterControllers": _controllers,
    "getMinRequiredClusterControllerVersion": lambda *_: {
        "minRequiredClusterControllerVersion": MIN_CONTROLLER_VERSION
    },
    "pingClusterController": _ping_controller,
    "pingMeasuringAgentClusterMembers": _ping_members,
}
