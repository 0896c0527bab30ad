from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from exporter.simulator.realload.app import HANDLERS, MUTATING_ACTIONS
from tests.simulator.callers import RealLoad
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


CONTROLLER = "controller-1.load.example.net"
DETAIL = "getTestExecutionSuiteTestRunResultDetail"

#: Per fixture the request that must be answered in its shape.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("getUserAccountInfo.ok_inferred", {}),
    ("getPricePlanInfo.limited_inferred", {}),
    ("getProjectTree.ok", {}),
    ("getMinRequiredMeasuringAgentVersion.ok", {}),
    ("pingMeasuringAgent.ok", {"agentId": 41}),
    ("pingMeasuringAgent.outdated", {"agentId": 43}),
    ("pingMeasuringAgent.not_reachable", {"agentId": 44}),
    ("pingMeasuringAgent.unknown_agent", {"agentId": 4}),
    ("pingMeasuringAgent.unlimited", {"agentId": 50}),
    ("getMeasuringAgentClusters.ok", {}),
    ("getClusterControllers.ok", {}),
    ("getMinRequiredClusterControllerVersion.ok", {}),
    (
        "pingClusterController.bad_token",
        {"controllerHost": CONTROLLER, "controllerPort": 8083, "controllerAuthToken": "wrong"},
    ),
    ("pingMeasuringAgentClusterMembers.ok", {"clusterId": 13}),
    ("pingMeasuringAgentClusterMembers.partly_failed", {"clusterId": 11}),
    ("getProxyRecorders.ok", {}),
    ("getMinRequiredProxyRecorderVersion.ok", {}),
    ("pingProxyRecorder.ok", {"recorderId": 3}),
    ("pingProxyRecorder.not_reachable", {"recorderId": 5}),
    ("getProxyRecordersClientCertificates.ok", {}),
    ("getTestjobTemplates.ok", {}),
    ("getTestExecutionSuites.ok", {}),
    ("getCurrentlyRunningTestExecutionSuiteIds.ok", {}),
]
FLAGS = {
    "pingMeasuringAgent.outdated": "agentVersionOutdatedError",
    "pingMeasuringAgent.not_reachable": "agentNotReachableError",
    "pingMeasuringAgent.unknown_agent": "agentIdError",
    "pingClusterController.bad_token": "controllerNotReachableError",
    "pingProxyRecorder.not_reachable": "recorderNotReachableError",
}


@pytest.fixture
def portal(time: FakeClock) -> RealLoad:
    """A portal whose fleet stays as it begins."""
    return RealLoad(time, still=True)


@pytest.mark.parametrize(("name", "fields"), CASES)
async def test_replies_have_the_fixture_s_shape(
    portal: RealLoad, name: str, fields: dict[str, Any]
) -> None:
    """Every action answers with the keys and types that the vendor's examples have."""
    reply = await portal.call(name.partition(".")[0], **fields)

    assert [] == differences(reply, fixture("realload", name))
    assert fixture("realload", name).get("isError") == reply.get("isError")
    assert ([FLAGS[name]] if name in FLAGS else []) == [
        key for key, value in reply.items() if value is True and key != "isError"
    ]


async def test_agents_have_either_known_shape(portal: RealLoad) -> None:
    """Most agents have the printed fields, a shared one has the newer ones too."""
    reply = await portal.call("getMeasuringAgents")

    examples = [
        fixture("realload", f"getMeasuringAgents.{case}")["measuringAgentsArray"]
        for case in ("ok", "newer_fields")
    ]
    assert 20 == len(reply["measuringAgentsArray"])
    for agent in reply["measuringAgentsArray"]:
        assert [] == differences(agent, *examples[0], *examples[1])


