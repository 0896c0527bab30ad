"""Every vendor family, once: name, help, labels.

Nothing else in the project spells a vendor family's name. The exporter's own metrics are declared
in `telemetry`. What each family means is a contract: a published name never changes its meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec


PREFIX = "loadfleet_"

#: Labels of every vendor family, before its own.
COMMON_LABELS = ("provider", "source")

Kind = Literal["gauge", "info"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A metric family.

    Attributes:
        name: The full name, with the `_info` of an info family.
        kind: `info` families are gauges of value 1 in the text format.
        labels: Its own labels, after `COMMON_LABELS`.
    """

    name: str
    help: str
    kind: Kind = "gauge"
    labels: tuple[str, ...] = ()


_families: list[Family] = []


def _declare(name: str, text: str, *labels: str) -> Family:
    kind: Kind = "info" if name.endswith("_info") else "gauge"
    family = Family(name=PREFIX + name, help=text, kind=kind, labels=labels)
    _families.append(family)
    return family


# -- Sources ------------------------------------------------------------------------------------

SOURCE_UP = _declare(
    "source_up", "Whether the newest call to the vendor's API was answered validly."
)
SOURCE_AUTH_FAILED = _declare(
    "source_auth_failed", "Whether calls are held back because the credentials were refused."
)
ACCOUNT_JOB_DURATION_LIMIT = _declare(
    "account_job_duration_limit_seconds",
    "Longest load job the price plan allows; +Inf is unlimited.",
)
MIN_REQUIRED_VERSION_INFO = _declare(
    "min_required_version_info",
    "Oldest version the vendor accepts, by component.",
    "component",
    "version",
)

# -- Agents -------------------------------------------------------------------------------------

_AGENT = ("agent_id", "agent")
_FACTS = ("host", "port", "version", "os", "os_version", "java_version", "java_vendor", "location")

AGENT_INFO = _declare("agent_info", "Facts about an agent.", *_AGENT, *_FACTS)
AGENT_ACTIVE = _declare(
    "agent_active",
    "Whether the vendor is told to watch the agent; if not, it is not pinged.",
    *_AGENT,
)
AGENT_UP = _declare(
    "agent_up",
    "Whether the agent was reached at the newest look; an outdated agent that answered is up.",
    *_AGENT,
)
AGENT_FAILURE = _declare(
    "agent_failure", "Why the agent is not up; present only while it is not.", *_AGENT, "reason"
)
AGENT_OUTDATED = _declare(
    "agent_outdated", "Whether the agent is older than the oldest version accepted.", *_AGENT
)
AGENT_CLOCK_DELTA = _declare(
    "agent_clock_delta_seconds", "Agent's clock against the vendor's, signed.", *_AGENT
)
AGENT_PING_DURATION = _declare(
    "agent_ping_duration_seconds", "Duration of the vendor's call to the agent.", *_AGENT
)
AGENT_START = _declare(
    "agent_start_timestamp_seconds", "When the agent's software started.", *_AGENT
)
AGENT_LAST_UP = _declare(
    "agent_last_up_timestamp_seconds", "When the exporter last saw the agent up.", *_AGENT
)
AGENT_HEARTBEAT = _declare(
    "agent_heartbeat_timestamp_seconds", "When the vendor last heard of the agent.", *_AGENT
)
AGENT_MEMORY_LIMIT = _declare(
    "agent_memory_limit_bytes", "Most memory the agent's runtime may take.", *_AGENT
)
AGENT_USERS_LIMIT = _declare(
    "agent_users_limit", "Most virtual users of one job on the agent; +Inf is unlimited.", *_AGENT
)
AGENT_JOB_DURATION_LIMIT = _declare(
    "agent_job_duration_limit_seconds", "Longest job on the agent; +Inf is unlimited.", *_AGENT
)
AGENT_PROTECTED = _declare(
    "agent_protected", "Whether the agent demands a token; if not, anyone can use it.", *_AGENT
)
AGENT_BUSY = _declare("agent_busy", "Whether the agent executes something now.", *_AGENT)
AGENT_JOBS = _declare("agent_jobs", "Jobs the agent keeps, by state.", *_AGENT, "state")

# -- Controllers --------------------------------------------------------------------------------

