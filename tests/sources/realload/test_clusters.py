from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Cluster, ClusterState, Member, MemberState
from tests.support.realload import Rig, Script, exposed, fixture, reply


def one_cluster(**fields: Any) -> dict[str, Any]:
    """Make the list whose only cluster is that of the ping examples."""
    members = fixture("pingMeasuringAgentClusterMembers.ok")["controllerResponse"][
        "clusterConnectResult"
    ]["measuringAgentClusterMemberArray"]
    cluster = {
        "clusterId": 11,
        "clusterActive": True,
        "clusterDescription": "C1",
        "controllerHost": "198.51.100.1",
        "controllerPort": 8083,
        "controllerAuthToken": "aberaber",
        "clusterMembersArray": members,
    }
    return {"measuringAgentClustersArray": [{**cluster, **fields}], "isError": False}


def rig(ping: Script = "ok", clusters: Script | None = None) -> Rig:
    return Rig(
        {
            "getMeasuringAgentClusters": clusters or one_cluster(),
            "pingMeasuringAgentClusterMembers": ping,
        }
    )


async def only(source: Rig) -> Cluster:
    (cluster,) = await source.readings("clusters")
    assert isinstance(cluster, Cluster)
    return cluster


async def states(ping: Script) -> list[tuple[bool, Reason | None] | None]:
    """Return `up` and reason of members 71 and 72."""
    return [
        (member.state.up, member.state.reason) if member.state else None
        for member in (await only(rig(ping))).members
    ]


async def test_reads_the_documented_list() -> None:
    """The printed list becomes exactly these clusters, members and all."""
    source = rig("ok", "ok")

    first, second = await source.readings("clusters")

    assert isinstance(first, Cluster)
    assert isinstance(second, Cluster)
    assert ("11", "C1", "198.51.100.1:8083", True) == (
        first.cluster_id,
        first.agent_cluster,
        first.controller,
        first.active,
    )
    assert (
        Member(member_id="59", agent_id="64", agent="Agent 1", active=True, load_factor=1.0)
        == first.members[0]
    )
    assert ["66", "67"] == [member.member_id for member in second.members]
    # The vendor's example of a ping is about other members, so these are unknown.
    assert all(member.state is None for member in (*first.members, *second.members))


async def test_exposes_the_documented_ping() -> None:
    """The printed example becomes exactly these samples."""
    cluster = await only(rig())

    own = 'cluster_id="11",agent_cluster="C1"'
    expected: dict[str, float] = {
        f'cluster_info{{{own},controller="198.51.100.1:8083"}}': 1,
        f"cluster_active{{{own}}}": 1,
        f"cluster_up{{{own}}}": 1,
        f"cluster_outdated{{{own}}}": 0,
        f"cluster_members{{{own}}}": 2,
        f"cluster_connect_duration_seconds{{{own}}}": 0.079,
        f"cluster_ping_duration_seconds{{{own}}}": 1.778,
    }
    for member in (
        f'{own},member_id="71",agent_id="59",agent="Ubuntu 10"',
        f'{own},member_id="72",agent_id="60",agent="Ubuntu 11"',
    ):
        expected |= {
            f'cluster_member_info{{{member},version="4.0.4",os="Linux",java_version="11.0.1"}}': 1,
            f"cluster_member_up{{{member}}}": 1,
            f"cluster_member_outdated{{{member}}}": 0,
            f"cluster_member_clock_delta_seconds{{{member}}}": -0.01,
            f"cluster_member_load_factor{{{member}}}": 1,
            f"cluster_member_sampling_granularity_seconds{{{member}}}": 4,
        }
    assert expected == exposed(cluster)


@pytest.mark.parametrize("case", ["partly_failed", "partly_failed_iserror_false"])
async def test_judges_a_partly_failed_ping_by_its_lists(case: str) -> None:
    """Without `isError` the member lists decide."""
    assert [(False, Reason.NOT_REACHABLE), (True, None)] == await states(case)


async def test_judges_a_partly_failed_ping_with_is_error_by_its_lists() -> None:
    """Should a part failure set `isError`, the data still count."""
    ping = {**fixture("pingMeasuringAgentClusterMembers.partly_failed"), "isError": True}

    assert [(False, Reason.NOT_REACHABLE), (True, None)] == await states(ping)


async def test_takes_a_member_that_did_not_act_for_down() -> None:
    """A connected member that did not act must be down; an outdated one that did is up."""
    cluster = await only(rig("action_failed_and_outdated"))

    first, second = (member.state for member in cluster.members)
    assert first is not None
    assert second is not None
    assert (True, True) == (first.up, first.outdated)
    assert (False, Reason.API_ERROR, None) == (second.up, second.reason, second.outdated)


