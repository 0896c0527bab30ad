"""From readings to samples: the only place that joins what was learnt with how it is named.

It is a table, not code: for every kind of reading the families it fills and the attributes that
hold their values. `samples` walks it for one reading; the exposition walks it column by column for
thousands, which is why values are read with an `attrgetter`: between two targets there is no line
of Python.

What is absent (`None`, or not a number) has no sample; a boolean is 1 or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from exporter.fleet import readings as r
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.errors import Reason


Value = float | bool | None
#: The values of further labels, and the value below them.
Labelled = tuple[tuple[str, ...], Value]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A family of targets.

    Attributes:
        part: The attribute of the target that is read from; empty for the target itself. Where it
            is `None` the family has no value.
        read: Takes the value from that part, or whatever `spread` makes values of.
        is_boolean: Whether the values are booleans.
        spread: For a family with more labels than those of the target, which has no, one or many
            values: makes them of what was read. The same always gives the same.
    """

    family: c.Family
    part: str
    read: Callable[[Any], Any]
    is_boolean: bool = False
    spread: Callable[[Any], Iterable[Labelled]] | None = None


class TargetMapping(msgspec.Struct, frozen=True, kw_only=True):
    """The families that a kind of target fills.

    Attributes:
        labels: The names of the labels that identify a target.
        identity: Takes their values from the target.
        parts: Ways to take a part from the target, each with the columns that read from it.
        targets: The targets within a reading.
    """

    labels: tuple[str, ...]
    identity: Callable[[Any], tuple[str, ...]]
    parts: tuple[tuple[Callable[[Any], Any], tuple[Column, ...]], ...]
    targets: Callable[[Any], Iterable[Any]]


class Sample(NamedTuple):
    """One value of a family; `labels` are the values of `family.labels`, in their order."""

    family: c.Family
    labels: tuple[str, ...]
    value: float


class _ClusterMember(NamedTuple):
    """A member as a target: its series have the labels of its cluster, too."""

    cluster: r.Cluster
    member: r.Member


class _TargetCount(NamedTuple):
    """The number of targets of a kind."""

    kind: str
    number: float


class _Absent:
    """Stands for a part that is `None`: all that could be read from it is absent."""

    def __getattr__(self, name: str) -> None:
        return None


_ABSENT = _Absent()


def _mapping(
    labels: tuple[str, ...],
    *columns: Column,
    fields: tuple[str, ...] = (),
    targets: Callable[[Any], Iterable[Any]] = lambda reading: (reading,),
) -> TargetMapping:
    """Map targets that are identified by `fields`, which are called as the labels if not given."""
    parts: dict[str, list[Column]] = {}
    for column in columns:
        parts.setdefault(column.part, []).append(column)
    return TargetMapping(
        labels=labels,
        identity=_values(fields or labels),
        parts=tuple((_part(path), tuple(some)) for path, some in parts.items()),
        targets=targets,
    )


def _part(path: str) -> Callable[[Any], Any]:
    if not path:
        return lambda target: target
    read = attrgetter(path)
    return lambda target: read(target) or _ABSENT


