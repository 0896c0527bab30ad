"""A reading of every kind, which together fill every vendor's family."""

from __future__ import annotations

import math

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import (
    Account,
    Agent,
    AgentJobs,
    AgentState,
    Certificate,
    Cluster,
    ClusterState,
    Controller,
    Location,
    Member,
    MemberState,
    MinVersion,
    Outcome,
    Reading,
    Recorder,
    RecorderState,
    Run,
    SourceHealth,
    State,
    Suite,
    SuiteJob,
    SuiteRun,
    TaskHealth,
    Template,
    Usual,
)


READ_AT = Moment(unix=1_700_000_000.0, monotonic=1_000.0)

AGENT = Agent(
    agent_id="7",
    agent="ubuntu",
    host="10.0.0.7",
    port="8080",
    location="Bern",
    protected=True,
    active=True,
    last_up_timestamp_seconds=1_700_000_000.5,
    changed_timestamp_seconds=1_699_999_991.0,
    usual_ping_seconds=0.0625,
    state=AgentState(
        read_at=READ_AT,
        up=False,
        reason=Reason.NOT_REACHABLE,
        outdated=False,
        version="4.8.24",
        os="Linux",
        os_version="6.1",
        java_version="17",
        java_vendor="Eclipse",
        clock_delta_seconds=-0.25,
        ping_duration_seconds=0.125,
        start_timestamp_seconds=1_600_000_000.0,
        memory_limit_bytes=2_147_483_648.0,
        users_limit=math.inf,
        job_duration_limit_seconds=3_600.0,
        busy=True,
        heartbeat_timestamp_seconds=1_699_999_990.0,
        disk_free_bytes=8_589_934_592.0,
    ),
)

CONTROLLER = Controller(
    controller="10.0.0.8:8083",
    host="10.0.0.8",
    port="8083",
    protected=False,
    last_up_timestamp_seconds=1_700_000_001.0,
    changed_timestamp_seconds=1_699_999_992.0,
    state=State(
        read_at=READ_AT,
        up=False,
        reason=Reason.TIMEOUT,
        outdated=True,
        version="4.8.9",
        clock_delta_seconds=1.5,
        ping_duration_seconds=2.5,
        start_timestamp_seconds=1_600_000_001.0,
        memory_limit_bytes=1_024.0,
    ),
)

RECORDER = Recorder(
    recorder_id="9",
    recorder="proxy",
    host="10.0.0.9",
    port="8081",
    protected=True,
    last_up_timestamp_seconds=1_700_000_002.0,
    changed_timestamp_seconds=1_699_999_993.0,
    state=RecorderState(
        read_at=READ_AT,
        up=False,
        reason=Reason.AUTH,
        outdated=False,
        version="1.2",
        component_version="3.4",
        clock_delta_seconds=0.5,
        ping_duration_seconds=0.75,
        memory_limit_bytes=2_048.0,
        recording=True,
        recorded_elements=12.0,
    ),
)

CLUSTER = Cluster(
    cluster_id="3",
    agent_cluster="europe",
    controller="10.0.0.8:8083",
    active=True,
    changed_timestamp_seconds=1_699_999_995.0,
    state=ClusterState(
        read_at=READ_AT,
        up=False,
        reason=Reason.OUTDATED,
        outdated=True,
        connect_duration_seconds=0.25,
        ping_duration_seconds=0.5,
    ),
    members=(
        Member(
            member_id="31",
            agent_id="7",
            agent="ubuntu",
            load_factor=2.0,
            changed_timestamp_seconds=1_699_999_994.0,
            state=MemberState(
                read_at=READ_AT,
                up=False,
                reason=Reason.NOT_CONNECTED,
                outdated=True,
                version="4.8.20",
                os="Linux",
                java_version="17.0.2",
                clock_delta_seconds=-1.0,
                sampling_granularity_seconds=5.0,
            ),
        ),
    ),
)

LOCATION = Location(
    location_id="5f1e",
    location_name="Frankfurt lab",
    read_at=READ_AT,
    active=True,
    agents=3.0,
    agents_up=2.0,
    slots=4.0,
    threads_per_engine=250.0,
)

SUITE = Suite(
    suite_id="11",
    suite="nightly",
    healthy=False,
    jobs=3.0,
    running=True,
    runs=20.0,
    last_run=SuiteRun(
        run_id="110",
        outcome=Outcome.INCOMPLETE,
        jobs={"passed": 2.0, "failed": 1.0, "not_executed": 0.0},
        sessions={"passed": 100.0, "failed": 4.0},
        samples={"passed": 1000.0, "failed": 40.0},
        session_mean_seconds=1.25,
        max_users=50.0,
        max_pending_samples=7.0,
        state_code=2.0,
        start_timestamp_seconds=1_699_990_000.0,
        end_timestamp_seconds=1_699_990_600.0,
        duration_seconds=600.0,
        testjobs=(
            SuiteJob(
                testjob_id="61",
                testjob="login",
                samples={"passed": 900.0, "failed": 4.0},
                duration_seconds=33.5,
            ),
        ),
        log_events={"warn": 2.0, "error": 1.0, "fatal": 0.0},
        response_seconds={"90": 0.75, "95": 1.0, "99": 1.5},
        response_mean_seconds=0.5,
        requests_per_second=12.5,
        boot_seconds=45.0,
    ),
    last_run_passed=False,
    current_run=SuiteRun(
        run_id="111", jobs={"passed": 1.0}, start_timestamp_seconds=1_699_999_000.0
    ),
    usual=Usual(runs=12, duration_seconds=590.0, error_ratio=0.015625, boot_seconds=30.0),
)

RUN = Run(
    run_id="21",
    run="checkout",
    phase="ended",
    suite_id="11",
    agent="martin2",
    location="eu-west",
    progress_code=140.0,
    outcome=Outcome.PASSED,
    delayed_start=False,
    internal_error=False,
    engines=4.0,
    engines_planned=5.0,
    engines_ratio={"ended": 1.0},
    data_available=True,
    start_timestamp_seconds=1_699_998_000.0,
    end_timestamp_seconds=1_699_999_000.0,
    phase_durations={"booting": 60.0},
    events={"warning": 2.0},
    exit_code=0.0,
    engine_errors=True,
)

#: Readings of all kinds.
READINGS: tuple[Reading, ...] = (
    SourceHealth(up=True, auth_failed=False),
    TaskHealth(task="agents", up=True, targets={"agent": 1.0}),
    TaskHealth(task="runs", up=False, reason=Reason.HTTP_5XX),
    Account(job_duration_limit_seconds=math.inf),
    MinVersion(component="measuring_agent", version="4.8.24"),
    AGENT,
    AgentJobs(agent_id="7", agent="ubuntu", read_at=READ_AT, counts={"running": 2.0}),
    CONTROLLER,
    RECORDER,
    CLUSTER,
    LOCATION,
    SUITE,
    RUN,
    Certificate(
        certificate_id="41",
        certificate="client",
        host="shop.example",
        active=True,
        not_after_timestamp_seconds=1_800_000_000.0,
    ),
    Template(template_id="51", template="basket", healthy=True),
)