async def test_jobs_have_the_fixture_s_shape(portal: RealLoad) -> None:
    """Every job has the 28 properties, all of them text."""
    reply = await portal.call(
        "getMeasuringAgentTestjobs", measuringAgentId=41, synchronizeLocalTestjobsState=False
    )

    example = fixture("realload", "getMeasuringAgentTestjobs.ok")
    jobs = example["agentResponse"]["allTestjobsArray"]
    for job in reply["agentResponse"]["allTestjobsArray"]:
        assert [] == differences(
            job["testjobProperties"], *(one["testjobProperties"] for one in jobs)
        )
        assert jobs[0]["testProperties"].keys() == job["testProperties"].keys()
    assert [] == portal.portal.violations


async def test_a_job_synchronisation_is_a_violation(portal: RealLoad) -> None:
    """The side effect of the job list is noted like a change."""
    await portal.call(
        "getMeasuringAgentTestjobs", measuringAgentId=41, synchronizeLocalTestjobsState=True
    )

    assert 1 == len(portal.portal.violations)


async def test_a_good_controller_ping(portal: RealLoad) -> None:
    """A controller that is given its own token answers in the fixture's shape."""
    token = portal.fleet.controllers[f"{CONTROLLER}:8083"].token

    reply = await portal.call(
        "pingClusterController",
        controllerHost=CONTROLLER,
        controllerPort=8083,
        controllerAuthToken=token,
    )

    assert [] == differences(reply, fixture("realload", "pingClusterController.ok"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"up": False}, "pingClusterController.not_reachable"),
        ({"outdated": True}, "pingClusterController.outdated"),
    ],
)
async def test_a_bad_controller_ping(portal: RealLoad, change: dict[str, bool], name: str) -> None:
    """A controller that is down or refused answers with its flag, for members too."""
    key = f"{CONTROLLER}:8083"
    portal.fleet.change("controllers", key, **change)

    reply = await portal.call(
        "pingClusterController",
        controllerHost=CONTROLLER,
        controllerPort=8083,
        controllerAuthToken=portal.fleet.controllers[key].token,
    )
    members = await portal.call("pingMeasuringAgentClusterMembers", clusterId=11)

    case = name.partition(".")[2]
    same = fixture("realload", f"pingMeasuringAgentClusterMembers.controller_{case}")
    text = {"genericErrorText": reply["genericErrorText"]}
    assert fixture("realload", name) | text == reply
    assert same | text == members


async def ping(portal: RealLoad, token: str) -> dict[str, Any]:
    """Ping the first controller with a token."""
    reply: dict[str, Any] = await portal.call(
        "pingClusterController",
        controllerHost=CONTROLLER,
        controllerPort=8083,
        controllerAuthToken=token,
    )
    return reply


async def test_a_cluster_with_a_stale_token(portal: RealLoad) -> None:
    """Its controller is listed once for each token and answers to the right one only."""
    right = portal.fleet.controllers[f"{CONTROLLER}:8083"].token
    portal.fleet.change("clusters", 11, token="stale")

    entries = (await portal.call("getClusterControllers"))["clusterControllersArray"]
    listed = await portal.call("getMeasuringAgentClusters")
    pinged = await portal.call("pingMeasuringAgentClusterMembers", clusterId=11)
    other = await portal.call("pingMeasuringAgentClusterMembers", clusterId=13)

    tokens = [
        (entry["controllerAuthToken"], [row["clusterId"] for row in rows])
        for entry in entries
        if entry["controllerHost"] == CONTROLLER and (rows := entry["measuringAgentClustersArray"])
    ]
    assert [("stale", [11]), (right, [13]), ("simulated-stale-token", [15])] == tokens
    assert "stale" == listed["measuringAgentClustersArray"][0]["controllerAuthToken"]
    assert fixture("realload", "pingMeasuringAgentClusterMembers.bad_token") == pinged
    assert other["isError"] is False
    assert [True, False] == [(await ping(portal, token))["isError"] for token in ("stale", right)]
    example = fixture("realload", "getClusterControllers.two_tokens")
    assert [] == differences(entries, example["clusterControllersArray"])


