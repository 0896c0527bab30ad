"""All metric families about vendors: name, help and labels.

The names occur nowhere else in the project. The exporter's own metrics are declared in `own`. A
published name never changes its meaning.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


PREFIX = "loadfleet_"

#: Labels of every vendor family, before its own labels.
COMMON_LABELS = ("provider", "source")

#: Former full names of a family, each with the version that renamed it.
FormerNames = tuple[tuple[str, str], ...]


class NamedFamily(msgspec.Struct, frozen=True, kw_only=True):
    """The common part of vendor families and own families.

    Attributes:
        name: The full name, including `_info` of an info family and `_total` of a counter.
        former_names: Old names, under which the family is also served for two minor releases.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    former_names: FormerNames = ()

    @property
    def base(self) -> str:
        """The name without `_info` and `_total`, as in prometheus-client's `Metric`."""
        return self.name.removesuffix("_info").removesuffix("_total")


class Family(NamedFamily, frozen=True, kw_only=True):
    """A vendor family. Its series have `COMMON_LABELS` before its own labels."""

    @property
    def kind(self) -> str:
        """The metric type. In the text format, `info` families are gauges with value 1."""
        return "info" if self.name.endswith("_info") else "gauge"


F = TypeVar("F", bound=NamedFamily)


def with_former_names(families: Iterable[F]) -> Iterator[F]:
    """Yield the families, each followed by itself under its former names."""
    for family in families:
        yield family
        for name, version in family.former_names:
            text = f"Deprecated since {version}, use {family.name}."
            yield msgspec.structs.replace(family, name=name, help=text, former_names=())


_families: list[Family] = []


def _declare(
    identity: tuple[str, ...], name: str, text: str, *labels: str, former_names: FormerNames = ()
) -> Family:
    """Declare a family of targets that are identified by the labels `identity`."""
    family = Family(
        name=PREFIX + name, help=text, labels=(*identity, *labels), former_names=former_names
    )
    _families.append(family)
    return family


# -- Sources ------------------------------------------------------------------------------------

_source = partial(_declare, ())

SOURCE_UP = _source(
    "source_up",
    "Whether the vendor's API answers: the newest poll of at least one task returned readings, even"
    " if its list was incomplete or implausible.",
)
SOURCE_TASK_UP = _source(
    "source_task_up",
    "Whether the newest poll of the task returned readings; 0 if its list or a part of it could not"
    " be read, or is implausible because it is suddenly empty or short, or if no target could be"
    " polled.",
    "task",
)
SOURCE_TASK_FAILURE = _source(
    "source_task_failure",
    "1, with the reason of the newest failure; present only while the newest poll of the task"
    " returned no readings.",
    "task",
    "reason",
)
SOURCE_TARGETS = _source(
    "source_targets",
    "Targets of a kind in the newest inventory, after the include and exclude filters.",
    "kind",
)
SOURCE_AUTH_FAILED = _source(
    "source_auth_failed", "Whether calls are blocked because the vendor refused the credentials."
)
ACCOUNT_JOB_DURATION_LIMIT = _source(
    "account_job_duration_limit_seconds",
    "Maximum duration of a load job in the price plan; +Inf is unlimited.",
)
MIN_REQUIRED_VERSION_INFO = _source(
    "min_required_version_info",
    "Oldest version the vendor accepts, by component.",
    "component",
    "version",
)

# -- Agents -------------------------------------------------------------------------------------

_agent = partial(_declare, ("agent_id", "agent"))
_STATE_START = "current up or down state; survives restarts."
_FACTS = ("host", "port", "version", "os", "os_version", "java_version", "java_vendor", "location")