@pytest.mark.parametrize(
    "change",
    [
        {"jsonResponseClusterMemberArray": []},
        {"actionSuccessfulClusterMemberArray": []},
        {
            "jsonResponseClusterMemberArray": [
                {"clusterMemberId": number, "jsonResponseObject": {"isError": True}}
                for number in (71, 72)
            ]
        },
    ],
)
async def test_takes_a_member_without_a_good_answer_for_down(change: dict[str, Any]) -> None:
    """All three parts of the ping have to have worked."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    ping["controllerResponse"]["clusterActionResult"] |= change

    assert [(False, Reason.API_ERROR)] * 2 == await states(ping)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("clusterActionResult", "actionSuccessfulClusterMemberArray"),
        ("clusterActionResult", "jsonResponseClusterMemberArray"),
    ],
)
@pytest.mark.parametrize("value", [None, "odd"])
async def test_judges_nobody_by_a_list_that_is_missing(
    part: str, field: str, value: str | None
) -> None:
    """A list that the portal leaves out, or that cannot be read, must not mark a member as down."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    ping["controllerResponse"][part][field] = value

    assert [None] * 2 == await states(ping)


@pytest.mark.parametrize("value", [None, "odd", ["71", "72"]])
async def test_takes_members_that_acted_for_connected(value: object) -> None:
    """The list of the connected may be missing; its numbers may be printed as text."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    connect = ping["controllerResponse"]["clusterConnectResult"]
    connect["connectSuccessfulClusterMemberArray"] = value

    assert [(True, None)] * 2 == await states(ping)


async def test_believes_the_list_of_those_that_failed() -> None:
    """A member in the list of failures must be down, even if the other list is missing."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    connect = ping["controllerResponse"]["clusterConnectResult"]
    del connect["connectSuccessfulClusterMemberArray"]
    connect["connectFailedClusterMemberArray"] = [{"clusterMemberId": 72}]

    assert [(True, None), (False, Reason.NOT_REACHABLE)] == await states(ping)


async def test_reads_flags_that_are_numbers() -> None:
    """The API prints one and the same flag as a boolean and as a number."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    answers = ping["controllerResponse"]["clusterActionResult"]["jsonResponseClusterMemberArray"]
    answers[0]["jsonResponseObject"] |= {"isError": 0, "measuringAgentOutdated": 1}
    answers[1]["jsonResponseObject"] |= {"isError": 1}

    first, second = (await only(rig(ping))).members

    assert first.state is not None
    assert second.state is not None
    assert (True, True) == (first.state.up, first.state.outdated)
    assert (False, Reason.API_ERROR) == (second.state.up, second.state.reason)


async def test_accepts_a_member_without_is_error() -> None:
    """An absent `isError` in a member's answer is none."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    for answer in ping["controllerResponse"]["clusterActionResult"][
        "jsonResponseClusterMemberArray"
    ]:
        del answer["jsonResponseObject"]["isError"]

    assert [(True, None)] * 2 == await states(ping)


#: A wrong controller token, as the controller's own ping answers it.
WRONG_TOKEN = {
    "isError": True,
    "genericErrorText": "Error code = 18, Error message = Invalid authentication token",
    "clusterIdError": False,
    "clusterAccessDeniedError": False,
    "controllerVersionOutdatedError": False,
    "controllerNotReachableError": True,
}


@pytest.mark.parametrize(
    ("ping", "reason", "outdated"),
    [
        ("controller_not_reachable", Reason.NOT_REACHABLE, None),
        (WRONG_TOKEN, Reason.NOT_REACHABLE, None),
        ({"isError": 1, "clusterAccessDeniedError": 1}, Reason.ACCESS_DENIED, None),
        ({"isError": True, "clusterIdError": True}, Reason.UNKNOWN_ID, None),
        ("controller_outdated", Reason.OUTDATED, True),
    ],
)
async def test_takes_a_cluster_for_down_whose_controller_asks_nobody(
    ping: Script, reason: Reason, outdated: bool | None
) -> None:
    """A failure of the cluster's controller must not mark the cluster's agents as down."""
    source = rig(ping)

    cluster = await only(source)

    now = source.time.clock.now()
    assert ClusterState(read_at=now, up=False, reason=reason, outdated=outdated) == cluster.state
    assert [None, None] == [member.state for member in cluster.members]


async def test_exposes_a_cluster_that_is_refused_as_outdated() -> None:
    """A cluster refused as outdated must be down and outdated, and its members unknown."""
    cluster = await only(rig("controller_outdated"))

    own = 'cluster_id="11",agent_cluster="C1"'
    shown = exposed(cluster)
    assert (0, 1, 1) == (
        shown[f"cluster_up{{{own}}}"],
        shown[f'cluster_failure{{{own},reason="outdated"}}'],
        shown[f"cluster_outdated{{{own}}}"],
    )
    assert not any(name.startswith("cluster_member_up") for name in shown)


