"""The rows of targets and runs, as the pages and the JSON API have them, in base units.

`None` is unknown.
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


#: The positions of the conditions when rows are sorted.
URGENCY = {condition: position for position, condition in enumerate(Condition)}

_OF_SUITES: Mapping[str, str] = {Condition.UP: "runnable", Condition.DOWN: "not runnable"}


def word(state: str, kind: str) -> str:
    """Return what people call a state; a suite is not up or down but can be run or not."""
    return _OF_SUITES.get(state, state) if kind == Kind.SUITE else state


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of one target.

    A cluster is up when it can be used and all its members are up, down when it cannot or one of
    them is down; a location is down when none of its agents is up. A suite is up when the vendor
    finds it runnable: the verdict on its runs is another matter.

    Attributes:
        id, name: The same for controllers, which have no other id than `host:port`.
        minimum_version: The oldest version the vendor accepts of this kind.
        read_timestamp_seconds: When the state was read, epoch.
        changed_timestamp_seconds: Since when, at the latest, it is up or down as it is now, epoch.
        restored: Whether it was read before a restart and not polled since.
        labels: The static labels of the source.
        severity: That of the worst problem by the alert table, `None` if there is none.
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
        """Return source, kind and id, by which problems name their targets."""
        return (self.source, self.kind, self.id)


class AgentRow(TargetRow, frozen=True, kw_only=True):
    """An agent; infinite limits are no limits.

    Attributes:
        managed: `vendor` for one that the vendor starts and ends by itself: its end is no fault.
        disk_free_bytes: The smallest free space of its host's disks.
        jobs_running: How many of the jobs that it keeps run now.
        jobs_read_timestamp_seconds: When they were counted, epoch.
        usual_ping_seconds: How long the vendor's calls to it usually take.
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
    """A member of a cluster; `id` is the member's, `agent_id` the agent's."""

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
    """A cluster with its members; each has a reason of its own, as has the cluster."""

    controller: str
    members: tuple[MemberRow, ...] = ()

    @property
    def members_down(self) -> int:
        """Count the members that are down."""
        return sum(member.state is Condition.DOWN for member in self.members)


class LocationRow(TargetRow, frozen=True, kw_only=True):
    """A private location.

    Attributes:
        agents, agents_up: How many belong to it, and how many of them are up.
        slots: Engines that can run at once on each agent.
        threads_per_engine: Virtual users of one engine.
    """

    agents: float | None = None
    agents_up: float | None = None
    slots: float | None = None
    threads_per_engine: float | None = None


class FinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One finished run of a suite.

    Attributes:
        error_ratio: The share of its samples, or sessions, that failed.
        boot_seconds: How long its engines took to boot.
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
        agent_id, cluster_id: Where it runs by default, as far as the vendor tells.
        last_run_outcome: What the newest finished run was.
        last_run_passed: The verdict on the newest finished run that has one.
        finished_runs: As many as the vendor tells of, newest first.
        usual_runs: On how many runs it rests what is usual of it.
        usual_duration_seconds, usual_error_ratio, usual_boot_seconds: Of its runs.
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


#: The rows of the kinds that have facts of their own.
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
        followed: Whether the run is a reading of its own, with a page; else it is only known
            from its suite.
        suite: The suite's name, its id where that is all that is known.
        outcome: What it was, once it has ended.
        delayed_start: Whether it waits for somebody to start it.
        internal_error: Whether its newest log line tells of an error of the vendor's engine.
        engines, engines_planned: Engines that are there, and how many there are to be.
        engine_errors: Whether it lost an engine, or one ended in an error.
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
    """An alert that the built-in evaluation has found to hold.

    Attributes:
        state: `firing` once it has held for long enough.
        labels: All of them, `alertname` and `severity` among them.
        annotations: `summary`, `description`, `runbook_url`.
        since_timestamp_seconds: Since when it holds, epoch.
    """

    name: str
    severity: str
    state: Literal["pending", "firing"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since_timestamp_seconds: float

    @property
    def trouble(self) -> bool:
        """True if somebody should look: the heartbeat says that all is well."""
        return self.severity != Severity.NONE

    @classmethod
    def of(cls, alert: Alert) -> AlertView:
        """Return a pending or firing alert as it is now."""
        return cls(
            name=alert.name,
            severity=alert.labels.get("severity", ""),
            state="firing" if alert.phase is Phase.FIRING else "pending",
            labels=alert.labels,
            annotations=alert.annotations,
            since_timestamp_seconds=alert.since.unix,
        )