AGENT_INFO = _agent(
    "agent_info",
    "Facts about an agent; managed is vendor if the vendor itself starts and stops the agent.",
    *_FACTS,
    "managed",
)
AGENT_ACTIVE = _agent(
    "agent_active",
    "Whether the agent is active at the vendor; an inactive agent has no loadfleet_agent_up.",
)
AGENT_UP = _agent(
    "agent_up",
    "Whether the agent was reached at the newest poll; an outdated agent that answered is up.",
)
AGENT_FAILURE = _agent(
    "agent_failure", "Why the agent is down; present only while it is down.", "reason"
)
AGENT_OUTDATED = _agent(
    "agent_outdated", "Whether the agent is older than the oldest version the vendor accepts."
)
AGENT_CLOCK_DELTA = _agent(
    "agent_clock_delta_seconds",
    "Agent's clock minus the vendor's; positive if the agent's is ahead (the sign is inferred from"
    " the example of cluster members in the vendor's reference).",
)
AGENT_PING_DURATION = _agent(
    "agent_ping_duration_seconds", "Duration of the vendor's call to the agent."
)
AGENT_BASELINE_PING = _agent(
    "agent_baseline_ping_duration_seconds",
    "Usual duration of the vendor's call to the agent: median of the hourly means of 7 days; absent"
    " with fewer than 24 hourly means.",
)
AGENT_START = _agent("agent_start_timestamp_seconds", "When the agent's software started.")
AGENT_LAST_UP = _agent(
    "agent_last_up_timestamp_seconds", "When the exporter last saw the agent up; survives restarts."
)
AGENT_CHANGED = _agent(
    "agent_changed_timestamp_seconds", f"Latest possible start of the agent's {_STATE_START}"
)
AGENT_HEARTBEAT = _agent(
    "agent_heartbeat_timestamp_seconds", "When the vendor last heard from the agent."
)
AGENT_DISK_FREE = _agent(
    "agent_disk_free_bytes", "Smallest free space among the disks of the agent's host."
)
AGENT_MEMORY_LIMIT = _agent("agent_memory_limit_bytes", "Maximum memory of the agent's runtime.")
AGENT_USERS_LIMIT = _agent(
    "agent_users_limit", "Maximum virtual users of one job on the agent; +Inf is unlimited."
)
AGENT_JOB_DURATION_LIMIT = _agent(
    "agent_job_duration_limit_seconds", "Maximum duration of a job on the agent; +Inf is unlimited."
)
AGENT_PROTECTED = _agent(
    "agent_protected", "Whether the agent requires a token; if not, anyone can use it."
)
AGENT_BUSY = _agent("agent_busy", "Whether the agent is executing something.")
AGENT_JOBS = _agent("agent_jobs", "Jobs stored on the agent, by state.", "state")

# -- Controllers --------------------------------------------------------------------------------

_controller = partial(_declare, ("controller",))

CONTROLLER_INFO = _controller("controller_info", "Facts about a cluster controller.", *_FACTS)
CONTROLLER_UP = _controller(
    "controller_up", "Whether the controller was reached at the newest ping."
)
CONTROLLER_FAILURE = _controller(
    "controller_failure", "Why the controller is down; present only while it is down.", "reason"
)
CONTROLLER_OUTDATED = _controller(
    "controller_outdated",
    "Whether the controller is older than the oldest version the vendor accepts.",
)
CONTROLLER_CLOCK_DELTA = _controller(
    "controller_clock_delta_seconds", "Controller's clock minus the portal's."
)
CONTROLLER_PING_DURATION = _controller(
    "controller_ping_duration_seconds", "Duration of the portal's call to the controller."
)
CONTROLLER_START = _controller(
    "controller_start_timestamp_seconds", "When the controller's software started."
)
CONTROLLER_LAST_UP = _controller(
    "controller_last_up_timestamp_seconds",
    "When the exporter last saw the controller up; survives restarts.",
)
CONTROLLER_CHANGED = _controller(
    "controller_changed_timestamp_seconds",
    f"Latest possible start of the controller's {_STATE_START}",
)
CONTROLLER_MEMORY_LIMIT = _controller(
    "controller_memory_limit_bytes", "Maximum memory of the controller's runtime."
)
CONTROLLER_PROTECTED = _controller(
    "controller_protected", "Whether the controller requires a token."
)

# -- Clusters -----------------------------------------------------------------------------------

_CLUSTER = ("cluster_id", "agent_cluster")

_cluster = partial(_declare, _CLUSTER)
_member = partial(_declare, (*_CLUSTER, "member_id", "agent_id", "agent"))