async def test_an_outdated_controller_that_asks_the_members_leaves_a_cluster_up() -> None:
    """Outdated is not unreachable: the members were asked."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    ping["controllerResponse"]["clusterControllerOutdated"] = 1

    cluster = await only(rig(ping))

    assert cluster.state is not None
    assert (True, None, True) == (cluster.state.up, cluster.state.reason, cluster.state.outdated)
    assert all(member.state and member.state.up for member in cluster.members)


async def test_tells_two_clusters_of_one_controller_apart() -> None:
    """A cluster with a wrong token of its controller must be down, and the other one up."""
    clusters = one_cluster()
    first = clusters["measuringAgentClustersArray"][0]
    stale = {"clusterId": 12, "clusterDescription": "C2", "controllerAuthToken": "stale"}
    clusters["measuringAgentClustersArray"].append({**first, **stale})
    source = rig(lambda request: "ok" if request["clusterId"] == 11 else WRONG_TOKEN, clusters)

    good, bad = await source.readings("clusters")

    assert isinstance(good, Cluster)
    assert isinstance(bad, Cluster)
    assert good.state is not None
    assert bad.state is not None
    assert (True, None) == (good.state.up, good.state.reason)
    assert (False, Reason.NOT_REACHABLE) == (bad.state.up, bad.state.reason)


@pytest.mark.parametrize("is_error", [{}, {"isError": True}, {"isError": False}, {"isError": 1}])
async def test_a_cluster_that_is_partly_failed_is_up(is_error: dict[str, Any]) -> None:
    """A cluster with members that failed must be up: its controller was asked."""
    ping = {**fixture("pingMeasuringAgentClusterMembers.partly_failed"), **is_error}

    cluster = await only(rig(ping))

    assert cluster.state is not None
    assert (True, None) == (cluster.state.up, cluster.state.reason)


async def test_a_good_reply_without_the_members_says_nothing_of_them() -> None:
    """The controller answered; what it leaves out is counted."""
    source = rig({"isError": False, "controllerResponse": {"httpExecuteTimeMillis": 90}})

    cluster = await only(source)

    now = source.time.clock.now()
    assert ClusterState(read_at=now, up=True, ping_duration_seconds=0.09) == cluster.state
    assert [None, None] == [member.state for member in cluster.members]
    assert 1 == source.surprises("missing_field")


async def test_an_error_that_says_nothing_judges_no_cluster() -> None:
    """An error without a flag and without the members is no evidence for anything."""
    source = rig({"isError": True, "controllerResponse": {}})

    cluster = await only(source)

    assert ClusterState(read_at=source.time.clock.now()) == cluster.state


async def test_takes_a_cluster_for_down_when_its_pings_do_not_end() -> None:
    """A cluster whose pings time out must be down, and its members unknown."""
    source = rig(CallError(Reason.TIMEOUT, "late"))
    for _ in range(2):
        await source.source.poll("clusters")

    cluster = await only(source)

    now = source.time.clock.now()
    assert ClusterState(read_at=now, up=False, reason=Reason.TIMEOUT) == cluster.state
    assert [None, None] == [member.state for member in cluster.members]


async def test_pings_no_inactive_cluster() -> None:
    """An inactive cluster is shown with its members and without any state."""
    source = rig("ok", one_cluster(clusterActive=False))

    cluster = await only(source)

    assert (False, None) == (cluster.active, cluster.state)
    assert [None, None] == [member.state for member in cluster.members]
    assert not any("_up{" in name or "_failure{" in name for name in exposed(cluster))
    assert "pingMeasuringAgentClusterMembers" not in source.portal.asked


async def test_judges_no_inactive_member() -> None:
    """An inactive agent must not be judged as a member."""
    clusters = one_cluster()
    clusters["measuringAgentClustersArray"][0]["clusterMembersArray"][0]["agentActive"] = False

    first, second = (await only(rig("partly_failed", clusters))).members

    assert first.state is None
    assert second.state is not None


async def test_lists_all_clusters() -> None:
    """A poll must have the complete list, so that an empty one is doubted."""
    poll = await rig().source.poll("clusters")

    assert (Kind.CLUSTER,) == poll.inventory


async def test_carries_states_over_a_failed_call() -> None:
    """A call that fails says nothing about the members."""
    source = rig()
    before = await only(source)
    await source.time.advance(60)
    source.portal.script["pingMeasuringAgentClusterMembers"] = reply(b"", 502)

    poll = await source.source.poll("clusters")

    assert (before,) == poll.readings
    assert [Reason.HTTP_5XX] == [failure.reason for failure in poll.failures]


async def test_keeps_the_first_of_two_members_with_the_same_id() -> None:
    """A duplicate is counted and not shown."""
    clusters = one_cluster()
    members = clusters["measuringAgentClustersArray"][0]["clusterMembersArray"]
    members.append({**members[0], "agentDescription": "again"})
    members.append({"agentId": 5})
    source = rig("ok", clusters)

    assert ["Ubuntu 10", "Ubuntu 11"] == [m.agent for m in (await only(source)).members]
    assert (1, 1) == (source.surprises("type"), source.surprises("missing_field"))


async def test_keeps_a_clock_delta_of_minus_one_millisecond() -> None:
    """A difference of -1 is a measurement, not a missing one."""
    ping = fixture("pingMeasuringAgentClusterMembers.ok")
    answers = ping["controllerResponse"]["clusterActionResult"]["jsonResponseClusterMemberArray"]
    answers[0]["jsonResponseObject"]["deltaTimeMillis"] = -1

    first, _ = (await only(rig(ping))).members

    assert isinstance(first.state, MemberState)
    assert -0.001 == first.state.clock_delta_seconds
