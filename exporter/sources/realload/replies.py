"""The replies of the Remote User API, reduced to the needed fields.

The decoder skips all fields that are not declared here, so personal data is never decoded. A secret
whose value or presence is needed has the type `msgspec.Raw`, whose `repr` shows nothing. Every
field may be missing and has a default, `None` or an empty `Raw`. A number is a `float`, except for
an id or a port, which is sent back.

The functions at the end convert the API's values to base units. `-1` means "no data" in some fields
and "unlimited" in others; the function that reads a field decides which. For an invalid value these
functions return `None`.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Annotated, TypeAlias

import msgspec

from exporter.clock import LATEST_UNIX
from exporter.sources.decode import finite, measured


#: The vendor sends the same flag as a boolean at one time and as a number at another.
VendorBool: TypeAlias = bool | int | None

_Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: An id as a number or as text. A number beyond 64 bits is invalid; its target is never called.
Id: TypeAlias = _Whole | Annotated[str, msgspec.Meta(pattern=r"^(?:0|-?[1-9][0-9]{0,17})\Z")]
Port: TypeAlias = _Whole | str | None

Hidden: TypeAlias = msgspec.Raw
ABSENT: Hidden = msgspec.Raw()

#: A size with its unit. Some locales separate groups of three digits. A single point before three
#: digits can be a separator or a decimal point, so such a number is invalid.
_MEMORY = re.compile(
    r"\s*(?![1-9][0-9]{0,2}\.[0-9]{3}[^0-9.,])"
    r"([1-9][0-9]{0,2}(?:[, '\u00a0\u2009\u2019\u202f][0-9]{3}){1,5}|[0-9]{1,15})"
    r"(?:[.,]([0-9]{1,9}))?\s*([KMGTkmgt]?)[Ii]?[Bb]\s*"
)


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all structs of a reply."""


class Envelope(Part, frozen=True, kw_only=True):
    """The base of all replies.

    Attributes:
        is_error: True if the action failed.
        generic_error_text: Free text for people; shown by `explain`, never in a label or a log.
    """

    is_error: VendorBool = None
    generic_error_text: str | None = None


class AgentItem(Part, frozen=True, kw_only=True):
    """A registered measuring agent."""

    agent_id: Id | None = None
    agent_active: VendorBool = None
    agent_description: str | None = None
    agent_host: str | None = None
    agent_port: Port = None
    auth_token: Hidden = ABSENT
    is_launched_by_cloud_credits: VendorBool = None


class SystemInfo(Part, frozen=True, kw_only=True):
    """The information that every pinged machine returns; times are in milliseconds."""

    product_version: str | None = None
    os_name: str | None = None
    os_version: str | None = None
    java_version: str | None = None
    java_vendor: str | None = None
    system_time: float | None = None
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
    agent_id_error: VendorBool = None
    agent_access_denied_error: VendorBool = None
    agent_version_outdated_error: VendorBool = None
    agent_not_reachable_error: VendorBool = None


class ControllerCluster(Part, frozen=True, kw_only=True):
    """A cluster in the list of controllers."""

    cluster_active: VendorBool = None


class ControllerItem(Part, frozen=True, kw_only=True):
    """A cluster controller, identified by its address."""

    controller_host: str | None = None
    controller_port: Port = None
    controller_auth_token: Hidden = ABSENT
    measuring_agent_clusters_array: tuple[ControllerCluster, ...] | None = None


class ControllerInfo(SystemInfo, frozen=True, kw_only=True):
    """A pinged controller."""

    java_max_memory: str | None = None
    controller_startup_time_stamp: float | None = None
    cluster_controller_outdated: VendorBool = None


class ControllerPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingClusterController."""

    controller_response: ControllerInfo | None = None
    controller_host_error: VendorBool = None
    controller_port_error: VendorBool = None
    controller_version_outdated_error: VendorBool = None
    controller_not_reachable_error: VendorBool = None


class MemberItem(Part, frozen=True, kw_only=True):
    """An agent as a member of a cluster, without its token."""

    cluster_member_id: Id | None = None
    load_factor: float | None = None
    agent_id: Id | None = None
    agent_active: VendorBool = None
    agent_description: str | None = None


class ClusterItem(Part, frozen=True, kw_only=True):
    """A registered cluster."""

    cluster_id: Id | None = None
    cluster_active: VendorBool = None
    cluster_description: str | None = None
    controller_host: str | None = None
    controller_port: Port = None
    cluster_members_array: tuple[MemberItem, ...] | None = None


class FailedMember(Part, frozen=True, kw_only=True):
    """A member that could not be connected or did not act."""

    cluster_member_id: Port = None


class MemberInfo(Part, frozen=True, kw_only=True):
    """The answer of a member; `delta_time_millis` compares its clock with the controller's."""

    is_error: VendorBool = None
    product_version: str | None = None
    os_name: str | None = None
    java_version: str | None = None
    delta_time_millis: float | None = None
    sampling_granularity_millis: float | None = None
    measuring_agent_outdated: VendorBool = None