CLUSTER_INFO = _cluster("cluster_info", "Facts about a cluster.", "controller")
CLUSTER_ACTIVE = _cluster(
    "cluster_active",
    "Whether the cluster is active at the vendor; an inactive one has no loadfleet_cluster_up.",
)
CLUSTER_UP = _cluster(
    "cluster_up", "Whether the controller answered a request for the cluster's members."
)
CLUSTER_FAILURE = _cluster(
    "cluster_failure", "Why the cluster is down; present only while it is down.", "reason"
)
CLUSTER_OUTDATED = _cluster(
    "cluster_outdated", "Whether the cluster's ping reports that its controller is outdated."
)
CLUSTER_CHANGED = _cluster(
    "cluster_changed_timestamp_seconds", f"Latest possible start of the cluster's {_STATE_START}"
)
CLUSTER_MEMBERS = _cluster("cluster_members", "Agents that belong to the cluster.")
CLUSTER_CONNECT_DURATION = _cluster(
    "cluster_connect_duration_seconds", "How long the controller took to connect to all members."
)
CLUSTER_PING_DURATION = _cluster(
    "cluster_ping_duration_seconds", "Duration of the portal's call that pings all members."
)
CLUSTER_MEMBER_INFO = _member(
    "cluster_member_info", "Facts about a member.", "version", "os", "java_version"
)
CLUSTER_MEMBER_UP = _member(
    "cluster_member_up",
    "Whether the controller connected to the member and got a good reply; absent for a member whose"
    " agent is inactive.",
)
CLUSTER_MEMBER_FAILURE = _member(
    "cluster_member_failure", "Why the member is down; present only while it is down.", "reason"
)
CLUSTER_MEMBER_CHANGED = _member(
    "cluster_member_changed_timestamp_seconds",
    f"Latest possible start of the member's {_STATE_START}",
)
CLUSTER_MEMBER_OUTDATED = _member(
    "cluster_member_outdated",
    "Whether the member is older than the oldest version the vendor accepts.",
)
CLUSTER_MEMBER_CLOCK_DELTA = _member(
    "cluster_member_clock_delta_seconds", "Member's clock minus its controller's."
)
CLUSTER_MEMBER_LOAD_FACTOR = _member(
    "cluster_member_load_factor", "The member's weight in the distribution of load in the cluster."
)
CLUSTER_MEMBER_SAMPLING_GRANULARITY = _member(
    "cluster_member_sampling_granularity_seconds",
    "Sampling interval of the member's data collector.",
)

# -- Proxy recorders ----------------------------------------------------------------------------

_recorder = partial(_declare, ("recorder_id", "recorder"))

RECORDER_INFO = _recorder(
    "recorder_info", "Facts about a proxy recorder.", *_FACTS, "component_version"
)
RECORDER_UP = _recorder("recorder_up", "Whether the recorder was reached at the newest ping.")
RECORDER_FAILURE = _recorder(
    "recorder_failure", "Why the recorder is down; present only while it is down.", "reason"
)
RECORDER_OUTDATED = _recorder(
    "recorder_outdated", "Whether the recorder is older than the oldest version the vendor accepts."
)
RECORDER_CLOCK_DELTA = _recorder(
    "recorder_clock_delta_seconds", "Recorder's clock minus the portal's."
)
RECORDER_PING_DURATION = _recorder(
    "recorder_ping_duration_seconds", "Duration of the portal's call to the recorder."
)
RECORDER_LAST_UP = _recorder(
    "recorder_last_up_timestamp_seconds",
    "When the exporter last saw the recorder up; survives restarts.",
)
RECORDER_CHANGED = _recorder(
    "recorder_changed_timestamp_seconds",
    f"Latest possible start of the recorder's {_STATE_START}",
)
RECORDER_MEMORY_LIMIT = _recorder(
    "recorder_memory_limit_bytes", "Maximum memory of the recorder's runtime."
)
RECORDER_RECORDING = _recorder("recorder_recording", "Whether the recorder is recording.")
RECORDER_RECORDED_ELEMENTS = _recorder(
    "recorder_recorded_elements", "Elements in the recorder's current recording."
)
RECORDER_PROTECTED = _recorder(
    "recorder_protected", "Whether the recorder's control port requires a token."
)

