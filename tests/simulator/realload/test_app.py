from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from exporter.simulator.realload.app import HANDLERS, MUTATING_ACTIONS
from tests.simulator.callers import RealLoad
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


#: For each fixture, the request that must be answered in its shape.
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
        {
            "controllerHost": "controller-1.load.example.net",
            "controllerPort": 8083,
            "controllerAuthToken": "wrong",
        },
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


@pytest.mark.parametrize(("name", "fields"), CASES)
async def test_replies_have_the_fixture_s_shape(
    portal: RealLoad, name: str, fields: dict[str, Any]
) -> None:
    """Every action must answer with the keys and types of the vendor's examples."""
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


async def test_denied_agents(portal: RealLoad) -> None:
    """An agent of another user must be denied."""
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
    """The simulator must be able to print memory sizes with each machine's separator."""
    portal.fleet.change("agents", 41, memory_mb=16_384, memory_separator=separator)

    response = (await portal.call("pingMeasuringAgent", agentId=41))["agentResponse"]

    assert text == response["javaMaxMemory"]


async def test_agents_of_cloud_credits_are_marked(portal: RealLoad) -> None:
    """One agent must be launched by cloud credits, and another one have the newer fields."""
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


async def test_certificates_can_be_opened(portal: RealLoad) -> None:
    """Certificates must be real containers, which can be opened."""
    reply = await portal.call("getProxyRecordersClientCertificates")

    for row in reply["clientCertificatesArray"]:
        data = base64.b64decode(row["certFileDataB64"])
        assert pkcs12.load_pkcs12(data, row["certPassword"].encode()).cert is not None


def test_every_action_is_known() -> None:
    """Each of the vendor's 54 actions must be answered or refused."""
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
