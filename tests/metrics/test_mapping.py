from __future__ import annotations

import math
from typing import Any

import pytest

from exporter.errors import Reason
from exporter.fleet.readings import (
    JOB_STATES,
    PHASES,
    Account,
    Agent,
    AgentJobs,
    AgentState,
    Cluster,
    Location,
    Member,
    MinVersion,
    Outcome,
    Reading,
    Recorder,
    Run,
    Suite,
    SuiteRun,
    Template,
)
from exporter.metrics.catalogue import FAMILIES
from exporter.metrics.mapping import MAPPINGS, samples
from exporter.sources import registry
from tests.support.fleet import AGENT, READ_AT, READINGS


# Families without the prefix, their own labels and values, of the readings of
# tests/support/fleet.py.
EXPECTED: list[tuple[str, tuple[str, ...], float]] = [
    ("source_up", (), 1.0),
    ("source_auth_failed", (), 0.0),
    ("source_task_up", ("agents",), 1.0),
    ("source_task_up", ("runs",), 0.0),
    ("source_task_failure", ("runs", "http_5xx"), 1.0),
    ("source_targets", ("agent",), 1.0),
    ("account_job_duration_limit_seconds", (), math.inf),
    ("min_required_version_info", ("measuring_agent", "4.8.24"), 1.0),
    (
        "agent_info",
        ("7", "ubuntu", "10.0.0.7", "8080", "4.8.24", "Linux", "6.1", "17", "Eclipse", "Bern", ""),
        1.0,
    ),
    ("agent_active", ("7", "ubuntu"), 1.0),
    ("agent_up", ("7", "ubuntu"), 0.0),
    ("agent_failure", ("7", "ubuntu", "not_reachable"), 1.0),
    ("agent_outdated", ("7", "ubuntu"), 0.0),
    ("agent_clock_delta_seconds", ("7", "ubuntu"), -0.25),
    ("agent_ping_duration_seconds", ("7", "ubuntu"), 0.125),
    ("agent_start_timestamp_seconds", ("7", "ubuntu"), 1_600_000_000.0),
    ("agent_last_up_timestamp_seconds", ("7", "ubuntu"), 1_700_000_000.5),
    ("agent_changed_timestamp_seconds", ("7", "ubuntu"), 1_699_999_991.0),
    ("agent_baseline_ping_duration_seconds", ("7", "ubuntu"), 0.0625),
    ("agent_heartbeat_timestamp_seconds", ("7", "ubuntu"), 1_699_999_990.0),
    ("agent_disk_free_bytes", ("7", "ubuntu"), 8_589_934_592.0),
    ("agent_memory_limit_bytes", ("7", "ubuntu"), 2_147_483_648.0),
    ("agent_users_limit", ("7", "ubuntu"), math.inf),
    ("agent_job_duration_limit_seconds", ("7", "ubuntu"), 3_600.0),
    ("agent_protected", ("7", "ubuntu"), 1.0),
    ("agent_busy", ("7", "ubuntu"), 1.0),
    *[
        ("agent_jobs", ("7", "ubuntu", state), 2.0 if state == "running" else 0.0)
        for state in (
            "defined",
            "submitted",
            "ready to run",
            "running",
            "completed",
            "invalid",
            "other",
        )
    ],
    (
        "controller_info",
        ("10.0.0.8:8083", "10.0.0.8", "8083", "4.8.9", "", "", "", "", ""),
        1.0,
    ),
    ("controller_up", ("10.0.0.8:8083",), 0.0),
    ("controller_failure", ("10.0.0.8:8083", "timeout"), 1.0),
    ("controller_outdated", ("10.0.0.8:8083",), 1.0),
    ("controller_clock_delta_seconds", ("10.0.0.8:8083",), 1.5),
    ("controller_ping_duration_seconds", ("10.0.0.8:8083",), 2.5),
    ("controller_start_timestamp_seconds", ("10.0.0.8:8083",), 1_600_000_001.0),
    ("controller_last_up_timestamp_seconds", ("10.0.0.8:8083",), 1_700_000_001.0),
    ("controller_changed_timestamp_seconds", ("10.0.0.8:8083",), 1_699_999_992.0),
    ("controller_memory_limit_bytes", ("10.0.0.8:8083",), 1_024.0),
    ("controller_protected", ("10.0.0.8:8083",), 0.0),
    ("cluster_info", ("3", "europe", "10.0.0.8:8083"), 1.0),
    ("cluster_active", ("3", "europe"), 1.0),
    ("cluster_members", ("3", "europe"), 1.0),
    ("cluster_changed_timestamp_seconds", ("3", "europe"), 1_699_999_995.0),
    ("cluster_up", ("3", "europe"), 0.0),
    ("cluster_failure", ("3", "europe", "outdated"), 1.0),
    ("cluster_outdated", ("3", "europe"), 1.0),
    ("cluster_connect_duration_seconds", ("3", "europe"), 0.25),
    ("cluster_ping_duration_seconds", ("3", "europe"), 0.5),
    (
        "cluster_member_info",
        ("3", "europe", "31", "7", "ubuntu", "4.8.20", "Linux", "17.0.2"),
        1.0,
    ),
    ("cluster_member_up", ("3", "europe", "31", "7", "ubuntu"), 0.0),
    (
        "cluster_member_changed_timestamp_seconds",
        ("3", "europe", "31", "7", "ubuntu"),
        1_699_999_994.0,
    ),
    ("cluster_member_failure", ("3", "europe", "31", "7", "ubuntu", "not_connected"), 1.0),
    ("cluster_member_outdated", ("3", "europe", "31", "7", "ubuntu"), 1.0),
    ("cluster_member_clock_delta_seconds", ("3", "europe", "31", "7", "ubuntu"), -1.0),
    ("cluster_member_load_factor", ("3", "europe", "31", "7", "ubuntu"), 2.0),
    ("cluster_member_sampling_granularity_seconds", ("3", "europe", "31", "7", "ubuntu"), 5.0),
    (
        "recorder_info",
        ("9", "proxy", "10.0.0.9", "8081", "1.2", "", "", "", "", "", "3.4"),
        1.0,
    ),
    ("recorder_up", ("9", "proxy"), 0.0),
    ("recorder_failure", ("9", "proxy", "auth"), 1.0),
    ("recorder_outdated", ("9", "proxy"), 0.0),
    ("recorder_clock_delta_seconds", ("9", "proxy"), 0.5),
    ("recorder_ping_duration_seconds", ("9", "proxy"), 0.75),
    ("recorder_last_up_timestamp_seconds", ("9", "proxy"), 1_700_000_002.0),
    ("recorder_changed_timestamp_seconds", ("9", "proxy"), 1_699_999_993.0),
    ("recorder_memory_limit_bytes", ("9", "proxy"), 2_048.0),
    ("recorder_recording", ("9", "proxy"), 1.0),
    ("recorder_recorded_elements", ("9", "proxy"), 12.0),
    ("recorder_protected", ("9", "proxy"), 1.0),
    ("location_info", ("5f1e", "Frankfurt lab"), 1.0),
    ("location_active", ("5f1e", "Frankfurt lab"), 1.0),
    ("location_agents", ("5f1e", "Frankfurt lab"), 3.0),
    ("location_agents_up", ("5f1e", "Frankfurt lab"), 2.0),
    ("location_slots", ("5f1e", "Frankfurt lab"), 4.0),
    ("location_threads_per_engine", ("5f1e", "Frankfurt lab"), 250.0),
    ("suite_healthy", ("11", "nightly"), 0.0),
    ("suite_jobs", ("11", "nightly"), 3.0),
    ("suite_running", ("11", "nightly"), 1.0),
    ("suite_runs", ("11", "nightly"), 20.0),
    *[
        ("suite_last_run_outcome", ("11", "nightly", outcome), float(outcome == "incomplete"))
        for outcome in (
            "passed",
            "failed",
            "incomplete",
            "aborted",
            "error",
            "no_data",
            "no_verdict",
        )
    ],
    ("suite_last_run_passed", ("11", "nightly"), 0.0),
    ("suite_last_run_jobs", ("11", "nightly", "passed"), 2.0),
    ("suite_last_run_jobs", ("11", "nightly", "failed"), 1.0),
    ("suite_last_run_jobs", ("11", "nightly", "not_executed"), 0.0),
    ("suite_last_run_sessions", ("11", "nightly", "passed"), 100.0),
    ("suite_last_run_sessions", ("11", "nightly", "failed"), 4.0),
    ("suite_last_run_samples", ("11", "nightly", "passed"), 1000.0),
    ("suite_last_run_samples", ("11", "nightly", "failed"), 40.0),
    ("suite_last_run_session_mean_seconds", ("11", "nightly"), 1.25),
    ("suite_last_run_max_users", ("11", "nightly"), 50.0),
    ("suite_last_run_max_pending_samples", ("11", "nightly"), 7.0),
    ("suite_last_run_state_code", ("11", "nightly"), 2.0),
    ("suite_last_run_start_timestamp_seconds", ("11", "nightly"), 1_699_990_000.0),
    ("suite_last_run_end_timestamp_seconds", ("11", "nightly"), 1_699_990_600.0),
    ("suite_last_run_duration_seconds", ("11", "nightly"), 600.0),
    ("suite_last_run_boot_duration_seconds", ("11", "nightly"), 45.0),
    ("suite_last_run_testjob_samples", ("11", "nightly", "61", "login", "passed"), 900.0),
    ("suite_last_run_testjob_samples", ("11", "nightly", "61", "login", "failed"), 4.0),
    ("suite_last_run_testjob_duration_seconds", ("11", "nightly", "61", "login"), 33.5),
    ("suite_last_run_log_events", ("11", "nightly", "warn"), 2.0),
    ("suite_last_run_log_events", ("11", "nightly", "error"), 1.0),
    ("suite_last_run_log_events", ("11", "nightly", "fatal"), 0.0),
    ("suite_last_run_response_seconds", ("11", "nightly", "90"), 0.75),
    ("suite_last_run_response_seconds", ("11", "nightly", "95"), 1.0),
    ("suite_last_run_response_seconds", ("11", "nightly", "99"), 1.5),
    ("suite_last_run_response_mean_seconds", ("11", "nightly"), 0.5),
    ("suite_last_run_requests_per_second", ("11", "nightly"), 12.5),
    ("suite_current_run_jobs", ("11", "nightly", "passed"), 1.0),
    ("suite_current_run_start_timestamp_seconds", ("11", "nightly"), 1_699_999_000.0),
    ("suite_baseline_duration_seconds", ("11", "nightly"), 590.0),
    ("suite_baseline_error_ratio", ("11", "nightly"), 0.015625),
    ("suite_baseline_boot_duration_seconds", ("11", "nightly"), 30.0),
    ("run_info", ("21", "checkout", "11", "martin2", "eu-west"), 1.0),
    *[
        ("run_phase", ("21", "checkout", phase), 1.0 if phase == "ended" else 0.0)
        for phase in (
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
    ],
    ("run_outcome", ("21", "checkout", "passed"), 1.0),
    ("run_delayed_start", ("21", "checkout"), 0.0),
    ("run_internal_error", ("21", "checkout"), 0.0),
    ("run_progress_code", ("21", "checkout"), 140.0),
    ("run_engines", ("21", "checkout"), 4.0),
    ("run_engines_planned", ("21", "checkout"), 5.0),
    ("run_engines_ratio", ("21", "checkout", "ended"), 1.0),
    ("run_data_available", ("21", "checkout"), 1.0),
    ("run_start_timestamp_seconds", ("21", "checkout"), 1_699_998_000.0),
    ("run_end_timestamp_seconds", ("21", "checkout"), 1_699_999_000.0),
    ("run_phase_duration_seconds", ("21", "checkout", "booting"), 60.0),
    ("run_events", ("21", "checkout", "warning"), 2.0),
    ("run_exit_code", ("21", "checkout"), 0.0),
    ("run_engine_errors", ("21", "checkout"), 1.0),
    ("run_passed", ("21", "checkout"), 1.0),
    ("certificate_not_after_timestamp_seconds", ("41", "client", "shop.example"), 1.8e9),
    ("certificate_active", ("41", "client", "shop.example"), 1.0),
    ("template_healthy", ("51", "basket"), 1.0),
]


def values(reading: Reading) -> dict[tuple[str, ...], float]:
    """Return the samples of a reading by family, without its prefix, and labels."""
    return {
        (sample.family.name.removeprefix("loadfleet_"), *sample.labels): sample.value
        for sample in samples(reading)
    }


def test_every_family_has_its_exact_samples() -> None:
    """The readings of a whole fleet give each family's samples, and no others."""
    found = [
        (sample.family.name.removeprefix("loadfleet_"), sample.labels, sample.value)
        for reading in READINGS
        for sample in samples(reading)
    ]

    assert sorted(EXPECTED) == sorted(found)


def test_the_expectation_covers_the_catalogue() -> None:
    """No family of the catalogue is left out of the table above."""
    covered = {f"loadfleet_{name}" for name, _, _ in EXPECTED}

    assert {family.name for family in FAMILIES} == covered


def test_every_family_is_filled_by_one_mapping_with_its_labels() -> None:
    """A family stands in one mapping, and its labels begin with those of the target."""
    filled = [
        (column.family, mapping.labels)
        for mappings in MAPPINGS.values()
        for mapping in mappings
        for _, columns in mapping.parts
        for column in columns
    ]

    assert sorted(f.name for f in registry.FAMILIES) == sorted(family.name for family, _ in filled)
    assert all(labels == family.labels[: len(labels)] for family, labels in filled)


@pytest.mark.parametrize(
    ("reading", "families"),
    [
        (Agent(agent_id="1", agent="a"), {"agent_info"}),
        (AgentJobs(agent_id="1", agent="a", read_at=READ_AT), set()),
        (Recorder(recorder_id="1", recorder="r"), {"recorder_info"}),
        (
            Cluster(
                cluster_id="1",
                agent_cluster="c",
                controller="h:1",
                members=(Member(member_id="2", agent_id="3", agent="a"),),
            ),
            {"cluster_info", "cluster_members"},
        ),
        (
            Location(location_id="1", location_name="l", read_at=READ_AT),
            {"location_info"},
        ),
        (Suite(suite_id="1", suite="s"), set()),
        (Run(run_id="1", run="r", phase="ready"), {"run_info", "run_phase"}),
        (Template(template_id="1", template="t"), set()),
        (Account(), set()),
        (MinVersion(component="proxy_recorder", version=""), {"min_required_version_info"}),
    ],
)
def test_what_the_vendor_did_not_say_has_no_sample(reading: Reading, families: set[str]) -> None:
    """An absent value stays absent: it becomes neither 0 nor an empty series."""
    assert families == {key[0] for key in values(reading)}


def test_unknown_facts_are_empty_labels() -> None:
    """An info series has all of its labels even before the first look at the target."""
    found = values(Agent(agent_id="1", agent="a", host="h"))

    assert {("agent_info", "1", "a", "h", *[""] * 8): 1.0} == found


@pytest.mark.parametrize("up", [True, None])
def test_a_reason_shows_only_while_the_target_is_down(up: bool | None) -> None:
    """A reason left over beside another verdict makes no failure series."""
    state = AgentState(read_at=READ_AT, up=up, reason=Reason.TIMEOUT)

    found = values(Agent(agent_id="1", agent="a", state=state))

    assert not [key for key in found if key[0] == "agent_failure"]


def test_not_a_number_has_no_sample() -> None:
    """NaN never stands in for a missing value."""
    reading = Agent(agent_id="1", agent="a", last_up_timestamp_seconds=math.nan)

    assert {"agent_info"} == {key[0] for key in values(reading)}


@pytest.mark.parametrize("phase", [*PHASES, "never heard of"])
def test_a_run_is_in_exactly_one_phase(phase: str) -> None:
    """Exactly one phase must be 1, `unknown` for a phase that is not listed."""
    found = values(Run(run_id="1", run="r", phase=phase))

    phases = {key[3]: value for key, value in found.items() if key[0] == "run_phase"}
    expected = phase if phase in PHASES else "unknown"
    assert {each: float(each == expected) for each in PHASES} == phases


def test_an_agent_that_the_vendor_manages_says_so() -> None:
    """Alerts leave out by this label what ends by itself."""
    found = values(Agent(agent_id="1", agent="a", managed="vendor"))

    assert {("agent_info", "1", "a", *[""] * 8, "vendor"): 1.0} == found


@pytest.mark.parametrize("outcome", Outcome)
def test_a_finished_run_has_exactly_one_outcome(outcome: Outcome) -> None:
    """All outcomes of a suite's newest finished run are present and one is 1."""
    last = SuiteRun(run_id="2", outcome=outcome)

    found = values(Suite(suite_id="1", suite="s", last_run=last))

    assert {
        ("suite_last_run_outcome", "1", "s", each.value): float(each is outcome) for each in Outcome
    } == found


def test_the_standing_verdict_can_be_an_earlier_runs() -> None:
    """A run without a verdict after a failed one does not end the failure."""
    last = SuiteRun(run_id="2", outcome=Outcome.NO_VERDICT)

    found = values(Suite(suite_id="1", suite="s", last_run=last, last_run_passed=False))

    assert 0.0 == found["suite_last_run_passed", "1", "s"]


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome.PASSED, {1.0}),
        (Outcome.FAILED, {0.0}),
        (Outcome.INCOMPLETE, {0.0}),
        (Outcome.ABORTED, set()),
        (Outcome.ERROR, {0.0}),
        (Outcome.NO_DATA, {0.0}),
        (Outcome.NO_VERDICT, set()),
        (None, set()),
    ],
)
def test_a_run_has_a_verdict_by_its_outcome(outcome: Outcome | None, verdict: set[float]) -> None:
    """Only one outcome is a pass, and three are neither good nor bad."""
    found = values(Run(run_id="1", run="r", phase="ended", outcome=outcome))

    assert verdict == {value for key, value in found.items() if key[0] == "run_passed"}