CONTROLLER_INFO = _declare(
    "controller_info", "Facts about a cluster controller.", "controller", *_FACTS
)
CONTROLLER_UP = _declare(
    "controller_up", "Whether the controller was reached at the newest ping.", "controller"
)
CONTROLLER_FAILURE = _declare(
    "controller_failure",
    "Why the controller is not up; present only while it is not.",
    "controller",
    "reason",
)
CONTROLLER_OUTDATED = _declare(
    "controller_outdated",
    "Whether the controller is older than the oldest version accepted.",
    "controller",
)
CONTROLLER_CLOCK_DELTA = _declare(
    "controller_clock_delta_seconds",
    "Controller's clock against the portal's, signed.",
    "controller",
)
CONTROLLER_PING_DURATION = _declare(
    "controller_ping_duration_seconds",
    "Duration of the portal's call to the controller.",
    "controller",
)
CONTROLLER_START = _declare(
    "controller_start_timestamp_seconds", "When the controller's software started.", "controller"
)
CONTROLLER_LAST_UP = _declare(
    "controller_last_up_timestamp_seconds",
    "When the exporter last saw the controller up.",
    "controller",
)
CONTROLLER_MEMORY_LIMIT = _declare(
    "controller_memory_limit_bytes", "Most memory the controller's runtime may take.", "controller"
)
CONTROLLER_PROTECTED = _declare(
    "controller_protected", "Whether the controller demands a token.", "controller"
)

# -- Clusters -----------------------------------------------------------------------------------

_CLUSTER = ("cluster_id", "agent_cluster")
_MEMBER = (*_CLUSTER, "member_id", "agent_id", "agent")

CLUSTER_INFO = _declare("cluster_info", "Facts about a cluster.", *_CLUSTER, "controller")
CLUSTER_ACTIVE = _declare(
    "cluster_active",
    "Whether the vendor is told to watch the cluster; if not, it is not pinged.",
    *_CLUSTER,
)
CLUSTER_MEMBERS = _declare("cluster_members", "Agents that belong to the cluster.", *_CLUSTER)
CLUSTER_CONNECT_DURATION = _declare(
    "cluster_connect_duration_seconds",
    "How long the controller took to connect to all members.",
    *_CLUSTER,
)
CLUSTER_PING_DURATION = _declare(
    "cluster_ping_duration_seconds",
    "Duration of the portal's call that pinged all members.",
    *_CLUSTER,
)
CLUSTER_MEMBER_UP = _declare(
    "cluster_member_up",
    "Whether the controller connected to the member, had it act and got a good reply.",
    *_MEMBER,
)
CLUSTER_MEMBER_FAILURE = _declare(
    "cluster_member_failure",
    "Why the member is not up; present only while it is not.",
    *_MEMBER,
    "reason",
)
CLUSTER_MEMBER_OUTDATED = _declare(
    "cluster_member_outdated",
    "Whether the member is older than the oldest version accepted.",
    *_MEMBER,
)
CLUSTER_MEMBER_CLOCK_DELTA = _declare(
    "cluster_member_clock_delta_seconds",
    "Member's clock against its controller's, signed.",
    *_MEMBER,
)
CLUSTER_MEMBER_LOAD_FACTOR = _declare(
    "cluster_member_load_factor",
    "The member's weight when load is spread over the cluster.",
    *_MEMBER,
)
CLUSTER_MEMBER_SAMPLING_GRANULARITY = _declare(
    "cluster_member_sampling_granularity_seconds",
    "How finely the member's data collector samples.",
    *_MEMBER,
)

# -- Proxy recorders ----------------------------------------------------------------------------

_RECORDER = ("recorder_id", "recorder")

RECORDER_INFO = _declare(
    "recorder_info", "Facts about a proxy recorder.", *_RECORDER, *_FACTS, "component_version"
)
RECORDER_UP = _declare(
    "recorder_up", "Whether the recorder was reached at the newest ping.", *_RECORDER
)
RECORDER_FAILURE = _declare(
    "recorder_failure",
    "Why the recorder is not up; present only while it is not.",
    *_RECORDER,
    "reason",
)
RECORDER_OUTDATED = _declare(
    "recorder_outdated",
    "Whether the recorder is older than the oldest version accepted.",
    *_RECORDER,
)
RECORDER_CLOCK_DELTA = _declare(
    "recorder_clock_delta_seconds", "Recorder's clock against the portal's, signed.", *_RECORDER
)
RECORDER_PING_DURATION = _declare(
    "recorder_ping_duration_seconds", "Duration of the portal's call to the recorder.", *_RECORDER
)
RECORDER_LAST_UP = _declare(
    "recorder_last_up_timestamp_seconds", "When the exporter last saw the recorder up.", *_RECORDER
)
RECORDER_MEMORY_LIMIT = _declare(
    "recorder_memory_limit_bytes", "Most memory the recorder's runtime may take.", *_RECORDER
)
RECORDER_RECORDING = _declare("recorder_recording", "Whether it records now.", *_RECORDER)
RECORDER_RECORDED_ELEMENTS = _declare(
    "recorder_recorded_elements", "Elements in its current recording.", *_RECORDER
)
RECORDER_PROTECTED = _declare(
    "recorder_protected", "Whether its control port demands a token.", *_RECORDER
)

# -- Suites -------------------------------------------------------------------------------------

_SUITE = ("suite_id", "suite")

