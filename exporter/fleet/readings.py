"""Readings: the results of polls as typed values, free of vendors' and metrics' names.

Quantities are in base units, timestamps in Unix seconds. `None` (or an empty string in a field of
text) means that the vendor gave no value; it never becomes a sample. `math.inf` means unlimited.

Readings are exempt from garbage collection: they are immutable and cannot form reference cycles,
and a collection of tens of thousands of readings would block the event loop.
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
        """Return the reading without a state read before a time of the monotonic clock.

        When a call fails without saying anything about its target, a snapshot carries the target's
        state over from an earlier poll. Such a state expires by itself.
        """
        oldest = self.oldest()
        return self if oldest is None or oldest >= not_before else self._forgetting()

    def oldest(self) -> float | None:
        """Return when the state was read that `fresh` can remove, on the monotonic clock.

        `None` means that there is no such state.
        """
        return None

    def _forgetting(self) -> Self:
        return self


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of a target.

    Attributes:
        read_at: When the call that read the state ended.
        up: Whether the target was reached; `None` if the vendor does not say.
        reason: The reason why it was not reached; only with `up=False`.
        outdated: Whether its version is older than the vendor or the configuration demands.
        clock_delta_seconds: The target's clock minus the reference clock, signed.
        ping_duration_seconds: How long the vendor's call to the target took.
        start_timestamp_seconds: When the target's software started.
        memory_limit_bytes: The memory limit of the target's runtime.
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
        users_limit: The most virtual users of one job.
        job_duration_limit_seconds: The longest duration of one job.
        busy: Whether the agent executes a job or run now.
        heartbeat_timestamp_seconds: When the agent last contacted the vendor.
        disk_free_bytes: The smallest free space of the host's disks.
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
        read_at: When the call that read the state ended.
        up: Whether the controller returned the cluster's members; `None` if the vendor does not
            say.
        reason: The reason why it did not; only with `up=False`.
        outdated: Whether the controller's version is older than the vendor demands, by its ping.
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
        host, port, location: The address and place of the machine; empty if the vendor has none.
        protected: Whether the machine requires a token.
        last_up_timestamp_seconds: When the vendor last saw the machine up.
        changed_timestamp_seconds: The latest possible time since when `up` has its value; `None`
            while unknown. Set by the poller and not by a source, see `changes.py`.
        state: The newest state; `None` if none was read or it has expired.
    """

    host: str = ""
    port: str = ""
    location: str = ""
    protected: bool | None = None
    last_up_timestamp_seconds: float | None = None
    changed_timestamp_seconds: float | None = None
    state: State | None = None

    def oldest(self) -> float | None:
        """Return when the state was read, on the monotonic clock."""
        return None if self.state is None else self.state.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, state=None, changed_timestamp_seconds=None)


class Agent(Target, frozen=True, kw_only=True):
    """A measuring agent (Real Load), private-location agent (BlazeMeter) or agent (Eggplant).

    Attributes:
        managed: `vendor` for an agent that the vendor starts and stops by itself; such an agent may
            be reported as down, but its disappearance is not a fault.
        usual_ping_seconds: How long the vendor's calls to the agent usually take. Set by the poller
            and not by a source, see `usual.py`.
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
        active: Whether the agent is in use at the vendor; an inactive agent is not judged.
        changed_timestamp_seconds: As in `Target`.
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
        changed_timestamp_seconds: As in `Target`.
    """

    cluster_id: str
    agent_cluster: str
    controller: str
    active: bool | None = None
    changed_timestamp_seconds: float | None = None
    members: tuple[Member, ...] = ()
    state: ClusterState | None = None

    def oldest(self) -> float | None:
        """Return when the state of the cluster and its members was read, on the monotonic clock."""
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
    """A private location (BlazeMeter): a group of agents on which runs are started.

    Attributes:
        read_at: When the agents were counted.
        active: Whether runs can be started on the location.
        agents: The number of agents in the location.
        agents_up: The number of agents that are up; `None` if the location is inactive, or the
            state of all agents is unknown.
        slots: The number of engines that each agent can run at once.
        threads_per_engine: The number of virtual users of one engine; without it, no test starts.
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
        """Return when the agents were counted, on the monotonic clock."""
        return None if self.agents_up is None else self.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, agents_up=None)


class Outcome(StrEnum):
    """The outcome of a finished run; a run in flight has none.

    `INCOMPLETE`: nothing failed, but not everything was executed. `ABORTED`: a person stopped it.
    `NO_VERDICT`: the run ended, and the vendor does not say whether it passed.
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
        """The verdict; `None` for a run that neither passed nor failed."""
        if self in (Outcome.ABORTED, Outcome.NO_VERDICT):
            return None
        return self is Outcome.PASSED


class SuiteJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One job of a finished run; the vendor has no verdict on a job.

    Attributes:
        samples: The number of samples by result (`passed`, `failed`).
    """

    testjob_id: str
    testjob: str
    samples: Mapping[str, float] = {}
    duration_seconds: float | None = None


class SuiteRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run of a suite.

    Attributes:
        outcome: The outcome; `None` while the run is in flight.
        jobs, sessions, samples: Numbers by result (`passed`, `failed`, `not_executed`).
        session_mean_seconds: The mean duration of a passed session.
        state_code: The vendor's number for the state.
        testjobs: The jobs of the run; empty if they were not read.
        log_events: The number of entries in the run's log, by level in lower case; empty if the log
            was not read.
        response_seconds: Response times by percentile (`90`, `95`, `99`).
        boot_seconds: How long the engines took to boot.
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
        """The verdict; `None` without a verdict."""
        return None if self.outcome is None else self.outcome.passed

    @property
    def error_ratio(self) -> float | None:
        """The share of failed samples, or of failed sessions if the run has no samples."""
        for counts in (self.samples, self.sessions):
            passed, failed = counts.get("passed"), counts.get("failed")
            if passed is not None and failed is not None and passed + failed > 0:
                return failed / (passed + failed)
        return None


class Usual(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The baseline of a suite: medians over its newest passed runs, except for the compared run.

    Attributes:
        runs: The number of runs in the medians.
        duration_seconds: The median duration.
        error_ratio: The median share of failed samples or sessions.
        boot_seconds: The median time that the engines took to boot.
    """

    runs: int
    duration_seconds: float | None = None
    error_ratio: float | None = None
    boot_seconds: float | None = None


class Suite(Reading, frozen=True, kw_only=True):
    """A test execution suite (Real Load) or a test (BlazeMeter).

    Attributes:
        agent_id, cluster_id: The agent or cluster on which the suite runs by default, if the vendor
            names it; at most one of the two is set.
        runs: The number of runs that the vendor keeps.
        last_run: The newest finished run by start time.
        last_run_passed: The verdict of the newest finished run that has a verdict, which may be
            older than `last_run`; `None` while no run has a verdict.
        current_run: The run in flight.
        history: Finished runs, newest first, for the pages; they become no samples.
        usual: The baseline of the runs, if enough runs are known. Set by the poller and not by a
            source, see `usual.py`.
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


#: The phases of a run, in their order; a run is in exactly one of them. A run is stuck if the
#: vendor reports it as running, but none of its engines runs.
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
    """A run in flight or recently ended: a master (BlazeMeter) or an execution (Eggplant).

    Attributes:
        phase: One of `PHASES`.
        outcome: The outcome; `None` while the run is in flight.
        delayed_start: Whether the run waits for a person to start it.
        internal_error: Whether the newest log line reports an error of the vendor's engine.
        engines, engines_planned: The number of existing engines, and of planned engines.
        engines_ratio: The share of the engines, 0 to 1, by the vendor's group.
        phase_durations: Seconds by phase, known after the end.
        events: The number of events by level in lower case, known after the end.
        exit_code: The worst exit code of the engines.
        engine_errors: Whether the run lost an engine, or an engine ended with an error, whatever
            the run's verdict; known after the end.
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
        """The verdict; `None` while the run is in flight, and for a run without a verdict."""
        return None if self.outcome is None else self.outcome.passed


class AgentJobs(Reading, frozen=True, kw_only=True):
    """The number of jobs on an agent by `JOB_STATES`.

    Attributes:
        read_at: When the jobs were counted.
        counts: Numbers by state; `None` if the agent did not answer.
    """

    agent_id: str
    agent: str
    read_at: Moment
    counts: Mapping[str, float] | None = None

    def oldest(self) -> float | None:
        """Return when the jobs were counted, on the monotonic clock."""
        return None if self.counts is None else self.read_at.monotonic

    def _forgetting(self) -> Self:
        return msgspec.structs.replace(self, counts=None)


#: The states of jobs; a state that the vendor adds counts as `other`.
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
    """The oldest version of a component that the vendor accepts."""

    component: str
    version: str


class Template(Reading, frozen=True, kw_only=True):
    """A test job template."""

    template_id: str
    template: str
    healthy: bool | None = None


class Certificate(Reading, frozen=True, kw_only=True):
    """A client certificate that recorders present; without its key."""

    certificate_id: str
    certificate: str
    host: str = ""
    active: bool | None = None
    not_after_timestamp_seconds: float | None = None


class SourceHealth(Reading, frozen=True, kw_only=True):
    """The health of a source; present from the start, and it never expires.

    Attributes:
        up: Whether the newest poll of at least one task brought readings.
        auth_failed: Whether calls are blocked because the vendor refused the credentials.
    """

    up: bool = False
    auth_failed: bool = False


class TaskHealth(Reading, frozen=True, kw_only=True):
    """The health of one task of a source, from the end of its first poll; it never expires.

    Attributes:
        up: Whether the newest poll brought readings: its list was complete and is not doubted, and
            at least one of the polled targets could be polled.
        targets: The number of targets of each kind in the newest list, after include and exclude.
        reason: The reason why the newest poll brought no readings.
    """

    task: str
    up: bool
    targets: Mapping[str, float] = {}
    reason: Reason | None = None
