"""The rows of targets and runs for the pages and the JSON API, with values in base units.

`None` means unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.alerts.evaluate import Phase
from exporter.alerts.rule import Severity
from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Outcome


if TYPE_CHECKING:
    from exporter.alerts.evaluate import Alert


@unique
class Condition(StrEnum):
    """The condition of a target or a source, in the order of urgency."""

    DOWN = "down"
    UNKNOWN = "unknown"
    INACTIVE = "inactive"
    UP = "up"


#: The positions of the conditions in the order of rows.
URGENCY = {condition: position for position, condition in enumerate(Condition)}

_OF_SUITES: Mapping[str, str] = {Condition.UP: "runnable", Condition.DOWN: "not runnable"}


def word(state: str, kind: str) -> str:
    """Return the word shown for a state; a suite is runnable or not instead of up or down."""
    return _OF_SUITES.get(state, state) if kind == Kind.SUITE else state


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of one target.

    A cluster is up if it can be used and all its members are up. It is down if it cannot be used,
    or if a member is down. A location is down if none of its agents is up. A suite is up if the
    vendor finds it runnable, whatever the verdicts on its runs.

    Attributes:
        id, name: The same for controllers, which have no other id than `host:port`.
        minimum_version: The oldest version of this kind that the vendor accepts.
        read_timestamp_seconds: The Unix time at which the state was read.
        changed_timestamp_seconds: The latest Unix time at which the present state began.
        restored: Whether the state was read before a restart and not polled since.
        labels: The static labels of the source.
        severity: The severity of the worst problem by the alert table, `None` without problems.
        problems: The alerts whose conditions hold, the worst first, without their prefix.
    """

    kind: Kind
    provider: str
    source: str
    id: str
    name: str
    state: Condition
    reason: Reason | None = None
    outdated: bool | None = None
    active: bool | None = None
    protected: bool | None = None
    host: str | None = None
    port: str | None = None
    location: str | None = None
    version: str | None = None
    minimum_version: str | None = None
    clock_delta_seconds: float | None = None
    ping_duration_seconds: float | None = None
    read_timestamp_seconds: float | None = None
    last_up_timestamp_seconds: float | None = None
    changed_timestamp_seconds: float | None = None
    restored: bool = False
    labels: Mapping[str, str] = {}
    severity: Severity | None = None
    problems: tuple[str, ...] = ()

    @property
    def target(self) -> tuple[str, str, str]:
        """Source, kind and id, which identify the target of a problem."""
        return (self.source, self.kind, self.id)


class AgentRow(TargetRow, frozen=True, kw_only=True):
    """An agent; an infinite limit means no limit.

    Attributes:
        managed: `vendor` if the vendor starts and stops the agent by itself, so that its end is no
            fault.
        disk_free_bytes: The free space of the host's fullest disk.
        jobs_running: How many of the jobs on the agent are running.
        jobs_read_timestamp_seconds: The Unix time at which the jobs were counted.
        usual_ping_seconds: The usual duration of the vendor's calls to the agent.
    """

    managed: str | None = None
    disk_free_bytes: float | None = None
    busy: bool | None = None
    jobs_running: float | None = None
    jobs_read_timestamp_seconds: float | None = None
    users_limit: float | None = None
    job_duration_limit_seconds: float | None = None
    heartbeat_timestamp_seconds: float | None = None
    usual_ping_seconds: float | None = None


