"""The table that maps the attributes of readings to metric families.

For every kind of reading it lists the families and the attributes with their values. `samples`
applies it to one reading; the exposition applies it column by column to thousands.

A value that is absent (`None` or NaN) has no sample; a boolean becomes 1 or 0.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from exporter.fleet import readings as r
from exporter.metrics import catalogue as c
from exporter.metrics.columns import (
    Column,
    Labelled,
    TargetMapping,
    attribute,
    boolean,
    by_key,
    failure,
    info,
    mapped,
    number,
    one,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Sample(NamedTuple):
    """One value of a family. `labels` has the values of `family.labels`, in the same order."""

    family: c.Family
    labels: tuple[str, ...]
    value: float


class _ClusterMember(NamedTuple):
    """A cluster's member as a target, whose series also have the labels of the cluster."""

    cluster: r.Cluster
    member: r.Member


class _TargetCount(NamedTuple):
    """The number of targets of a kind."""

    kind: str
    number: float


def _target_info(family: c.Family, *more: str) -> Column:
    """Return a column with a machine's address, its software, and `more` fields of its state."""
    facts = ("version", "os", "os_version", "java_version", "java_vendor")
    # In the order of the catalogue, where the location follows these facts.
    of_state = [f"state.{fact}" for fact in (*facts, *more)]
    known = attrgetter("host", "port", *of_state[: len(facts)], "location", *of_state[len(facts) :])

    def read(target: r.Target) -> tuple[str, ...]:
        if target.state is not None:
            return known(target)
        return (target.host, target.port, *("",) * len(facts), target.location, *("",) * len(more))

    return Column(family=family, part="", read=read, spread=one)


def _agent_info(family: c.Family) -> Column:
    """Return the column of `_target_info`, with the agent's `managed` in addition."""
    column = _target_info(family)

    def read(agent: r.Agent) -> tuple[str, ...]:
        return (*column.read(agent), agent.managed)

    return msgspec.structs.replace(column, read=read)


def _phases(phase: str) -> Iterable[Labelled]:
    shown = phase if phase in r.PHASES else "unknown"
    return [((each,), each == shown) for each in r.PHASES]


def _outcomes(outcome: r.Outcome | None) -> Iterable[Labelled]:
    """Return a sample for each possible outcome, or none if there is no outcome yet."""
    if outcome is None:
        return ()
    return [((each.value,), each is outcome) for each in r.Outcome]


def _outcome(outcome: r.Outcome | None) -> Iterable[Labelled]:
    return () if outcome is None else (((outcome.value,), True),)


def _testjob_samples(testjobs: tuple[r.SuiteJob, ...] | None) -> Iterable[Labelled]:
    return [
        ((job.testjob_id, job.testjob, result), count)
        for job in testjobs or ()
        for result, count in job.samples.items()
    ]


def _testjob_durations(testjobs: tuple[r.SuiteJob, ...] | None) -> Iterable[Labelled]:
    return [((job.testjob_id, job.testjob), job.duration_seconds) for job in testjobs or ()]


def _member_info(state: tuple[str | None, str | None, str | None]) -> Iterable[Labelled]:
    """Return the sample of a member's facts, or none if a fact is unknown."""
    version, os, java_version = state
    if version is None or os is None or java_version is None:
        return ()
    return (((version, os, java_version), True),)


