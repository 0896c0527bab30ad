"""Readings: what polls learn, as typed values without a vendor's or a metric's name.

Quantities are in base units. `None` (or an empty string in a describing field) means that the
vendor did not say; it never becomes a sample. `math.inf` means unlimited.

They are not garbage-collected: frozen and made from the inside out they cannot form cycles, and
a collection that goes through tens of thousands of them would hold the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import msgspec

from exporter.clock import Moment
from exporter.errors import Reason


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The base of everything a snapshot holds."""

    def fresh(self, *, not_before: float) -> Self:
        """Return the reading without what was learnt before a point of the monotonic clock.

        A snapshot carries the state of a target over from an earlier poll where a call about it
        failed without saying anything of the target; so such a state expires on its own.
        """
        oldest = self.oldest()
        return self if oldest is None or oldest >= not_before else self._forgetting()

    def oldest(self) -> float | None:
        """Return when, on the monotonic clock, that was learnt which `fresh` can forget.

        `None` means that there is nothing to forget.
        """
        return None

    def _forgetting(self) -> Self:
        return self


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of a target as it was read once.

    Attributes:
        read_at: When the call that read it ended.
        up: Whether the target was reached; `None` where the vendor leaves that unknown.
        reason: Why it was not; only with `up=False`.
        outdated: Whether it is older than the vendor or the configuration demands.
        clock_delta_seconds: The target's clock minus the reference clock, signed.
        ping_duration_seconds: How long the vendor's call to the target took.
        start_timestamp_seconds: When the target's software started, epoch.
        memory_limit_bytes: The most memory its runtime may take.
    """

    read_at: Moment
    up: bool | None
    reason: Reason | None = None
    outdated: bool | None = None
    version: str = ""
    os: str = ""
    os_version: str = ""
    java_version: str = ""
    java_vendor: str = ""
    clock_delta_seconds: float | None = None
    ping_duration_seconds: float | None = None
    start_timestamp_seconds: float | None = None
    memory_limit_bytes: float | None = None


class AgentState(State, frozen=True, kw_only=True):
    """The state of an agent.

    Attributes:
        users_limit: Most virtual users of one job.
        job_duration_limit_seconds: Longest job.
        busy: Whether it executes something now.
        heartbeat_timestamp_seconds: When the vendor last heard of it, epoch.
        disk_free_bytes: The smallest free space of its host's disks.
    """

    users_limit: float | None = None
    job_duration_limit_seconds: float | None = None
    busy: bool | None = None
    heartbeat_timestamp_seconds: float | None = None
    disk_free_bytes: float | None = None


class RecorderState(State, frozen=True, kw_only=True):
    """The state of a proxy recorder."""

    component_version: str = ""
    recording: bool | None = None
    recorded_elements: float | None = None


class ClusterState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of a cluster, read through its controller.

    Attributes:
        up: Whether the controller could be asked for the cluster's members; `None` where the
            vendor leaves that unknown.
        reason: Why it could not; only with `up=False`.
        outdated: Whether its controller is older than the vendor demands, as its ping says.
    """

    read_at: Moment
    up: bool | None = None
    reason: Reason | None = None
    outdated: bool | None = None
    connect_duration_seconds: float | None = None
    ping_duration_seconds: float | None = None


class MemberState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one member of a cluster; its clock is compared with the controller's."""

    read_at: Moment
    up: bool
    reason: Reason | None = None
    outdated: bool | None = None
    version: str = ""
    os: str = ""
    java_version: str = ""
    clock_delta_seconds: float | None = None
    sampling_granularity_seconds: float | None = None


class Target(Reading, frozen=True, kw_only=True):
    """A machine of the fleet.

    Attributes:
        host, port, location: Where it is; empty where the vendor has none.
        protected: Whether it demands a token.
        last_up_timestamp_seconds: When it was last seen up, epoch.
        changed_timestamp_seconds: Since when, at the latest, `up` is what it is now, epoch; `None`
            while that is unknown. Not a source sets it but the poller, see `changes`.
        state: The newest one read; `None` where there was none or it is too old.
    """

    host: str = ""
    port: str = ""
    location: str = ""
    protected: bool | None = None
    last_up_timestamp_seconds: float | None = None
    changed_timestamp_seconds: float | None = None
    state: State | None = None

    def oldest(self) -> float | None:
        """Return when its state was read."""
        return None if self.state is None else self.state.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, state=None, changed_timestamp_seconds=None)


class Agent(Target, frozen=True, kw_only=True):
    """A measuring agent (RL), private-location agent (BM) or execution agent (EP).

    Attributes:
        managed: `vendor` for an agent that the vendor starts and ends by itself; it is judged,
            but its end is no fault.
        usual_ping_seconds: How long the vendor's calls to it usually take. Not a source sets it but
            the poller, see `usual`.
    """

    agent_id: str
    agent: str
    active: bool | None = None
    managed: str = ""
    usual_ping_seconds: float | None = None
    state: AgentState | None = None


class Controller(Target, frozen=True, kw_only=True):
    """A cluster controller, identified by `host:port`."""

    controller: str


