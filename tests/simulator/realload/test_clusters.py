from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.simulator.callers import RealLoad


CONTROLLER = "controller-1.load.example.net"


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
    """A controller must be listed once for each token, and accept the right one only."""
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
    """A default cluster must be unusable although its controller is well."""
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
    """Each of the vendor's four flags must be a possible answer for a refused cluster."""
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