async def test_a_default_cluster_is_unusable(portal: RealLoad) -> None:
    """Its controller is well."""
    (right, *_) = [controller.token for controller in portal.fleet.controllers.values()]

    members = await portal.call("pingMeasuringAgentClusterMembers", clusterId=15)

    assert members["controllerNotReachableError"] is True
    assert (await ping(portal, right))["isError"] is False


@pytest.mark.parametrize(
    ("error", "case"),
    [
        ("clusterAccessDeniedError", "access_denied"),
        ("clusterIdError", "unknown_id"),
        ("controllerVersionOutdatedError", "controller_outdated"),
        ("controllerNotReachableError", "controller_not_reachable"),
    ],
)
async def test_a_cluster_is_refused_while_its_controller_is_well(
    portal: RealLoad, error: str, case: str
) -> None:
    """Each of the vendor's four flags can be the answer, all of them printed."""
    portal.fleet.change("clusters", 13, error=error)

    reply = await portal.call("pingMeasuringAgentClusterMembers", clusterId=13)

    text = {"genericErrorText": reply["genericErrorText"]}
    assert fixture("realload", f"pingMeasuringAgentClusterMembers.{case}") | text == reply
    token = portal.fleet.controllers[f"{CONTROLLER}:8083"].token
    assert (await ping(portal, token))["isError"] is False


async def test_a_controller_is_outdated_in_a_good_reply(portal: RealLoad) -> None:
    """The second of the two ways to say so is in the default fleet."""
    reply = await portal.call("pingMeasuringAgentClusterMembers", clusterId=12)

    assert reply["controllerResponse"]["clusterControllerOutdated"] is True


async def test_mute_members_fail_their_action(portal: RealLoad) -> None:
    """A member can be connected and yet not do the ping."""
    member_id, agent_id = next(iter(portal.fleet.clusters["13"].members.items()))
    portal.fleet.change("clusters", 13, mute=[agent_id])

    reply = await portal.call("pingMeasuringAgentClusterMembers", clusterId=13)

    result = reply["controllerResponse"]["clusterActionResult"]
    failed = [one["clusterMemberId"] for one in result["actionFailedClusterMemberArray"]]
    assert [member_id] == failed
    assert [] == differences(
        reply,
        fixture("realload", "pingMeasuringAgentClusterMembers.action_failed_and_outdated"),
    )


async def test_denied_agents(portal: RealLoad) -> None:
    """An agent of somebody else is denied."""
    portal.fleet.change("agents", 41, denied=True)

    assert fixture("realload", "pingMeasuringAgent.access_denied") == await portal.call(
        "pingMeasuringAgent", agentId=41
    )


async def test_broken_agents(portal: RealLoad) -> None:
    """A ping of theirs fails without a flag, as a bad token does."""
    portal.fleet.change("agents", 41, broken="error 17")

    reply = await portal.call("pingMeasuringAgent", agentId=41)

    assert {"isError": True, "genericErrorText": "error 17"} == reply


async def test_clocks_are_those_of_the_machines(portal: RealLoad, time: FakeClock) -> None:
    """A skewed clock shows in the system time and in the difference."""
    portal.fleet.change("agents", 41, skew_seconds=-12)

    response = (await portal.call("pingMeasuringAgent", agentId=41))["agentResponse"]

    assert response["systemTime"] == round(time.unix * 1000) + response["deltaTimeMillis"]
    assert -12.0 == pytest.approx(response["deltaTimeMillis"] / 1000, abs=0.1)


async def test_a_machine_s_uptime_is_that_of_its_own_clock(portal: RealLoad) -> None:
    """A clock that is two hours ahead shifts start and present alike."""
    response = (await portal.call("pingMeasuringAgent", agentId=51))["agentResponse"]

    example = fixture("realload", "pingMeasuringAgent.clock_ahead")["agentResponse"]
    assert 7200.0 == pytest.approx(response["deltaTimeMillis"] / 1000, abs=1)
    for told in (response, example):
        uptime = (told["systemTime"] - told["agentStartupTimeStamp"]) / 1000
        assert 6600.0 == pytest.approx(uptime, abs=1)


