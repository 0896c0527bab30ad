"""The actions that the client may call, and the meaning of their error flags.

The token also permits actions that change or delete data. The allow-list keeps the exporter
read-only: the client sends no action that is not on it.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from exporter.errors import Reason
from exporter.sources.realload import detail_reply, replies
from exporter.sources.realload.replies import AccountReply, Envelope


R = TypeVar("R", bound=Envelope)

#: The actions that change nothing.
READ_ONLY = frozenset(
    {
        "getUserAccountInfo",
        "getPricePlanInfo",
        "getProjectTree",
        "getMeasuringAgents",
        "getMinRequiredMeasuringAgentVersion",
        "pingMeasuringAgent",
        "getMeasuringAgentClusters",
        "getClusterControllers",
        "getMinRequiredClusterControllerVersion",
        "pingClusterController",
        "pingMeasuringAgentClusterMembers",
        "getProxyRecorders",
        "getMinRequiredProxyRecorderVersion",
        "pingProxyRecorder",
        "getProxyRecordersClientCertificates",
        "getTestjobTemplates",
        "getMeasuringAgentTestjobs",
        "getTestExecutionSuites",
        "getCurrentlyRunningTestExecutionSuiteIds",
        "getTestExecutionSuiteTestRunResultDetail",
    }
)

#: Request fields with a fixed value: true would make the portal change its stored job states.
FIXED: dict[str, dict[str, Any]] = {
    "getMeasuringAgentTestjobs": {"synchronizeLocalTestjobsState": False},
}


class Flagged(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of a specific error flag for a target; takes the place of a reply.

    Attributes:
        up: True for an outdated target, which the portal reached; false for all others.
        reason: The reason why the target is down.
        outdated: True if the portal refuses the target's version.
    """

    up: bool = False
    reason: Reason | None = None
    outdated: bool | None = None


OUTDATED = Flagged(up=True, outdated=True)
NOT_REACHABLE = Flagged(reason=Reason.NOT_REACHABLE)
ACCESS_DENIED = Flagged(reason=Reason.ACCESS_DENIED)
UNKNOWN_ID = Flagged(reason=Reason.UNKNOWN_ID)
#: The exporter's own verdict when a ping timed out.
TIMED_OUT = Flagged(reason=Reason.TIMEOUT)

#: The error flags of all replies; if several are set, the first in this order counts.
FLAGS: dict[str, Flagged] = {
    "agent_not_reachable_error": NOT_REACHABLE,
    "controller_not_reachable_error": NOT_REACHABLE,
    "recorder_not_reachable_error": NOT_REACHABLE,
    "agent_id_error": UNKNOWN_ID,
    "cluster_id_error": UNKNOWN_ID,
    "recorder_id_error": UNKNOWN_ID,
    # A controller is identified by its address instead of an id; the portal rejects the address.
    "controller_host_error": UNKNOWN_ID,
    "controller_port_error": UNKNOWN_ID,
    "agent_access_denied_error": ACCESS_DENIED,
    "cluster_access_denied_error": ACCESS_DENIED,
    "recorder_access_denied_error": ACCESS_DENIED,
    "agent_version_outdated_error": OUTDATED,
    "controller_version_outdated_error": OUTDATED,
}


class Action(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """An action of the API.

    Attributes:
        name: The action's name in the API; a member of `READ_ONLY`.
        reply: The struct of its reply.
        data: The field of the reply that holds the data; empty if none is documented.
        remote: Whether the portal calls another machine for it, so that a time-out points to the
            machine rather than to the portal.
        partial: Whether the data are valid even if `isError` is set.
    """

    name: str
    reply: type[R]
    data: str = ""
    remote: bool = False
    partial: bool = False


ACCOUNT = Action(name="getUserAccountInfo", reply=Envelope)
PRICE_PLAN = Action(name="getPricePlanInfo", reply=Envelope)

AGENTS = Action(name="getMeasuringAgents", reply=AccountReply, data="measuring_agents_array")
AGENT_PING = Action(
    name="pingMeasuringAgent", reply=replies.AgentPing, data="agent_response", remote=True
)
AGENT_JOBS = Action(
    name="getMeasuringAgentTestjobs", reply=replies.JobList, data="agent_response", remote=True
)

CONTROLLERS = Action(
    name="getClusterControllers", reply=AccountReply, data="cluster_controllers_array"
)
CONTROLLER_PING = Action(
    name="pingClusterController",
    reply=replies.ControllerPing,
    data="controller_response",
    remote=True,
)

CLUSTERS = Action(
    name="getMeasuringAgentClusters", reply=AccountReply, data="measuring_agent_clusters_array"
)
CLUSTER_PING = Action(
    name="pingMeasuringAgentClusterMembers",
    reply=replies.ClusterPing,
    data="controller_response",
    remote=True,
    partial=True,
)

RECORDERS = Action(name="getProxyRecorders", reply=AccountReply, data="proxy_recorders_array")
RECORDER_PING = Action(
    name="pingProxyRecorder", reply=replies.RecorderPing, data="pong_response", remote=True
)
CERTIFICATES = Action(
    name="getProxyRecordersClientCertificates", reply=AccountReply, data="client_certificates_array"
)

SUITES = Action(
    name="getTestExecutionSuites", reply=AccountReply, data="test_execution_suites_array"
)
RUNNING_SUITES = Action(
    name="getCurrentlyRunningTestExecutionSuiteIds",
    reply=AccountReply,
    data="test_execution_suite_id_array",
)
RUN_DETAIL = Action(
    name="getTestExecutionSuiteTestRunResultDetail",
    reply=detail_reply.RunDetailReply,
    data="test_run_result_detail",
)
TEMPLATES = Action(name="getTestjobTemplates", reply=AccountReply, data="testjob_templates_array")

MIN_AGENT_VERSION = Action(
    name="getMinRequiredMeasuringAgentVersion",
    reply=AccountReply,
    data="min_required_measuring_agent_version",
)
MIN_CONTROLLER_VERSION = Action(
    name="getMinRequiredClusterControllerVersion",
    reply=AccountReply,
    data="min_required_cluster_controller_version",
)
MIN_RECORDER_VERSION = Action(
    name="getMinRequiredProxyRecorderVersion",
    reply=AccountReply,
    data="min_required_proxy_recorder_version",
)