class MemberAnswer(Part, frozen=True, kw_only=True):
    """A member that answered."""

    cluster_member_id: Port = None
    json_response_object: MemberInfo | None = None


class ConnectResult(Part, frozen=True, kw_only=True):
    """The result of the controller's attempts to connect to the members."""

    measuring_agent_cluster_member_array: tuple[MemberItem, ...] | None = None
    connect_successful_cluster_member_array: tuple[_Whole | str, ...] | None = None
    connect_failed_cluster_member_array: tuple[FailedMember, ...] | None = None
    cluster_connect_duration_millis: float | None = None


class ActionResult(Part, frozen=True, kw_only=True):
    """The result of the action that the controller requested from the members."""

    action_successful_cluster_member_array: tuple[_Whole | str, ...] | None = None
    action_failed_cluster_member_array: tuple[FailedMember, ...] | None = None
    json_response_cluster_member_array: tuple[MemberAnswer, ...] | None = None


class ClusterInfo(Part, frozen=True, kw_only=True):
    """A pinged cluster."""

    cluster_connect_result: ConnectResult | None = None
    cluster_action_result: ActionResult | None = None
    http_execute_time_millis: float | None = None
    cluster_controller_outdated: VendorBool = None


class ClusterPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingMeasuringAgentClusterMembers."""

    controller_response: ClusterInfo | None = None
    cluster_id_error: VendorBool = None
    cluster_access_denied_error: VendorBool = None
    controller_version_outdated_error: VendorBool = None
    controller_not_reachable_error: VendorBool = None


class RecorderItem(Part, frozen=True, kw_only=True):
    """A registered proxy recorder."""

    recorder_id: Id | None = None
    recorder_description: str | None = None
    recorder_proxy_host: str | None = None
    recorder_proxy_port: Port = None
    recorder_control_auth_token: Hidden = ABSENT


class RecorderInfo(SystemInfo, frozen=True, kw_only=True):
    """A pinged recorder; unlike other machines it reports its memory as a number of MB."""

    recorder_component_version: str | None = None
    is_recording: VendorBool = None
    num_recorded_elements: float | None = None
    java_memory_mb: float | None = msgspec.field(default=None, name="javaMemoryMB")


class RecorderPing(Envelope, frozen=True, kw_only=True):
    """The reply of pingProxyRecorder."""

    pong_response: RecorderInfo | None = None
    recorder_id_error: VendorBool = None
    recorder_access_denied_error: VendorBool = None
    recorder_not_reachable_error: VendorBool = None


class CertificateItem(Part, frozen=True, kw_only=True):
    """A client certificate: the container with the private key, and the container's password."""

    certificate_id: Id | None = None
    cert_description: str | None = None
    cert_active: VendorBool = None
    apply_for_host: str | None = None
    cert_file_data_b64: Hidden = ABSENT
    cert_password: Hidden = ABSENT


class JobProperties(Part, frozen=True, kw_only=True):
    """Properties of a job; all values are strings."""

    testjob_state: str | None = None


class Job(Part, frozen=True, kw_only=True):
    """A job that an agent stores."""

    testjob_properties: JobProperties | None = None


class JobInfo(Part, frozen=True, kw_only=True):
    """The jobs of an agent."""

    all_testjobs_array: tuple[Job, ...] | None = None


class JobList(Envelope, frozen=True, kw_only=True):
    """The reply of getMeasuringAgentTestjobs."""

    agent_response: JobInfo | None = None


class TemplateInfo(Part, frozen=True, kw_only=True):
    """A job template."""

    template_id: Id | None = None
    template_name: str | None = None


class TemplateItem(Part, frozen=True, kw_only=True):
    """A job template with the portal's health verdict."""

    testjob_template: TemplateInfo | None = None
    test_is_healthy: bool | None = None


