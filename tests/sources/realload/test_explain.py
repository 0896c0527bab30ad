from __future__ import annotations

import pytest

from exporter.errors import CallError, PollError, Reason
from exporter.fleet.readings import Agent, Cluster, Controller, Recorder, Suite
from tests.support.realload import Rig, fixture, reply


def rig() -> Rig:
    return Rig(
        {
            "getMeasuringAgents": "ok",
            "pingMeasuringAgent": "ok",
            "getClusterControllers": "ok",
            "pingClusterController": "ok",
            "getMeasuringAgentClusters": "ok",
            "pingMeasuringAgentClusterMembers": "ok",
            "getProxyRecorders": "ok",
            "pingProxyRecorder": "ok",
            "getMinRequiredProxyRecorderVersion": "ok",
            "getTestExecutionSuites": "ok",
            "getCurrentlyRunningTestExecutionSuiteIds": "ok",
        }
    )


@pytest.mark.parametrize(
    ("kind", "target_id", "type_", "task"),
    [
        ("agent", "46", Agent, "agents"),
        ("controller", "198.51.100.1:8083", Controller, "controllers"),
        ("cluster", "11", Cluster, "clusters"),
        ("recorder", "4", Recorder, "recorders"),
        ("suite", "3", Suite, "suites"),
    ],
)
async def test_reads_what_a_poll_reads(
    kind: str, target_id: str, type_: type[object], task: str
) -> None:
    """Explaining one target finds what the poll finds."""
    source = rig()

    explanation = await source.source.explain(kind, target_id)

    assert isinstance(explanation.reading, type_)
    assert explanation.reading in await source.readings(task)


async def test_shows_wanted_fields_and_names_the_others() -> None:
    """An explanation must show the fields the decoder knows, and only name the others."""
    explanation = await rig().source.explain("agent", "46")

    ping = fixture("pingMeasuringAgent.ok")
    ping["agentResponse"] |= dict.fromkeys(
        ("pingFromRemoteIp", "pingFromRemoteUserId"), "<not shown>"
    )
    assert ping == explanation.reply


async def test_shows_one_suite_of_the_list() -> None:
    """Of the list of suites, only the asked one must be shown."""
    explanation = await rig().source.explain("suite", "3")

    assert 3 == explanation.reply["testExecutionSuite"]["testExecutionSuiteId"]
    assert isinstance(explanation.reading, Suite)
    assert explanation.reading.running


async def test_shows_an_error_as_it_is() -> None:
    """The explanation must show the error's text, which tells a wrong token."""
    source = rig()
    source.portal.script["pingClusterController"] = "bad_token"

    explanation = await source.source.explain("controller", "198.51.100.1:8083")

    assert isinstance(explanation.reading, Controller)
    assert explanation.reading.state is not None
    assert Reason.NOT_REACHABLE is explanation.reading.state.reason
    assert "Invalid authentication token" in explanation.reply["genericErrorText"]


async def test_takes_one_call_once_the_inventory_is_known() -> None:
    """The list of the newest poll is good enough to know the target by."""
    source = rig()
    await source.readings("agents")
    source.portal.requests.clear()

    await source.source.explain("agent", "46")

    assert ["pingMeasuringAgent"] == source.portal.asked


async def test_leaves_the_polls_alone() -> None:
    """Explaining changes nothing of what the next poll carries over."""
    source = rig()
    before = await source.readings("agents")
    source.portal.script["pingMeasuringAgent"] = "not_reachable"
    await source.source.explain("agent", "46")
    source.portal.script["pingMeasuringAgent"] = reply(b"", 502)

    poll = await source.source.poll("agents")

    assert before == poll.readings


@pytest.mark.parametrize(
    ("kind", "target_id"),
    [("agent", "47"), ("suite", "9"), ("controller", "x"), ("run", "1"), ("", "")],
)
async def test_knows_no_other_targets(kind: str, target_id: str) -> None:
    """Targets that are not in the inventory must not be pinged."""
    source = rig()

    with pytest.raises(LookupError):
        await source.source.explain(kind, target_id)

    assert not any(action.startswith("ping") for action in source.portal.asked)


async def test_pings_no_inactive_agent() -> None:
    """An inactive agent is shown as it is listed."""
    source = rig()

    explanation = await source.source.explain("agent", "49")

    assert explanation.reply is None
    assert isinstance(explanation.reading, Agent)
    assert explanation.reading.state is None
    assert "pingMeasuringAgent" not in source.portal.asked


async def test_accuses_nobody_by_one_time_out() -> None:
    """One time-out must be an error, not a verdict about the target."""
    source = rig()
    source.portal.script["pingMeasuringAgent"] = CallError(Reason.TIMEOUT, "late")

    with pytest.raises(PollError, match="late") as caught:
        await source.source.explain("agent", "46")

    assert Reason.TIMEOUT is caught.value.reason


async def test_fails_as_a_call_fails() -> None:
    """An explanation must fail as a poll does if the reply says nothing about the target."""
    source = rig()
    source.portal.script["pingMeasuringAgent"] = reply(b"", 502)

    with pytest.raises(PollError) as caught:
        await source.source.explain("agent", "46")

    assert Reason.HTTP_5XX is caught.value.reason


async def test_goes_through_the_guard() -> None:
    """Explaining is refused like any call while the token is refused."""
    source = rig()
    source.portal.script["getUserAccountInfo"] = reply(b"", 401)
    with pytest.raises(PollError):
        await source.source.poll("agents")

    with pytest.raises(PollError):
        await source.source.explain("agent", "46")

    assert ["getUserAccountInfo"] == source.portal.asked