def test_all_job_states_are_present_once_counted() -> None:
    """A state without a job is 0 as soon as the agent said anything."""
    found = values(AgentJobs(agent_id="1", agent="a", read_at=READ_AT, counts={}))

    assert {("agent_jobs", "1", "a", state): 0.0 for state in JOB_STATES} == found


def test_all_reported_event_levels_are_shown() -> None:
    """Every level of the reading has its sample, also at 0."""
    levels: dict[str, Any] = {f"level{number}": float(number) for number in range(8)}

    found = values(Run(run_id="1", run="r", phase="ended", events=levels))

    events = {key[3]: value for key, value in found.items() if key[0] == "run_events"}
    assert levels == events


def test_each_member_of_a_cluster_is_a_target() -> None:
    """Two members of a cluster have series of their own below the cluster's labels."""
    members = tuple(
        Member(member_id=number, agent_id=f"a{number}", agent=f"agent {number}", load_factor=1.0)
        for number in ("1", "2")
    )
    cluster = Cluster(cluster_id="9", agent_cluster="c", controller="h:1", members=members)

    found = [key for key in values(cluster) if key[0] == "cluster_member_load_factor"]

    name = "cluster_member_load_factor"
    assert [
        (name, "9", "c", "1", "a1", "agent 1"),
        (name, "9", "c", "2", "a2", "agent 2"),
    ] == found


def test_flags_are_numbers() -> None:
    """A boolean must be exposed as a float."""
    assert {float} == {type(sample.value) for sample in samples(AGENT)}