# -- Locations ----------------------------------------------------------------------------------

_location = partial(_declare, ("location_id", "location_name"))

LOCATION_INFO = _location("location_info", "A private location.")
LOCATION_ACTIVE = _location(
    "location_active", "Whether runs can start on the location; 0 if it is disabled."
)
LOCATION_AGENTS = _location("location_agents", "Agents that belong to the location.")
LOCATION_AGENTS_UP = _location("location_agents_up", "Agents of the location that are up.")
LOCATION_SLOTS = _location(
    "location_slots", "Maximum number of concurrent engines on each agent of the location."
)
LOCATION_THREADS_PER_ENGINE = _location(
    "location_threads_per_engine",
    "Virtual users of one engine of the location; absent if no test can start there.",
)

# -- Suites -------------------------------------------------------------------------------------

_suite = partial(_declare, ("suite_id", "suite"))

SUITE_HEALTHY = _suite("suite_healthy", "Whether the vendor reports the suite as runnable.")
SUITE_JOBS = _suite("suite_jobs", "Jobs of the suite.")
SUITE_RUNNING = _suite("suite_running", "Whether a run of the suite is in flight.")
SUITE_RUNS = _suite("suite_runs", "Runs of the suite that the vendor stores.")
SUITE_LAST_RUN_OUTCOME = _suite(
    "suite_last_run_outcome",
    "1 for the outcome of the newest finished run by start time, 0 for the other outcomes.",
    "outcome",
)
SUITE_LAST_RUN_PASSED = _suite(
    "suite_last_run_passed",
    "Verdict of the newest finished run that has one: 1 passed; 0 failed, incomplete, error or"
    " no_data. Aborted runs and runs without a verdict are ignored.",
)
SUITE_LAST_RUN_JOBS = _suite(
    "suite_last_run_jobs", "Jobs of the newest finished run, by result.", "result"
)
SUITE_LAST_RUN_SESSIONS = _suite(
    "suite_last_run_sessions", "Sessions of the newest finished run, by result.", "result"
)
SUITE_LAST_RUN_SAMPLES = _suite(
    "suite_last_run_samples", "Samples of the newest finished run, by result.", "result"
)
SUITE_LAST_RUN_SESSION_MEAN = _suite(
    "suite_last_run_session_mean_seconds",
    "Mean duration of a passed session of the newest finished run.",
)
SUITE_LAST_RUN_MAX_USERS = _suite(
    "suite_last_run_max_users", "Maximum concurrent users of the newest finished run."
)
SUITE_LAST_RUN_MAX_PENDING_SAMPLES = _suite(
    "suite_last_run_max_pending_samples", "Maximum pending samples of the newest finished run."
)
SUITE_LAST_RUN_STATE_CODE = _suite(
    "suite_last_run_state_code",
    "The vendor's number for the newest finished run's state; only 2, completed, is known.",
)
SUITE_LAST_RUN_START = _suite(
    "suite_last_run_start_timestamp_seconds", "When the newest finished run started."
)
SUITE_LAST_RUN_END = _suite(
    "suite_last_run_end_timestamp_seconds", "When the newest finished run ended."
)
SUITE_LAST_RUN_DURATION = _suite(
    "suite_last_run_duration_seconds", "How long the newest finished run took."
)
SUITE_LAST_RUN_BOOT = _suite(
    "suite_last_run_boot_duration_seconds", "Boot time of the newest finished run's engines."
)
_TESTJOB = ("testjob_id", "testjob")
SUITE_LAST_RUN_TESTJOB_SAMPLES = _suite(
    "suite_last_run_testjob_samples",
    "Samples of a job of the newest finished run, by result; the vendor has no verdict per job.",
    *_TESTJOB,
    "result",
)
SUITE_LAST_RUN_TESTJOB_DURATION = _suite(
    "suite_last_run_testjob_duration_seconds",
    "How long a job of the newest finished run took.",
    *_TESTJOB,
)
SUITE_LAST_RUN_LOG_EVENTS = _suite(
    "suite_last_run_log_events", "Entries in the log of the newest finished run, by level.", "level"
)
SUITE_LAST_RUN_RESPONSE = _suite(
    "suite_last_run_response_seconds",
    "Response times of the newest finished run, by percentile.",
    "percentile",
)
SUITE_LAST_RUN_RESPONSE_MEAN = _suite(
    "suite_last_run_response_mean_seconds", "Mean response time of the newest finished run."
)
SUITE_LAST_RUN_REQUEST_RATE = _suite(
    "suite_last_run_requests_per_second", "Mean rate of requests of the newest finished run."
)
SUITE_CURRENT_RUN_JOBS = _suite(
    "suite_current_run_jobs", "Jobs of the run in flight, by result so far.", "result"
)
SUITE_CURRENT_RUN_START = _suite(
    "suite_current_run_start_timestamp_seconds", "When the run in flight started."
)
_BASELINE = (
    "median of the newest 20 passed runs before the newest finished run; absent with fewer than 5."
)
SUITE_BASELINE_DURATION = _suite(
    "suite_baseline_duration_seconds", f"Usual duration of a run: {_BASELINE}"
)
SUITE_BASELINE_ERROR_RATIO = _suite(
    "suite_baseline_error_ratio",
    f"Usual ratio, 0 to 1, of failed samples, or without samples of failed sessions: {_BASELINE}",
)
SUITE_BASELINE_BOOT = _suite(
    "suite_baseline_boot_duration_seconds", f"Usual boot time of the engines: {_BASELINE}"
)