class Recorder(Target, frozen=True, kw_only=True):
    """A proxy recorder."""

    recorder_id: str
    recorder: str
    state: RecorderState | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An agent as a member of a cluster.

    Attributes:
        active: Whether the agent is in use at the vendor; one that is not is not judged.
        changed_timestamp_seconds: As a target has it.
    """

    member_id: str
    agent_id: str
    agent: str
    active: bool | None = None
    load_factor: float | None = None
    changed_timestamp_seconds: float | None = None
    state: MemberState | None = None


class Cluster(Reading, frozen=True, kw_only=True):
    """A cluster of agents behind a controller (`host:port`).

    Attributes:
        changed_timestamp_seconds: As a target has it.
    """

    cluster_id: str
    agent_cluster: str
    controller: str
    active: bool | None = None
    changed_timestamp_seconds: float | None = None
    members: tuple[Member, ...] = ()
    state: ClusterState | None = None

    def oldest(self) -> float | None:
        """Return when its state, and with it that of its members, was read."""
        return None if self.state is None else self.state.read_at.monotonic

    def _forgetting(self) -> Self:
        members = tuple(
            msgspec.structs.replace(member, state=None, changed_timestamp_seconds=None)
            for member in self.members
        )
        return msgspec.structs.replace(
            self, state=None, changed_timestamp_seconds=None, members=members
        )


class Location(Reading, frozen=True, kw_only=True):
    """A private location (BM): a group of agents that runs are started on.

    Attributes:
        active: Whether runs can be started on it at all.
        agents: How many agents belong to it.
        agents_up: How many of them are up; `None` where it is not active, or nothing is known of
            any of them.
        slots: Engines that can run at once on each agent.
        threads_per_engine: Virtual users of one engine; without it no test can start.
    """

    location_id: str
    location_name: str
    read_at: Moment
    active: bool | None = None
    agents: float | None = None
    agents_up: float | None = None
    slots: float | None = None
    threads_per_engine: float | None = None

    def oldest(self) -> float | None:
        """Return when its agents were counted."""
        return None if self.agents_up is None else self.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, agents_up=None)


class Outcome(StrEnum):
    """The outcome of a finished run; a run in flight has none.

    `INCOMPLETE`: not everything was executed, and nothing failed. `ABORTED`: a person stopped it.
    `NO_VERDICT`: the run ended, and nothing says whether it was good.
    """

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    ABORTED = "aborted"
    ERROR = "error"
    NO_DATA = "no_data"
    NO_VERDICT = "no_verdict"

    @property
    def passed(self) -> bool | None:
        """Return the verdict; `None` for a run that is neither good nor bad."""
        if self in (Outcome.ABORTED, Outcome.NO_VERDICT):
            return None
        return self is Outcome.PASSED


class SuiteJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One job of a finished run; the vendor gives no verdict on it.

    Attributes:
        samples: Counts by result (`passed`, `failed`).
    """

    testjob_id: str
    testjob: str
    samples: Mapping[str, float] = {}
    duration_seconds: float | None = None


class SuiteRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run of a suite.

    Attributes:
        outcome: What it was; `None` while it is in flight.
        jobs, sessions, samples: Counts by result (`passed`, `failed`, `not_executed`).
        session_mean_seconds: Mean duration of a passed session.
        state_code: The vendor's number for the state, as it is.
        testjobs, log_events: Its jobs, and the entries of its log by level in lower case; empty
            where they were not read.
        response_seconds: Response times by percentile (`90`, `95`, `99`).
        boot_seconds: How long its engines took to boot.
    """

    run_id: str
    outcome: Outcome | None = None
    jobs: Mapping[str, float] = {}
    sessions: Mapping[str, float] = {}
    samples: Mapping[str, float] = {}
    session_mean_seconds: float | None = None
    max_users: float | None = None
    max_pending_samples: float | None = None
    state_code: float | None = None
    start_timestamp_seconds: float | None = None
    end_timestamp_seconds: float | None = None
    duration_seconds: float | None = None
    testjobs: tuple[SuiteJob, ...] = ()
    log_events: Mapping[str, float] = {}
    response_seconds: Mapping[str, float] = {}
    response_mean_seconds: float | None = None
    requests_per_second: float | None = None
    boot_seconds: float | None = None

    @property
    def passed(self) -> bool | None:
        """Return the verdict; `None` without one."""
        return None if self.outcome is None else self.outcome.passed

    @property
    def error_ratio(self) -> float | None:
        """Return the share of its samples that failed; of its sessions where it has no samples."""
        for counts in (self.samples, self.sessions):
            passed, failed = counts.get("passed"), counts.get("failed")
            if passed is not None and failed is not None and passed + failed > 0:
                return failed / (passed + failed)
        return None


class Usual(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The baseline of a suite: medians over its newest passed runs but the one compared with it.

    Attributes:
        runs: How many runs it rests on.
        duration_seconds: How long they took.
        error_ratio: The share of their samples, or sessions, that failed.
        boot_seconds: How long their engines took to boot.
    """

    runs: int
    duration_seconds: float | None = None
    error_ratio: float | None = None
    boot_seconds: float | None = None