def _values(fields: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    reads = tuple(attrgetter(field) for field in fields)
    return lambda row: tuple([read(row) for read in reads])


def _column(family: c.Family, path: str, *more: str, **options: Any) -> Column:
    """Read an attribute, such as `state.users_limit`; with `more` of that part, a tuple."""
    part, _, field = path.rpartition(".")
    return Column(family=family, part=part, read=attrgetter(field, *more), **options)


_number = _column
_boolean = partial(_column, is_boolean=True)


def _by_key(family: c.Family, path: str) -> Column:
    """Read a mapping, whose keys are the values of the one further label."""

    def spread(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
        return [((key,), value) for key, value in (counts or {}).items()]

    return _column(family, path, spread=spread)


def _failure(family: c.Family, part: str) -> Column:
    """Read the reason while a target is not up."""

    def spread(found: tuple[bool | None, Reason | None]) -> Iterable[Labelled]:
        up, reason = found
        if up is False and reason is not None:
            return (((reason.value,), True),)
        return ()

    return _column(family, f"{part}.up", "reason", spread=spread)


def _info(family: c.Family, *fields: str) -> Column:
    """Read the values of the further labels."""
    return Column(family=family, part="", read=_values(fields), spread=_one)


def _target_info(family: c.Family, *more: str) -> Column:
    """Read where a machine is, what runs on it, and `more` of its state."""
    facts = ("version", "os", "os_version", "java_version", "java_vendor")
    # In the catalogue's order: the location stands behind the facts.
    of_state = [f"state.{fact}" for fact in (*facts, *more)]
    known = attrgetter("host", "port", *of_state[: len(facts)], "location", *of_state[len(facts) :])

    def read(target: r.Target) -> tuple[str, ...]:
        if target.state is not None:
            return known(target)
        return (target.host, target.port, *("",) * len(facts), target.location, *("",) * len(more))

    return Column(family=family, part="", read=read, spread=_one)


def _agent_info(family: c.Family) -> Column:
    """Read what any machine tells, and whether the vendor manages the agent."""
    column = _target_info(family)

    def read(agent: r.Agent) -> tuple[str, ...]:
        return (*column.read(agent), agent.managed)

    return msgspec.structs.replace(column, read=read)


def _one(values: tuple[str, ...]) -> Iterable[Labelled]:
    return ((values, True),)


def _phases(phase: str) -> Iterable[Labelled]:
    shown = phase if phase in r.PHASES else "unknown"
    return [((each,), each == shown) for each in r.PHASES]


def _outcomes(outcome: r.Outcome | None) -> Iterable[Labelled]:
    """Return a sample for each outcome, as soon as there is one."""
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
    """Return nothing while the member's state is not known."""
    version, os, java_version = state
    if version is None or os is None or java_version is None:
        return ()
    return (((version, os, java_version), True),)


def _job_states(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
    if counts is None:
        return ()
    return [((state,), counts.get(state, 0.0)) for state in r.JOB_STATES]


_AGENT = _mapping(
    ("agent_id", "agent"),
    _agent_info(c.AGENT_INFO),
    _boolean(c.AGENT_ACTIVE, "active"),
    _boolean(c.AGENT_PROTECTED, "protected"),
    _number(c.AGENT_LAST_UP, "last_up_timestamp_seconds"),
    _number(c.AGENT_CHANGED, "changed_timestamp_seconds"),
    _boolean(c.AGENT_UP, "state.up"),
    _failure(c.AGENT_FAILURE, "state"),
    _boolean(c.AGENT_OUTDATED, "state.outdated"),
    _number(c.AGENT_CLOCK_DELTA, "state.clock_delta_seconds"),
    _number(c.AGENT_PING_DURATION, "state.ping_duration_seconds"),
    _number(c.AGENT_START, "state.start_timestamp_seconds"),
    _number(c.AGENT_HEARTBEAT, "state.heartbeat_timestamp_seconds"),
    _number(c.AGENT_DISK_FREE, "state.disk_free_bytes"),
    _number(c.AGENT_MEMORY_LIMIT, "state.memory_limit_bytes"),
    _number(c.AGENT_USERS_LIMIT, "state.users_limit"),
    _number(c.AGENT_JOB_DURATION_LIMIT, "state.job_duration_limit_seconds"),
    _boolean(c.AGENT_BUSY, "state.busy"),
)

_AGENT_JOBS = _mapping(("agent_id", "agent"), _column(c.AGENT_JOBS, "counts", spread=_job_states))

_CONTROLLER = _mapping(
    ("controller",),
    _target_info(c.CONTROLLER_INFO),
    _boolean(c.CONTROLLER_PROTECTED, "protected"),
    _number(c.CONTROLLER_LAST_UP, "last_up_timestamp_seconds"),
    _number(c.CONTROLLER_CHANGED, "changed_timestamp_seconds"),
    _boolean(c.CONTROLLER_UP, "state.up"),
    _failure(c.CONTROLLER_FAILURE, "state"),
    _boolean(c.CONTROLLER_OUTDATED, "state.outdated"),
    _number(c.CONTROLLER_CLOCK_DELTA, "state.clock_delta_seconds"),
    _number(c.CONTROLLER_PING_DURATION, "state.ping_duration_seconds"),
    _number(c.CONTROLLER_START, "state.start_timestamp_seconds"),
    _number(c.CONTROLLER_MEMORY_LIMIT, "state.memory_limit_bytes"),
)

_RECORDER = _mapping(
    ("recorder_id", "recorder"),
    _target_info(c.RECORDER_INFO, "component_version"),
    _boolean(c.RECORDER_PROTECTED, "protected"),
    _number(c.RECORDER_LAST_UP, "last_up_timestamp_seconds"),
    _number(c.RECORDER_CHANGED, "changed_timestamp_seconds"),
    _boolean(c.RECORDER_UP, "state.up"),
    _failure(c.RECORDER_FAILURE, "state"),
    _boolean(c.RECORDER_OUTDATED, "state.outdated"),
    _number(c.RECORDER_CLOCK_DELTA, "state.clock_delta_seconds"),
    _number(c.RECORDER_PING_DURATION, "state.ping_duration_seconds"),
    _number(c.RECORDER_MEMORY_LIMIT, "state.memory_limit_bytes"),
    _boolean(c.RECORDER_RECORDING, "state.recording"),
    _number(c.RECORDER_RECORDED_ELEMENTS, "state.recorded_elements"),
)

_CLUSTER = _mapping(
    ("cluster_id", "agent_cluster"),
    _info(c.CLUSTER_INFO, "controller"),
    _boolean(c.CLUSTER_ACTIVE, "active"),
    Column(family=c.CLUSTER_MEMBERS, part="", read=lambda cluster: len(cluster.members)),
    _number(c.CLUSTER_CHANGED, "changed_timestamp_seconds"),
    _boolean(c.CLUSTER_UP, "state.up"),
    _failure(c.CLUSTER_FAILURE, "state"),
    _boolean(c.CLUSTER_OUTDATED, "state.outdated"),
    _number(c.CLUSTER_CONNECT_DURATION, "state.connect_duration_seconds"),
    _number(c.CLUSTER_PING_DURATION, "state.ping_duration_seconds"),
)

_MEMBER = _mapping(
    ("cluster_id", "agent_cluster", "member_id", "agent_id", "agent"),
    _column(
        c.CLUSTER_MEMBER_INFO,
        "member.state.version",
        "os",
        "java_version",
        spread=_member_info,
    ),
    _number(c.CLUSTER_MEMBER_LOAD_FACTOR, "member.load_factor"),
    _boolean(c.CLUSTER_MEMBER_UP, "member.state.up"),
    _failure(c.CLUSTER_MEMBER_FAILURE, "member.state"),
    _number(c.CLUSTER_MEMBER_CHANGED, "member.changed_timestamp_seconds"),
    _boolean(c.CLUSTER_MEMBER_OUTDATED, "member.state.outdated"),
    _number(c.CLUSTER_MEMBER_CLOCK_DELTA, "member.state.clock_delta_seconds"),
    _number(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY, "member.state.sampling_granularity_seconds"),
    fields=(
        "cluster.cluster_id",
        "cluster.agent_cluster",
        "member.member_id",
        "member.agent_id",
        "member.agent",
    ),
    targets=lambda cluster: [_ClusterMember(cluster, member) for member in cluster.members],
)

_SUITE = _mapping(
    ("suite_id", "suite"),
    _boolean(c.SUITE_HEALTHY, "healthy"),
    _number(c.SUITE_JOBS, "jobs"),
    _boolean(c.SUITE_RUNNING, "running"),
    _number(c.SUITE_RUNS, "runs"),
    _column(c.SUITE_LAST_RUN_OUTCOME, "last_run.outcome", spread=_outcomes),
    _boolean(c.SUITE_LAST_RUN_PASSED, "last_run_passed"),
    _by_key(c.SUITE_LAST_RUN_JOBS, "last_run.jobs"),
    _by_key(c.SUITE_LAST_RUN_SESSIONS, "last_run.sessions"),
    _by_key(c.SUITE_LAST_RUN_SAMPLES, "last_run.samples"),
    _number(c.SUITE_LAST_RUN_SESSION_MEAN, "last_run.session_mean_seconds"),
    _number(c.SUITE_LAST_RUN_MAX_USERS, "last_run.max_users"),
    _number(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES, "last_run.max_pending_samples"),
    _number(c.SUITE_LAST_RUN_STATE_CODE, "last_run.state_code"),
    _number(c.SUITE_LAST_RUN_START, "last_run.start_timestamp_seconds"),
    _number(c.SUITE_LAST_RUN_END, "last_run.end_timestamp_seconds"),
    _number(c.SUITE_LAST_RUN_DURATION, "last_run.duration_seconds"),
    _column(c.SUITE_LAST_RUN_TESTJOB_SAMPLES, "last_run.testjobs", spread=_testjob_samples),
    _column(c.SUITE_LAST_RUN_TESTJOB_DURATION, "last_run.testjobs", spread=_testjob_durations),
    _by_key(c.SUITE_LAST_RUN_LOG_EVENTS, "last_run.log_events"),
    _by_key(c.SUITE_LAST_RUN_RESPONSE, "last_run.response_seconds"),
    _number(c.SUITE_LAST_RUN_RESPONSE_MEAN, "last_run.response_mean_seconds"),
    _number(c.SUITE_LAST_RUN_REQUEST_RATE, "last_run.requests_per_second"),
    _by_key(c.SUITE_CURRENT_RUN_JOBS, "current_run.jobs"),
    _number(c.SUITE_CURRENT_RUN_START, "current_run.start_timestamp_seconds"),
)

_RUN = _mapping(
    ("run_id", "run"),
    _info(c.RUN_INFO, "suite_id", "agent", "location"),
    _column(c.RUN_PHASE, "phase", spread=_phases),
    _column(c.RUN_OUTCOME, "outcome", spread=_outcome),
    _boolean(c.RUN_DELAYED_START, "delayed_start"),
    _boolean(c.RUN_INTERNAL_ERROR, "internal_error"),
    _number(c.RUN_PROGRESS_CODE, "progress_code"),
    _number(c.RUN_ENGINES, "engines"),
    _number(c.RUN_ENGINES_PLANNED, "engines_planned"),
    _by_key(c.RUN_ENGINES_RATIO, "engines_ratio"),
    _boolean(c.RUN_DATA_AVAILABLE, "data_available"),
    _number(c.RUN_START, "start_timestamp_seconds"),
    _number(c.RUN_END, "end_timestamp_seconds"),
    _by_key(c.RUN_PHASE_DURATION, "phase_durations"),
    _by_key(c.RUN_EVENTS, "events"),
    _number(c.RUN_EXIT_CODE, "exit_code"),
    _boolean(c.RUN_ENGINE_ERRORS, "engine_errors"),
    _boolean(c.RUN_PASSED, "passed"),
)

_LOCATION = _mapping(
    ("location_id", "location_name"),
    Column(family=c.LOCATION_INFO, part="", read=lambda _: True, is_boolean=True),
    _boolean(c.LOCATION_ACTIVE, "active"),
    _number(c.LOCATION_AGENTS, "agents"),
    _number(c.LOCATION_AGENTS_UP, "agents_up"),
    _number(c.LOCATION_SLOTS, "slots"),
    _number(c.LOCATION_THREADS_PER_ENGINE, "threads_per_engine"),
)

_TASK_HEALTH = _mapping(("task",), _boolean(c.SOURCE_TASK_UP, "up"))

# A source has one reading for each task, of kinds that no other task has.
_TARGET_COUNTS = _mapping(
    ("kind",),
    _number(c.SOURCE_TARGETS, "number"),
    targets=lambda health: tuple(_TargetCount(*count) for count in health.targets.items()),
)

_CERTIFICATE = _mapping(
    ("certificate_id", "certificate", "host"),
    _number(c.CERTIFICATE_NOT_AFTER, "not_after_timestamp_seconds"),
    _boolean(c.CERTIFICATE_ACTIVE, "active"),
)

#: The mappings of each kind of reading.
MAPPINGS: Mapping[type[r.Reading], tuple[TargetMapping, ...]] = {
    r.Agent: (_AGENT,),
    r.AgentJobs: (_AGENT_JOBS,),
    r.Controller: (_CONTROLLER,),
    r.Recorder: (_RECORDER,),
    r.Cluster: (_CLUSTER, _MEMBER),
    r.Location: (_LOCATION,),
    r.Suite: (_SUITE,),
    r.Run: (_RUN,),
    r.Certificate: (_CERTIFICATE,),
    r.Template: (_mapping(("template_id", "template"), _boolean(c.TEMPLATE_HEALTHY, "healthy")),),
    r.Account: (_mapping((), _number(c.ACCOUNT_JOB_DURATION_LIMIT, "job_duration_limit_seconds")),),
    r.MinVersion: (_mapping(("component",), _info(c.MIN_REQUIRED_VERSION_INFO, "version")),),
    r.SourceHealth: (
        _mapping((), _boolean(c.SOURCE_UP, "up"), _boolean(c.SOURCE_AUTH_FAILED, "auth_failed")),
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
        # Only a value that is not a number differs from itself.
        if value is not None and value == value:  # noqa: PLR0124
            yield Sample(column.family, (*labels, *more), float(value))
