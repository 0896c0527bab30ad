"""From readings to samples: the only place that joins what was learnt with how it is named.

It is a table, not code: for every kind of reading the families it fills and where their values
stand. `samples` walks it for one reading; the exposition walks it column by column for thousands.

What is absent (`None`, or not a number) has no sample; a flag is 1 or 0.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet import readings as r
from exporter.metrics import catalogue as c
from exporter.metrics.plans import (
    NOTHING,
    Column,
    Labelled,
    Plan,
    Spread,
    Table,
    by_key,
    failure,
    flag,
    info,
    number,
    plan,
    target_info,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Sample(NamedTuple):
    """One value of a family; `labels` are the values of `family.labels`, in their order."""

    family: c.Family
    labels: tuple[str, ...]
    value: float


def _phases(phase: str) -> Iterable[Labelled]:
    shown = phase if phase in r.PHASES else "unknown"
    return [((each,), each == shown) for each in r.PHASES]


def _job_states(counts: Mapping[str, float] | None) -> Iterable[Labelled]:
    if counts is None:
        return ()
    return [((state,), counts.get(state, 0.0)) for state in r.JOB_STATES]


def _members(cluster: r.Cluster) -> Iterator[tuple[r.Cluster, r.Member]]:
    return ((cluster, member) for member in cluster.members)


def _member_identity(target: tuple[r.Cluster, r.Member]) -> tuple[str, ...]:
    cluster, member = target
    return (
        cluster.cluster_id,
        cluster.agent_cluster,
        member.member_id,
        member.agent_id,
        member.agent,
    )


def _member_state(target: tuple[r.Cluster, r.Member]) -> object:
    return target[1].state or NOTHING


_AGENT = plan(
    "agent_id",
    "agent",
    own=(
        target_info(c.AGENT_INFO),
        flag(c.AGENT_ACTIVE, "active"),
        flag(c.AGENT_PROTECTED, "protected"),
        number(c.AGENT_LAST_UP, "last_up_timestamp_seconds"),
    ),
    state=(
        flag(c.AGENT_UP, "up"),
        failure(c.AGENT_FAILURE),
        flag(c.AGENT_OUTDATED, "outdated"),
        number(c.AGENT_CLOCK_DELTA, "clock_delta_seconds"),
        number(c.AGENT_PING_DURATION, "ping_duration_seconds"),
        number(c.AGENT_START, "start_timestamp_seconds"),
        number(c.AGENT_HEARTBEAT, "heartbeat_timestamp_seconds"),
        number(c.AGENT_MEMORY_LIMIT, "memory_limit_bytes"),
        number(c.AGENT_USERS_LIMIT, "users_limit"),
        number(c.AGENT_JOB_DURATION_LIMIT, "job_duration_limit_seconds"),
        flag(c.AGENT_BUSY, "busy"),
    ),
)

_AGENT_JOBS = plan(
    "agent_id", "agent", own=(Spread(c.AGENT_JOBS, attrgetter("counts"), _job_states),)
)

_CONTROLLER = plan(
    "controller",
    own=(
        target_info(c.CONTROLLER_INFO),
        flag(c.CONTROLLER_PROTECTED, "protected"),
        number(c.CONTROLLER_LAST_UP, "last_up_timestamp_seconds"),
    ),
    state=(
        flag(c.CONTROLLER_UP, "up"),
        failure(c.CONTROLLER_FAILURE),
        flag(c.CONTROLLER_OUTDATED, "outdated"),
        number(c.CONTROLLER_CLOCK_DELTA, "clock_delta_seconds"),
        number(c.CONTROLLER_PING_DURATION, "ping_duration_seconds"),
        number(c.CONTROLLER_START, "start_timestamp_seconds"),
        number(c.CONTROLLER_MEMORY_LIMIT, "memory_limit_bytes"),
    ),
)

_RECORDER = plan(
    "recorder_id",
    "recorder",
    own=(
        target_info(c.RECORDER_INFO, "component_version"),
        flag(c.RECORDER_PROTECTED, "protected"),
        number(c.RECORDER_LAST_UP, "last_up_timestamp_seconds"),
    ),
    state=(
        flag(c.RECORDER_UP, "up"),
        failure(c.RECORDER_FAILURE),
        flag(c.RECORDER_OUTDATED, "outdated"),
        number(c.RECORDER_CLOCK_DELTA, "clock_delta_seconds"),
        number(c.RECORDER_PING_DURATION, "ping_duration_seconds"),
        number(c.RECORDER_MEMORY_LIMIT, "memory_limit_bytes"),
        flag(c.RECORDER_RECORDING, "recording"),
        number(c.RECORDER_RECORDED_ELEMENTS, "recorded_elements"),
    ),
)

_CLUSTER = plan(
    "cluster_id",
    "agent_cluster",
    own=(
        info(c.CLUSTER_INFO, "controller"),
        flag(c.CLUSTER_ACTIVE, "active"),
        Column(c.CLUSTER_MEMBERS, lambda cluster: len(cluster.members)),
    ),
    state=(
        number(c.CLUSTER_CONNECT_DURATION, "connect_duration_seconds"),
        number(c.CLUSTER_PING_DURATION, "ping_duration_seconds"),
    ),
)

_MEMBER = Plan(
    ("cluster_id", "agent_cluster", "member_id", "agent_id", "agent"),
    _member_identity,
    (
        Table(itemgetter(1), (number(c.CLUSTER_MEMBER_LOAD_FACTOR, "load_factor"),)),
        Table(
            _member_state,
            (
                flag(c.CLUSTER_MEMBER_UP, "up"),
                failure(c.CLUSTER_MEMBER_FAILURE),
                flag(c.CLUSTER_MEMBER_OUTDATED, "outdated"),
                number(c.CLUSTER_MEMBER_CLOCK_DELTA, "clock_delta_seconds"),
                number(c.CLUSTER_MEMBER_SAMPLING_GRANULARITY, "sampling_granularity_seconds"),
            ),
        ),
    ),
    _members,
)

_SUITE = plan(
    "suite_id",
    "suite",
    own=(
        flag(c.SUITE_HEALTHY, "healthy"),
        number(c.SUITE_JOBS, "jobs"),
        flag(c.SUITE_RUNNING, "running"),
        number(c.SUITE_RUNS, "runs"),
    ),
    last_run=(
        flag(c.SUITE_LAST_RUN_PASSED, "passed"),
        by_key(c.SUITE_LAST_RUN_JOBS, "jobs"),
        by_key(c.SUITE_LAST_RUN_SESSIONS, "sessions"),
        by_key(c.SUITE_LAST_RUN_SAMPLES, "samples"),
        number(c.SUITE_LAST_RUN_SESSION_MEAN, "session_mean_seconds"),
        number(c.SUITE_LAST_RUN_MAX_USERS, "max_users"),
        number(c.SUITE_LAST_RUN_MAX_PENDING_SAMPLES, "max_pending_samples"),
        number(c.SUITE_LAST_RUN_STATE_CODE, "state_code"),
        number(c.SUITE_LAST_RUN_START, "start_timestamp_seconds"),
        number(c.SUITE_LAST_RUN_END, "end_timestamp_seconds"),
        number(c.SUITE_LAST_RUN_DURATION, "duration_seconds"),
    ),
    current_run=(
        by_key(c.SUITE_CURRENT_RUN_JOBS, "jobs"),
        number(c.SUITE_CURRENT_RUN_START, "start_timestamp_seconds"),
    ),
)

_RUN = plan(
    "run_id",
    "run",
    own=(
        info(c.RUN_INFO, "suite_id", "agent", "location"),
        Spread(c.RUN_PHASE, attrgetter("phase"), _phases),
        number(c.RUN_PROGRESS_CODE, "progress_code"),
        number(c.RUN_ENGINES, "engines"),
        by_key(c.RUN_ENGINES_RATIO, "engines_ratio"),
        flag(c.RUN_DATA_AVAILABLE, "data_available"),
        number(c.RUN_START, "start_timestamp_seconds"),
        number(c.RUN_END, "end_timestamp_seconds"),
        by_key(c.RUN_PHASE_DURATION, "phase_durations"),
        by_key(c.RUN_EVENTS, "events"),
        number(c.RUN_EXIT_CODE, "exit_code"),
        flag(c.RUN_PASSED, "passed"),
    ),
)

_CERTIFICATE = plan(
    "certificate_id",
    "certificate",
    "host",
    own=(
        number(c.CERTIFICATE_NOT_AFTER, "not_after_timestamp_seconds"),
        flag(c.CERTIFICATE_ACTIVE, "active"),
    ),
)


#: The plans of each kind of reading.
PLANS: Mapping[type[r.Reading], tuple[Plan, ...]] = {
    r.Agent: (_AGENT,),
    r.AgentJobs: (_AGENT_JOBS,),
    r.Controller: (_CONTROLLER,),
    r.Recorder: (_RECORDER,),
    r.Cluster: (_CLUSTER, _MEMBER),
    r.Suite: (_SUITE,),
    r.Run: (_RUN,),
    r.Certificate: (_CERTIFICATE,),
    r.Template: (plan("template_id", "template", own=(flag(c.TEMPLATE_HEALTHY, "healthy"),)),),
    r.Account: (
        plan(
            own=(number(c.ACCOUNT_JOB_DURATION_LIMIT, "job_duration_limit_seconds"),),
        ),
    ),
    r.MinVersion: (plan("component", own=(info(c.MIN_REQUIRED_VERSION_INFO, "version"),)),),
    r.SourceHealth: (
        plan(
            own=(flag(c.SOURCE_UP, "up"), flag(c.SOURCE_AUTH_FAILED, "auth_failed")),
        ),
    ),
}


def samples(reading: r.Reading) -> Iterator[Sample]:
    """Yield the samples of one reading, without the labels of its source."""
    for each in PLANS[type(reading)]:
        for target in each.targets(reading):
            labels = each.identity(target)
            for table in each.tables:
                row = table.row(target)
                for column in table.columns:
                    yield from _of_column(column, labels, row)


def _of_column(column: Column | Spread, labels: tuple[str, ...], row: object) -> Iterator[Sample]:
    values: Iterable[Labelled] = (
        column.spread(column.read(row)) if isinstance(column, Spread) else (((), column.read(row)),)
    )
    for more, value in values:
        # Only a value that is not a number differs from itself.
        if value is not None and value == value:  # noqa: PLR0124
            yield Sample(column.family, (*labels, *more), float(value))