class Suite(Reading, frozen=True, kw_only=True):
    """A test execution suite (RL) or a test (BM).

    Attributes:
        agent_id, cluster_id: Where it runs by default, as far as the vendor tells; at most one.
        runs: How many runs the vendor keeps.
        last_run: The newest finished run by start time.
        last_run_passed: The verdict of the newest finished run that has one, which may be an
            earlier run than `last_run`; `None` while no run has one.
        current_run: The run in flight.
        history: Finished runs, newest first, for the pages; no samples.
        usual: What its runs usually are like, if enough of them are known. Not a source sets it but
            the poller, see `usual`.
    """

    suite_id: str
    suite: str
    agent_id: str = ""
    cluster_id: str = ""
    healthy: bool | None = None
    jobs: float | None = None
    running: bool | None = None
    runs: float | None = None
    last_run: SuiteRun | None = None
    last_run_passed: bool | None = None
    current_run: SuiteRun | None = None
    history: tuple[SuiteRun, ...] = ()
    usual: Usual | None = None


#: The phases of a run, in their order; a run is in exactly one of them. A run that is said to be
#: running, but without an engine that runs it, is stuck.
PHASES = (
    "pending",
    "booting",
    "downloading",
    "ready",
    "running",
    "stopping",
    "stuck",
    "ended",
    "unknown",
)


class Run(Reading, frozen=True, kw_only=True):
    """A run in flight, or one that ended a short while ago: a master (BM) or an execution (EP).

    Attributes:
        phase: One of `PHASES`.
        outcome: What it was; `None` while it is in flight.
        delayed_start: Whether it waits for somebody to start it.
        internal_error: Whether its newest log line tells of an error of the vendor's engine.
        engines, engines_planned: Engines that are there, and how many there are to be.
        engines_ratio: Share of the engines, 0 to 1, by the vendor's group.
        phase_durations: Seconds by phase, known after the end.
        events: Events by level in lower case, known after the end.
        exit_code: The worst of the engines'.
        engine_errors: Whether, as far as is known after the end, the run lost an engine or one
            ended in an error, whatever its verdict.
    """

    run_id: str
    run: str
    phase: str
    suite_id: str = ""
    agent: str = ""
    location: str = ""
    progress_code: float | None = None
    outcome: Outcome | None = None
    delayed_start: bool | None = None
    internal_error: bool | None = None
    engines: float | None = None
    engines_planned: float | None = None
    engines_ratio: Mapping[str, float] = {}
    data_available: bool | None = None
    start_timestamp_seconds: float | None = None
    end_timestamp_seconds: float | None = None
    phase_durations: Mapping[str, float] = {}
    events: Mapping[str, float] = {}
    exit_code: float | None = None
    engine_errors: bool | None = None

    @property
    def passed(self) -> bool | None:
        """Return the verdict; `None` until known, and for a run without one."""
        return None if self.outcome is None else self.outcome.passed


class AgentJobs(Reading, frozen=True, kw_only=True):
    """The jobs an agent keeps, counted by `JOB_STATES`; `counts` is `None` when it did not say."""

    agent_id: str
    agent: str
    read_at: Moment
    counts: Mapping[str, float] | None = None

    def oldest(self) -> float | None:
        """Return when they were counted."""
        return None if self.counts is None else self.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, counts=None)


#: The states a job can be counted under; what a vendor adds to them falls into the last.
JOB_STATES = (
    "defined",
    "submitted",
    "ready to run",
    "running",
    "completed",
    "invalid",
    "other",
)


class Account(Reading, frozen=True, kw_only=True):
    """The limits of the account."""

    job_duration_limit_seconds: float | None = None


class MinVersion(Reading, frozen=True, kw_only=True):
    """The oldest version the vendor accepts of a component."""

    component: str
    version: str


class Template(Reading, frozen=True, kw_only=True):
    """A test job template."""

    template_id: str
    template: str
    healthy: bool | None = None


class Certificate(Reading, frozen=True, kw_only=True):
    """A client certificate that recorders present; the key is never kept."""

    certificate_id: str
    certificate: str
    host: str = ""
    active: bool | None = None
    not_after_timestamp_seconds: float | None = None


class SourceHealth(Reading, frozen=True, kw_only=True):
    """The health of a source itself; present from the start and never stale.

    Attributes:
        up: Whether the newest poll of at least one task brought readings.
    """

    up: bool = False
    auth_failed: bool = False


class TaskHealth(Reading, frozen=True, kw_only=True):
    """The health of one task of a source, from the end of its first poll; never stale.

    Attributes:
        up: Whether its newest poll brought readings: its list was read in all its parts and is not
            doubted, and at least one of the targets that were to be asked could be.
        targets: How many targets of a kind the newest list that was read has, after include and
            exclude.
        reason: Why its newest poll brought none.
    """

    task: str
    up: bool
    targets: Mapping[str, float] = {}
    reason: Reason | None = None
