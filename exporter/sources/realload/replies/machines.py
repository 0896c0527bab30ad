"""Agents, controllers, clusters and recorders: what is listed and what is pinged."""

from __future__ import annotations

import msgspec

from exporter.sources.realload.replies.envelope import (
    ABSENT,
    Envelope,
    Flag,
    Hidden,
    Part,
    Port,
    Whole,
)


# -- Agents (section 3.3) -------------------------------------------------------------------------


class AgentItem(Part, frozen=True, kw_only=True):
    """A registered measuring agent."""

    agent_id: Whole | None = None
    agent_active: Flag = None
    agent_description: str | None = None
    agent_host: str | None = None
    agent_port: Port = None
    auth_token: Hidden = ABSENT


class AgentList(Envelope, frozen=True, kw_only=True):
    """The reply of getMeasuringAgents."""

    measuring_agents_array: tuple[AgentItem, ...] | None = None


class SystemInfo(Part, frozen=True, kw_only=True):
    """What every pinged machine says of itself; times in milliseconds."""

    product_version: str | None = None
    os_name: str | None = None
    os_version: str | None = None
    java_version: str | None = None
    java_vendor: str | None = None
    delta_time_millis: float | None = None
    http_execute_time_millis: float | None = None


class AgentInfo(SystemInfo, frozen=True, kw_only=True):
    """A pinged agent."""

    limit_max_users_per_job: float | None = None
    limit_max_job_duration_seconds: float | None = None
    java_max_memory: str | None = None
    agent_startup_time_stamp: float | None = None


class AgentPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingMeasuringAgent."""

    agent_response: AgentInfo | None = None
    agent_id_error: Flag = None
    agent_access_denied_error: Flag = None
    agent_version_outdated_error: Flag = None
    agent_not_reachable_error: Flag = None


# -- Controllers and clusters (section 3.4) -------------------------------------------------------


class ControllerCluster(Part, frozen=True, kw_only=True):
    """A cluster as the list of controllers shows it."""

    cluster_active: Flag = None


class ControllerItem(Part, frozen=True, kw_only=True):
    """A cluster controller; it has no id but its address."""

    controller_host: str | None = None
    controller_port: Port = None
    controller_auth_token: Hidden = ABSENT
    measuring_agent_clusters_array: tuple[ControllerCluster, ...] | None = None


class ControllerList(Envelope, frozen=True, kw_only=True):
    """The reply of getClusterControllers."""

    cluster_controllers_array: tuple[ControllerItem, ...] | None = None


class ControllerInfo(SystemInfo, frozen=True, kw_only=True):
    """A pinged controller."""

    java_max_memory: str | None = None
    controller_startup_time_stamp: float | None = None
    cluster_controller_outdated: Flag = None


class ControllerPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingClusterController."""

    controller_response: ControllerInfo | None = None
    controller_host_error: Flag = None
    controller_port_error: Flag = None
    controller_version_outdated_error: Flag = None
    controller_not_reachable_error: Flag = None


class MemberItem(Part, frozen=True, kw_only=True):
    """An agent as a member of a cluster; its token is not wanted."""

    cluster_member_id: Whole | None = None
    load_factor: float | None = None
    agent_id: Whole | None = None
    agent_active: Flag = None
    agent_description: str | None = None


class ClusterItem(Part, frozen=True, kw_only=True):
    """A registered cluster."""

    cluster_id: Whole | None = None
    cluster_active: Flag = None
    cluster_description: str | None = None
    controller_host: str | None = None
    controller_port: Port = None
    cluster_members_array: tuple[MemberItem, ...] | None = None


class ClusterList(Envelope, frozen=True, kw_only=True):
    """The reply of getMeasuringAgentClusters."""

    measuring_agent_clusters_array: tuple[ClusterItem, ...] | None = None


class FailedMember(Part, frozen=True, kw_only=True):
    """A member that could not be connected or did not act."""

    cluster_member_id: Port = None


class MemberInfo(Part, frozen=True, kw_only=True):
    """What a member answered; its clock is compared with the controller's."""

    is_error: Flag = None
    delta_time_millis: float | None = None
    sampling_granularity_millis: float | None = None
    measuring_agent_outdated: Flag = None


class MemberAnswer(Part, frozen=True, kw_only=True):
    """A member that answered."""

    cluster_member_id: Port = None
    json_response_object: MemberInfo | None = None


class ConnectResult(Part, frozen=True, kw_only=True):
    """How the controller's connecting to the members went."""

    measuring_agent_cluster_member_array: tuple[MemberItem, ...] | None = None
    connect_successful_cluster_member_array: tuple[Whole | str, ...] | None = None
    connect_failed_cluster_member_array: tuple[FailedMember, ...] | None = None
    cluster_connect_duration_millis: float | None = None


class ActionResult(Part, frozen=True, kw_only=True):
    """How the members' answering went."""

    action_successful_cluster_member_array: tuple[Whole | str, ...] | None = None
    action_failed_cluster_member_array: tuple[FailedMember, ...] | None = None
    json_response_cluster_member_array: tuple[MemberAnswer, ...] | None = None


class ClusterInfo(Part, frozen=True, kw_only=True):
    """A pinged cluster."""

    cluster_connect_result: ConnectResult | None = None
    cluster_action_result: ActionResult | None = None
    http_execute_time_millis: float | None = None


class ClusterPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingMeasuringAgentClusterMembers."""

    controller_response: ClusterInfo | None = None
    cluster_id_error: Flag = None
    cluster_access_denied_error: Flag = None
    controller_version_outdated_error: Flag = None
    controller_not_reachable_error: Flag = None


# -- Recorders (section 3.5) ----------------------------------------------------------------------


class RecorderItem(Part, frozen=True, kw_only=True):
    """A registered proxy recorder."""

    recorder_id: Whole | None = None
    recorder_description: str | None = None
    recorder_proxy_host: str | None = None
    recorder_proxy_port: Port = None
    recorder_control_auth_token: Hidden = ABSENT


class RecorderList(Envelope, frozen=True, kw_only=True):
    """The reply of getProxyRecorders."""

    proxy_recorders_array: tuple[RecorderItem, ...] | None = None


class RecorderInfo(SystemInfo, frozen=True, kw_only=True):
    """A pinged recorder; memory in MB, under another name and type than the others'."""

    recorder_component_version: str | None = None
    is_recording: Flag = None
    num_recorded_elements: float | None = None
    java_memory_mb: float | None = msgspec.field(default=None, name="javaMemoryMB")


class RecorderPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingProxyRecorder."""

    pong_response: RecorderInfo | None = None
    recorder_id_error: Flag = None
    recorder_access_denied_error: Flag = None
    recorder_not_reachable_error: Flag = None