@pytest.mark.parametrize(
    ("separator", "text"), [("", "16384 MB"), (",", "16,384 MB"), ("'", "16'384 MB")]
)
async def test_memory_can_have_a_separator(portal: RealLoad, separator: str, text: str) -> None:
    """How the vendor prints large numbers depends on the machine."""
    portal.fleet.change("agents", 41, memory_mb=16_384, memory_separator=separator)

    response = (await portal.call("pingMeasuringAgent", agentId=41))["agentResponse"]

    assert text == response["javaMaxMemory"]


async def test_agents_of_cloud_credits_are_marked(portal: RealLoad) -> None:
    """One agent was launched by cloud credits; one other has the newer fields, too."""
    rows = (await portal.call("getMeasuringAgents"))["measuringAgentsArray"]

    newer = {
        row["agentId"]: (row["sharedMeasuringAgentTemplateId"], row["isLaunchedByCloudCredits"])
        for row in rows
        if "isLaunchedByCloudCredits" in row
    }
    assert {49: (5, False), 52: (-1, True)} == newer
    (example,) = fixture("realload", "getMeasuringAgents.cloud_credits")["measuringAgentsArray"]
    (launched,) = [row for row in rows if row["agentId"] == 52]
    assert [] == differences(launched, example)


async def test_the_run_detail_has_the_fixture_s_shape(portal: RealLoad) -> None:
    """Keys and types are the printed ones, where no job has input fields."""
    portal.fleet.change("suites", 2, jobs=1)

    reply = await portal.call(DETAIL, testExecutionSuiteId=2, testRunId=3)

    assert [] == differences(reply, fixture("realload", f"{DETAIL}.ok"))


@pytest.mark.parametrize("outcome", ["pass", "fail", "stop"])
async def test_the_run_detail_agrees_with_the_list(portal: RealLoad, outcome: str) -> None:
    """Summary, group, jobs and log tell of one run; each job has an element of its own."""
    portal.fleet.change("suites", 2, outcomes=[outcome])
    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]
    listed = suites[0]["testRunResultsArray"][2]

    reply = await portal.call(DETAIL, testExecutionSuiteId=2, testRunId=listed["testRunId"])

    result = reply["testRunResultDetail"]["testRunResult"]
    (group,) = result["testRunExecutionGroupResultArray"]
    jobs = result["testRunTestjobResultArray"]
    assert listed == {key: result[key] for key in listed}
    for key in group.keys() & listed.keys() - {"testRunId"}:
        assert listed[key] == group[key]
    for key in ("totalSessionsPassed", "totalSamplesPassed", "totalSamplesFailed"):
        assert listed[key] == sum(job[key] for job in jobs)
    executed = "numTestjobTemplatesExecutionPassed", "numTestjobTemplatesExecutionFailed"
    assert len({job["testjobTemplateElementId"] for job in jobs}) == sum(
        listed[key] for key in executed
    )
    levels = Counter(entry["logLevel"] for entry in result["executorLog"]["logEntriesArray"])
    assert listed["numTestjobTemplatesExecutionFailed"] == levels[9]
    assert int(outcome == "stop") == levels[8]
    assert len(jobs) == levels[4]


async def test_the_run_detail_has_what_must_be_skipped(portal: RealLoad) -> None:
    """Signatures, input fields and nicknames are in it, as they are at the vendor."""
    reply = await portal.post(DETAIL, testExecutionSuiteId=2, testRunId=3)

    for field in ("testjobSignature", "currentValue", "executedByUserNickname", "logMessage"):
        assert f'"{field}"' in reply.text