SUITE_HEALTHY = _declare("suite_healthy", "Whether the vendor finds the suite runnable.", *_SUITE)
SUITE_JOBS = _declare("suite_jobs", "Jobs the suite consists of.", *_SUITE)
SUITE_RUNNING = _declare("suite_running", "Whether a run of the suite is in flight.", *_SUITE)
SUITE_RUNS = _declare("suite_runs", "Runs of the suite the vendor keeps.", *_SUITE)
SUITE_LAST_RUN_PASSED = _declare(
    "suite_last_run_passed",
    "Verdict on the newest finished run by start time; absent without a verdict.",
    *_SUITE,
)
SUITE_LAST_RUN_JOBS = _declare(
    "suite_last_run_jobs", "Jobs of the newest finished run, by result.", *_SUITE, "result"
)
SUITE_LAST_RUN_SESSIONS = _declare(
    "suite_last_run_sessions", "Sessions of the newest finished run, by result.", *_SUITE, "result"
)
SUITE_LAST_RUN_SAMPLES = _declare(
    "suite_last_run_samples", "Samples of the newest finished run, by result.", *_SUITE, "result"
)
SUITE_LAST_RUN_SESSION_MEAN = _declare(
    "suite_last_run_session_mean_seconds",
    "Mean duration of a passed session of the newest finished run.",
    *_SUITE,
)
SUITE_LAST_RUN_MAX_USERS = _declare(
    "suite_last_run_max_users", "Most concurrent users of the newest finished run.", *_SUITE
)
SUITE_LAST_RUN_MAX_PENDING_SAMPLES = _declare(
    "suite_last_run_max_pending_samples",
    "Most pending samples of the newest finished run.",
    *_SUITE,
)
SUITE_LAST_RUN_STATE_CODE = _declare(
    "suite_last_run_state_code",
    "The vendor's number for the newest finished run's state; only 2, completed, is known.",
    *_SUITE,
)
SUITE_LAST_RUN_START = _declare(
    "suite_last_run_start_timestamp_seconds", "When the newest finished run started.", *_SUITE
)
SUITE_LAST_RUN_END = _declare(
    "suite_last_run_end_timestamp_seconds", "When the newest finished run ended.", *_SUITE
)
SUITE_LAST_RUN_DURATION = _declare(
    "suite_last_run_duration_seconds", "How long the newest finished run took.", *_SUITE
)
SUITE_CURRENT_RUN_JOBS = _declare(
    "suite_current_run_jobs", "Jobs of the run in flight, by result so far.", *_SUITE, "result"
)
SUITE_CURRENT_RUN_START = _declare(
    "suite_current_run_start_timestamp_seconds", "When the run in flight started.", *_SUITE
)

# -- Runs ---------------------------------------------------------------------------------------

_RUN = ("run_id", "run")

RUN_INFO = _declare("run_info", "Facts about a run.", *_RUN, "suite_id", "agent", "location")
RUN_PHASE = _declare(
    "run_phase", "1 for the phase the run is in, 0 for the others.", *_RUN, "phase"
)
RUN_PROGRESS_CODE = _declare(
    "run_progress_code", "The vendor's code for the run's progress, 0 to 150, no percentage.", *_RUN
)
RUN_ENGINES = _declare("run_engines", "Engines of the run.", *_RUN)
RUN_ENGINES_RATIO = _declare(
    "run_engines_ratio", "Share of the run's engines, 0 to 1, by phase.", *_RUN, "phase"
)
RUN_DATA_AVAILABLE = _declare("run_data_available", "Whether the run has delivered data.", *_RUN)
RUN_START = _declare("run_start_timestamp_seconds", "When the run started.", *_RUN)
RUN_END = _declare("run_end_timestamp_seconds", "When the run ended.", *_RUN)
RUN_PHASE_DURATION = _declare(
    "run_phase_duration_seconds", "How long the ended run was in a phase.", *_RUN, "phase"
)
RUN_EVENTS = _declare("run_events", "Events of the ended run, by level.", *_RUN, "level")
RUN_EXIT_CODE = _declare("run_exit_code", "Worst exit code of the ended run's engines.", *_RUN)
RUN_PASSED = _declare("run_passed", "Verdict on the run; absent until known.", *_RUN)

# -- Off by default -----------------------------------------------------------------------------

_CERTIFICATE = ("certificate_id", "certificate", "host")
_TEMPLATE = ("template_id", "template")

CERTIFICATE_NOT_AFTER = _declare(
    "certificate_not_after_timestamp_seconds", "When the client certificate expires.", *_CERTIFICATE
)
CERTIFICATE_ACTIVE = _declare(
    "certificate_active", "Whether the client certificate is sent to the recorders.", *_CERTIFICATE
)
TEMPLATE_HEALTHY = _declare(
    "template_healthy", "Whether the vendor finds the job template runnable.", *_TEMPLATE
)

#: All of them, in the order of exposition.
FAMILIES: tuple[Family, ...] = tuple(_families)