# -- Runs ---------------------------------------------------------------------------------------

_run = partial(_declare, ("run_id", "run"))

RUN_INFO = _run("run_info", "Facts about a run.", "suite_id", "agent", "location")
RUN_PHASE = _run("run_phase", "1 for the run's current phase, 0 for the others.", "phase")
RUN_OUTCOME = _run(
    "run_outcome", "1 for the run's outcome; absent while the run is in flight.", "outcome"
)
RUN_DELAYED_START = _run(
    "run_delayed_start", "Whether the run waits for a manual start, and so is not stuck."
)
RUN_INTERNAL_ERROR = _run(
    "run_internal_error", "Whether the run's newest log line reports an internal error."
)
RUN_PROGRESS_CODE = _run(
    "run_progress_code", "The vendor's code for the run's progress, 0 to 150; not a percentage."
)
RUN_ENGINES = _run("run_engines", "Existing engines of the run.")
RUN_ENGINES_PLANNED = _run("run_engines_planned", "Planned engines of the run.")
RUN_ENGINES_RATIO = _run(
    "run_engines_ratio", "Ratio of the run's engines in each phase, 0 to 1.", "phase"
)
RUN_DATA_AVAILABLE = _run("run_data_available", "Whether the run has delivered data.")
RUN_START = _run("run_start_timestamp_seconds", "When the run started.")
RUN_END = _run("run_end_timestamp_seconds", "When the run ended.")
RUN_PHASE_DURATION = _run(
    "run_phase_duration_seconds", "Duration of each phase of the ended run.", "phase"
)
RUN_EVENTS = _run("run_events", "Events of the ended run, by level.", "level")
RUN_EXIT_CODE = _run("run_exit_code", "Worst exit code of the ended run's engines.")
RUN_ENGINE_ERRORS = _run(
    "run_engine_errors",
    "Whether an engine of the ended run was lost or ended in an error, whatever the verdict.",
)
RUN_PASSED = _run("run_passed", "Whether the run passed; absent until known.")

# -- Off by default -----------------------------------------------------------------------------

_certificate = partial(_declare, ("certificate_id", "certificate", "host"))
_template = partial(_declare, ("template_id", "template"))

CERTIFICATE_NOT_AFTER = _certificate(
    "certificate_not_after_timestamp_seconds", "When the client certificate expires."
)
CERTIFICATE_ACTIVE = _certificate(
    "certificate_active", "Whether the client certificate is sent to the recorders."
)
TEMPLATE_HEALTHY = _template(
    "template_healthy", "Whether the vendor reports the job template as runnable."
)

#: All families, in the order of exposition.
FAMILIES: tuple[Family, ...] = tuple(_families)