async def test_the_list_of_running_suites_can_be_late(portal: RealLoad, time: FakeClock) -> None:
    """A run is in the list of suites before the other list names it."""
    portal.portal.world.timeline.still = False
    portal.fleet.change("suites", 2, lag_seconds=10)
    time.shift(205)

    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]
    running = await portal.call("getCurrentlyRunningTestExecutionSuiteIds")

    newest = suites[0]["testRunResultsArray"][-1]
    assert (6, 1) == (newest["testRunId"], newest["executionState"])
    assert 2 not in running["testExecutionSuiteIdArray"]


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("stopped_after_failed", {"history": 3, "outcomes": ["pass", "fail", "stop"]}),
        ("no_jobs", {"history": 1, "jobs": 0}),
    ],
)
async def test_runs_without_a_pass(portal: RealLoad, case: str, changes: dict[str, Any]) -> None:
    """They are told as in the fixtures: by counts alone."""
    portal.fleet.change("suites", 2, **changes)

    (suite, *_) = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]

    (example,) = fixture("realload", f"getTestExecutionSuites.{case}")["testExecutionSuitesArray"]
    assert [] == differences(suite, example)
    assert counts(example) == counts(suite)


def counts(suite: Any) -> list[tuple[int, int, bool, int]]:
    """Return of each run its state, jobs to execute, whether one failed and what is missing."""
    return [
        (
            run["executionState"],
            run["numTestjobTemplatesToExecute"],
            run["numTestjobTemplatesExecutionFailed"] > 0,
            run["numTestjobTemplatesToExecute"]
            - run["numTestjobTemplatesExecutionPassed"]
            - run["numTestjobTemplatesExecutionFailed"],
        )
        for run in suite["testRunResultsArray"]
    ]


async def test_an_ended_run_can_have_another_state(portal: RealLoad) -> None:
    """What the vendor's numbers mean is known for one of them only."""
    portal.fleet.change("suites", 2, ended_state=5)

    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]

    assert {5} == {run["executionState"] for run in suites[0]["testRunResultsArray"]}


async def test_certificates_can_be_opened(portal: RealLoad) -> None:
    """The containers are real ones, for whoever reads their expiry."""
    reply = await portal.call("getProxyRecordersClientCertificates")

    for row in reply["clientCertificatesArray"]:
        data = base64.b64decode(row["certFileDataB64"])
        assert pkcs12.load_pkcs12(data, row["certPassword"].encode()).cert is not None


def test_every_action_is_known() -> None:
    """Of the vendor's 54 actions each one is either answered or refused."""
    assert 54 == len(HANDLERS) + len(MUTATING_ACTIONS)
    assert 28 == len(MUTATING_ACTIONS)


@pytest.mark.parametrize("action", sorted(MUTATING_ACTIONS))
async def test_changes_are_violations(portal: RealLoad, action: str) -> None:
    """An action that would change something is refused and noted."""
    reply = await portal.call(action)

    assert reply["isError"] is True
    assert [action] == portal.portal.violations


async def test_nonsense_is_answered_with_an_error(portal: RealLoad) -> None:
    """Unknown actions get the smallest error envelope."""
    reply = await portal.call("makeCoffee")

    assert fixture("realload", "common.error_generic").keys() == reply.keys()


async def test_ten_thousand_agents_are_listed(time: FakeClock) -> None:
    """The largest fleet is one reply like any other."""
    portal = RealLoad(time, agents=10_000)

    reply = await portal.call("getMeasuringAgents")

    assert 10_000 == len(reply["measuringAgentsArray"])


async def test_life_shows_in_pings(time: FakeClock) -> None:
    """At pace 10 the flapping agent is down ten seconds later, and up again after twenty."""
    portal = RealLoad(time, pace=10)
    seen = []

    for _ in range(3):
        seen.append((await portal.call("pingMeasuringAgent", agentId=42))["isError"])
        time.shift(10)

    assert [False, True, False] == seen