class RecorderRow(TargetRow, frozen=True, kw_only=True):
    """A proxy recorder."""

    recording: bool | None = None


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a cluster; `id` identifies the member, `agent_id` its agent."""

    id: str
    agent_id: str
    name: str
    state: Condition
    reason: Reason | None = None
    outdated: bool | None = None
    version: str | None = None
    clock_delta_seconds: float | None = None
    load_factor: float | None = None
    changed_timestamp_seconds: float | None = None


class ClusterRow(TargetRow, frozen=True, kw_only=True):
    """A cluster with its members; the cluster and each member have reasons of their own."""

    controller: str
    members: tuple[MemberRow, ...] = ()

    @property
    def members_down(self) -> int:
        """The number of members that are down."""
        return sum(member.state is Condition.DOWN for member in self.members)


class LocationRow(TargetRow, frozen=True, kw_only=True):
    """A private location.

    Attributes:
        agents, agents_up: The number of the location's agents, and of those that are up.
        slots: The number of engines that can run at once on each agent.
        threads_per_engine: The number of virtual users per engine.
    """

    agents: float | None = None
    agents_up: float | None = None
    slots: float | None = None
    threads_per_engine: float | None = None


class FinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One finished run of a suite.

    Attributes:
        error_ratio: The share of the run's samples, or sessions, that failed.
        boot_seconds: How long the run's engines took to boot.
    """

    id: str
    outcome: Outcome | None = None
    passed: bool | None = None
    start_timestamp_seconds: float | None = None
    end_timestamp_seconds: float | None = None
    duration_seconds: float | None = None
    error_ratio: float | None = None
    boot_seconds: float | None = None


class SuiteRow(TargetRow, frozen=True, kw_only=True):
    """A suite.

    Attributes:
        agent_id, cluster_id: The agent or cluster on which the suite runs by default, if the vendor
            reports it.
        last_run_outcome: The outcome of the newest finished run.
        last_run_passed: The verdict on the newest finished run that has one.
        finished_runs: The finished runs that the vendor lists, the newest first.
        usual_runs: The number of runs from which the usual values are computed.
        usual_duration_seconds, usual_error_ratio, usual_boot_seconds: The usual values of a run.
    """

    agent_id: str = ""
    cluster_id: str = ""
    jobs: float | None = None
    running: bool | None = None
    last_run_outcome: Outcome | None = None
    last_run_passed: bool | None = None
    last_run_max_users: float | None = None
    last_run_end_timestamp_seconds: float | None = None
    finished_runs: tuple[FinishedRun, ...] = ()
    usual_runs: int | None = None
    usual_duration_seconds: float | None = None
    usual_error_ratio: float | None = None
    usual_boot_seconds: float | None = None


#: The types of rows, by kind; other kinds have a plain `TargetRow`.
ROWS: Mapping[str, type[TargetRow]] = {
    Kind.AGENT: AgentRow,
    Kind.RECORDER: RecorderRow,
    Kind.CLUSTER: ClusterRow,
    Kind.LOCATION: LocationRow,
    Kind.SUITE: SuiteRow,
}


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in flight.

    Attributes:
        followed: Whether the run is a reading of its own, with a page. Otherwise only its suite's
            reading contains it.
        suite: The suite's name, or its id if the name is unknown.
        outcome: The outcome, once the run has ended.
        delayed_start: Whether the run waits for somebody to start it.
        internal_error: Whether the run's newest log line reports an error of the vendor's engine.
        engines, engines_planned: The number of engines, and the planned number.
        engine_errors: Whether the run lost an engine, or an engine ended in an error.
    """

    provider: str
    source: str
    id: str
    name: str
    phase: str
    followed: bool
    suite_id: str = ""
    suite: str = ""
    agent: str = ""
    location: str = ""
    outcome: Outcome | None = None
    delayed_start: bool | None = None
    internal_error: bool | None = None
    engines: float | None = None
    engines_planned: float | None = None
    engine_errors: bool | None = None
    start_timestamp_seconds: float | None = None


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """A pending or firing alert of the built-in evaluation.

    Attributes:
        state: `pending` or `firing`.
        labels: All labels, including `alertname` and `severity`.
        annotations: The annotations, such as `summary`, `description` and `runbook_url`.
        since_timestamp_seconds: The Unix time since which the condition holds.
    """

    name: str
    severity: str
    state: Literal["pending", "firing"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since_timestamp_seconds: float

    @property
    def trouble(self) -> bool:
        """True if the alert reports a problem; the heartbeat reports that all is well."""
        return self.severity != Severity.NONE

    @classmethod
    def of(cls, alert: Alert) -> AlertView:
        """Return the view of a pending or firing alert."""
        return cls(
            name=alert.name,
            severity=alert.labels.get("severity", ""),
            state="firing" if alert.phase is Phase.FIRING else "pending",
            labels=alert.labels,
            annotations=alert.annotations,
            since_timestamp_seconds=alert.since.unix,
        )