def _job_states(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
    if counts is None:
        return ()
    return [((state,), counts.get(state, 0.0)) for state in r.JOB_STATES]


_AGENT = mapped(
    ("agent_id", "agent"),
    _agent_info(c.AGENT_INFO),
    boolean(c.AGENT_ACTIVE, "active"),
    boolean(c.AGENT_PROTECTED, "protected"),
    number(c.AGENT_LAST_UP, "last_up_timestamp_seconds"),
    number(c.AGENT_CHANGED, "changed_timestamp_seconds"),
    number(c.AGENT_BASELINE_PING, "usual_ping_seconds"),
    boolean(c.AGENT_UP, "state.up"),
    failure(c.AGENT_FAILURE, "state"),
    boolean(c.AGENT_OUTDATED, "state.outdated"),
    number(c.AGENT_CLOCK_DELTA, "state.clock_delta_seconds"),
    number(c.AGENT_PING_DURATION, "state.ping_duration_seconds"),
    number(c.AGENT_START, "state.start_timestamp_seconds"),
    number(c.AGENT_HEARTBEAT, "state.heartbeat_timestamp_seconds"),
    number(c.AGENT_DISK_FREE, "state.disk_free_bytes"),
    number(c.AGENT_MEMORY_LIMIT, "state.memory_limit_bytes"),
    number(c.AGENT_USERS_LIMIT, "state.users_limit"),
    number(c.AGENT_JOB_DURATION_LIMIT, "state.job_duration_limit_seconds"),
    boolean(c.AGENT_BUSY, "state.busy"),
)

_AGENT_JOBS = mapped(("agent_id", "agent"), attribute(c.AGENT_JOBS, "counts", spread=_job_states))

_CONTROLLER = mapped(
    ("controller",),
    _target_info(c.CONTROLLER_INFO),
    boolean(c.CONTROLLER_PROTECTED, "protected"),
    number(c.CONTROLLER_LAST_UP, "last_up_timestamp_seconds"),
    number(c.CONTROLLER_CHANGED, "changed_timestamp_seconds"),
    boolean(c.CONTROLLER_UP, "state.up"),
    failure(c.CONTROLLER_FAILURE, "state"),
    boolean(c.CONTROLLER_OUTDATED, "state.outdated"),
    number(c.CONTROLLER_CLOCK_DELTA, "state.clock_delta_seconds"),
    number(c.CONTROLLER_PING_DURATION, "state.ping_duration_seconds"),
    number(c.CONTROLLER_START, "state.start_timestamp_seconds"),
    number(c.CONTROLLER_MEMORY_LIMIT, "state.memory_limit_bytes"),
)

_RECORDER = mapped(
    ("recorder_id", "recorder"),
    _target_info(c.RECORDER_INFO, "component_version"),
    boolean(c.RECORDER_PROTECTED, "protected"),
    number(c.RECORDER_LAST_UP, "last_up_timestamp_seconds"),
    number(c.RECORDER_CHANGED, "changed_timestamp_seconds"),
    boolean(c.RECORDER_UP, "state.up"),
    failure(c.RECORDER_FAILURE, "state"),
    boolean(c.RECORDER_OUTDATED, "state.outdated"),
    number(c.RECORDER_CLOCK_DELTA, "state.clock_delta_seconds"),
    number(c.RECORDER_PING_DURATION, "state.ping_duration_seconds"),
    number(c.RECORDER_MEMORY_LIMIT, "state.memory_limit_bytes"),
    boolean(c.RECORDER_RECORDING, "state.recording"),
    number(c.RECORDER_RECORDED_ELEMENTS, "state.recorded_elements"),
)

_CLUSTER = mapped(
    ("cluster_id", "agent_cluster"),
    info(c.CLUSTER_INFO, "controller"),
    boolean(c.CLUSTER_ACTIVE, "active"),
    Column(family=c.CLUSTER_MEMBERS, part="", read=lambda cluster: len(cluster.members)),
    number(c.CLUSTER_CHANGED, "changed_timestamp_seconds"),
    boolean(c.CLUSTER_UP, "state.up"),
    failure(c.CLUSTER_FAILURE, "state"),
    boolean(c.CLUSTER_OUTDATED, "state.outdated"),
    number(c.CLUSTER_CONNECT_DURATION, "state.connect_duration_seconds"),
    number(c.CLUSTER_PING_DURATION, "state.ping_duration_seconds"),
)

_MEMBER = mapped(
    ("cluster_id", "agent_cluster", "member_id", "agent_id", "agent"),
    attribute(
        c.CLUSTER_MEMBER_INFO,
        "member.state.version",
        "os",
        "java_version",
        spread=_member_info,
    ),
    number(c.CLUSTER_MEMBER_LOAD_FACTOR, "member.load_factor"),
    boolean(c.CLUSTER_MEMBER_UP, "member.state.up"),
    failure(c.CLUSTER_MEMBER_FAILURE, "member.state"),
    number(c.CLUSTER_MEMBER_CHANGED, "member.changed_timestamp_seconds"),
    boolean(c.CLUSTER_MEMBER_OUTDATED, "member.state.outdated"),
    number(c.CLUSTER_MEMBER_CLOCK_DELTA, "member.state.clock_delta_seconds"),
    number(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY, "member.state.sampling_granularity_seconds"),
    fields=(
        "cluster.cluster_id",
        "cluster.agent_cluster",
        "member.member_id",
        "member.agent_id",
        "member.agent",
    ),
    targets=lambda cluster: [_ClusterMember(cluster, member) for member in cluster.members],
)

_SUITE = mapped(
    ("suite_id", "suite"),
    boolean(c.SUITE_HEALTHY, "healthy"),
    number(c.SUITE_JOBS, "jobs"),
    boolean(c.SUITE_RUNNING, "running"),
    number(c.SUITE_RUNS, "runs"),
    attribute(c.SUITE_LAST_RUN_OUTCOME, "last_run.outcome", spread=_outcomes),
    boolean(c.SUITE_LAST_RUN_PASSED, "last_run_passed"),
    by_key(c.SUITE_LAST_RUN_JOBS, "last_run.jobs"),
    by_key(c.SUITE_LAST_RUN_SESSIONS, "last_run.sessions"),
    by_key(c.SUITE_LAST_RUN_SAMPLES, "last_run.samples"),
    number(c.SUITE_LAST_RUN_SESSION_MEAN, "last_run.session_mean_seconds"),
    number(c.SUITE_LAST_RUN_MAX_USERS, "last_run.max_users"),
    number(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES, "last_run.max_pending_samples"),
    number(c.SUITE_LAST_RUN_STATE_CODE, "last_run.state_code"),
    number(c.SUITE_LAST_RUN_START, "last_run.start_timestamp_seconds"),
    number(c.SUITE_LAST_RUN_END, "last_run.end_timestamp_seconds"),
    number(c.SUITE_LAST_RUN_DURATION, "last_run.duration_seconds"),
    number(c.SUITE_LAST_RUN_BOOT, "last_run.boot_seconds"),
    attribute(c.SUITE_LAST_RUN_TESTJOB_SAMPLES, "last_run.testjobs", spread=_testjob_samples),
    attribute(c.SUITE_LAST_RUN_TESTJOB_DURATION, "last_run.testjobs", spread=_testjob_durations),
    by_key(c.SUITE_LAST_RUN_LOG_EVENTS, "last_run.log_events"),
    by_key(c.SUITE_LAST_RUN_RESPONSE, "last_run.response_seconds"),
    number(c.SUITE_LAST_RUN_RESPONSE_MEAN, "last_run.response_mean_seconds"),
    number(c.SUITE_LAST_RUN_REQUEST_RATE, "last_run.requests_per_second"),
    by_key(c.SUITE_CURRENT_RUN_JOBS, "current_run.jobs"),
    number(c.SUITE_CURRENT_RUN_START, "current_run.start_timestamp_seconds"),
    number(c.SUITE_BASELINE_DURATION, "usual.duration_seconds"),
    number(c.SUITE_BASELINE_ERROR_RATIO, "usual.error_ratio"),
    number(c.SUITE_BASELINE_BOOT, "usual.boot_seconds"),
)

_RUN = mapped(
    ("run_id", "run"),
    info(c.RUN_INFO, "suite_id", "agent", "location"),
    attribute(c.RUN_PHASE, "phase", spread=_phases),
    attribute(c.RUN_OUTCOME, "outcome", spread=_outcome),
    boolean(c.RUN_DELAYED_START, "delayed_start"),
    boolean(c.RUN_INTERNAL_ERROR, "internal_error"),
    number(c.RUN_PROGRESS_CODE, "progress_code"),
    number(c.RUN_ENGINES, "engines"),
    number(c.RUN_ENGINES_PLANNED, "engines_planned"),
    by_key(c.RUN_ENGINES_RATIO, "engines_ratio"),
    boolean(c.RUN_DATA_AVAILABLE, "data_available"),
    number(c.RUN_START, "start_timestamp_seconds"),
    number(c.RUN_END, "end_timestamp_seconds"),
    by_key(c.RUN_PHASE_DURATION, "phase_durations"),
    by_key(c.RUN_EVENTS, "events"),
    number(c.RUN_EXIT_CODE, "exit_code"),
    boolean(c.RUN_ENGINE_ERRORS, "engine_errors"),
    boolean(c.RUN_PASSED, "passed"),
)

_LOCATION = mapped(
    ("location_id", "location_name"),
    Column(family=c.LOCATION_INFO, part="", read=lambda _: True, is_boolean=True),
    boolean(c.LOCATION_ACTIVE, "active"),
    number(c.LOCATION_AGENTS, "agents"),
    number(c.LOCATION_AGENTS_UP, "agents_up"),
    number(c.LOCATION_SLOTS, "slots"),
    number(c.LOCATION_THREADS_PER_ENGINE, "threads_per_engine"),
)

_TASK_HEALTH = mapped(
    ("task",), boolean(c.SOURCE_TASK_UP, "up"), failure(c.SOURCE_TASK_FAILURE, "")
)

# A source has a reading of this type for each task. No two tasks list the same kind.
_TARGET_COUNTS = mapped(
    ("kind",),
    number(c.SOURCE_TARGETS, "number"),
    targets=lambda health: tuple(_TargetCount(*count) for count in health.targets.items()),
)

_CERTIFICATE = mapped(
    ("certificate_id", "certificate", "host"),
    number(c.CERTIFICATE_NOT_AFTER, "not_after_timestamp_seconds"),
    boolean(c.CERTIFICATE_ACTIVE, "active"),
)

#: The mappings of each type of reading. The registry of providers adds those of their own types.
MAPPINGS: dict[type[r.Reading], tuple[TargetMapping, ...]] = {
    r.Agent: (_AGENT,),
    r.AgentJobs: (_AGENT_JOBS,),
    r.Controller: (_CONTROLLER,),
    r.Recorder: (_RECORDER,),
    r.Cluster: (_CLUSTER, _MEMBER),
    r.Location: (_LOCATION,),
    r.Suite: (_SUITE,),
    r.Run: (_RUN,),
    r.Certificate: (_CERTIFICATE,),
    r.Template: (mapped(("template_id", "template"), boolean(c.TEMPLATE_HEALTHY, "healthy")),),
    r.Account: (mapped((), number(c.ACCOUNT_JOB_DURATION_LIMIT, "job_duration_limit_seconds")),),
    r.MinVersion: (mapped(("component",), info(c.MIN_REQUIRED_VERSION_INFO, "version")),),
    r.SourceHealth: (
        mapped((), boolean(c.SOURCE_UP, "up"), boolean(c.SOURCE_AUTH_FAILED, "auth_failed")),
    ),
    r.TaskHealth: (_TASK_HEALTH, _TARGET_COUNTS),
}


def samples(reading: r.Reading) -> Iterator[Sample]:
    """Yield the samples of one reading, without the labels of its source."""
    for mapping in MAPPINGS[type(reading)]:
        for target in mapping.targets(reading):
            labels = mapping.identity(target)
            for part, columns in mapping.parts:
                row = part(target)
                for column in columns:
                    yield from _of_column(column, labels, column.read(row))


def _of_column(column: Column, labels: tuple[str, ...], found: Any) -> Iterator[Sample]:
    values: Iterable[Labelled] = (((), found),) if column.spread is None else column.spread(found)
    for more, value in values:
        # Only NaN differs from itself.
        if value is not None and value == value:  # noqa: PLR0124
            yield Sample(column.family, (*labels, *more), float(value))