class SuiteInfo(Part, frozen=True, kw_only=True):
    """A test execution suite.

    The agent or cluster on which it runs by default is given as `m-` and an agent's id, or `c-` and
    a cluster's id.
    """

    test_execution_suite_id: Id | None = None
    test_execution_suite_name: str | None = None
    top_execute_on_measuring_agent_or_cluster_id: str | None = None
    total_number_of_testjobs: float | None = None
    is_test_execution_suite_healthy: bool | None = None


class RunResult(Part, frozen=True, kw_only=True):
    """The summary of a run; times are in milliseconds."""

    test_run_id: Id | None = None
    execution_state: float | None = None
    test_run_start_timestamp: float | None = None
    test_run_last_updated_timestamp: float | None = None
    num_testjob_templates_to_execute: float | None = None
    num_testjob_templates_execution_passed: float | None = None
    num_testjob_templates_execution_failed: float | None = None
    total_sessions_passed: float | None = None
    total_sessions_failed: float | None = None
    total_sessions_passed_time_sum: float | None = None
    total_samples_passed: float | None = None
    total_samples_failed: float | None = None
    max_concurrent_users: float | None = None
    max_pending_samples: float | None = None


class SuiteItem(Part, frozen=True, kw_only=True):
    """A suite with the runs that the portal stores."""

    test_execution_suite: SuiteInfo | None = None
    test_run_results_array: tuple[RunResult, ...] | None = None


class AccountReply(Envelope, frozen=True, kw_only=True):
    """The reply of an action without a target; each such action fills its own field."""

    measuring_agents_array: tuple[AgentItem, ...] | None = None
    cluster_controllers_array: tuple[ControllerItem, ...] | None = None
    measuring_agent_clusters_array: tuple[ClusterItem, ...] | None = None
    proxy_recorders_array: tuple[RecorderItem, ...] | None = None
    client_certificates_array: tuple[CertificateItem, ...] | None = None
    testjob_templates_array: tuple[TemplateItem, ...] | None = None
    test_execution_suites_array: tuple[SuiteItem, ...] | None = None
    test_execution_suite_id_array: tuple[Id, ...] | None = None
    min_required_measuring_agent_version: str | None = None
    min_required_cluster_controller_version: str | None = None
    min_required_proxy_recorder_version: str | None = None


@lru_cache(maxsize=1024)
def limit(value: float | None) -> float | None:
    """Return a limit; -1 becomes infinity."""
    return math.inf if value == -1 else measured(value)


def seconds(milliseconds: float | None) -> float | None:
    """Return a duration in seconds, or `None` if it is missing or negative."""
    number = measured(milliseconds)
    return None if number is None else number / 1000


def timestamp(milliseconds: float | None) -> float | None:
    """Return a Unix timestamp, or `None` if it is missing or beyond the range of dates."""
    number = seconds(milliseconds)
    return number if number is not None and number <= LATEST_UNIX else None


def signed_seconds(milliseconds: float | None) -> float | None:
    """Return a difference in seconds; it may be negative, so -1 is a valid measurement."""
    number = finite(milliseconds)
    return None if number is None else number / 1000


def megabytes(value: float | None) -> float | None:
    """Return a number of MB in bytes."""
    number = measured(value)
    return None if number is None else finite(number * 1024**2)


@lru_cache(maxsize=1024)
def parse_memory_size(text: str | None) -> float | None:
    """Return a size such as `2048 MB` or `16,384 MB` in bytes."""
    match = _MEMORY.fullmatch(text or "")
    if match is None:
        return None
    digits = re.sub(r"[^0-9]", "", match[1])
    power = "BKMGT".index(match[3].upper() or "B")
    return float(f"{digits}.{match[2] or 0}") * float(1024**power)


def flag(value: float | None) -> bool | None:
    """Return a flag, sent as a boolean or a number, as a boolean; `None` if it is missing."""
    return None if value is None else bool(value)


def secret_text(secret: msgspec.Raw) -> str | None:
    """Return a secret's text, or `None` if the field is missing or not a text."""
    try:
        return msgspec.json.decode(secret, type=str)
    except (ValueError, RecursionError):
        return None


def protected(secret: msgspec.Raw) -> bool | None:
    """Return whether a token is set, masked or not; `None` if the field is missing."""
    token = secret_text(secret)
    return None if token is None else bool(token)
