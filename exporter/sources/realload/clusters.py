"""Clusters and their members (reference section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.errors import Reason
from exporter.fleet.readings import Cluster, ClusterState, Member, MemberState
from exporter.sources.realload import actions
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.portal import Inventory
from exporter.sources.realload.replies import (
    ActionResult,
    ClusterInfo,
    ClusterItem,
    ClusterPing,
    ConnectResult,
    MemberInfo,
)
from exporter.sources.realload.values import address, flag, measured, seconds, signed_seconds


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from exporter.clock import Moment
    from exporter.sources.realload.client import Trace
    from exporter.sources.realload.portal import Portal
    from exporter.sources.realload.replies import FailedMember, MemberItem
    from exporter.sources.realload.rounds import Look


class Clusters(Inventory[Cluster, ClusterPing]):
    """The clusters of an account; one ping looks at all members of one."""

    kind = "clusters"
    reply = ClusterPing

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal)
        self._inactive_members: AbstractSet[str] = frozenset()

    async def listing(self) -> list[Cluster]:
        """Return all clusters, without a state."""
        reply = await self.portal.client.data(actions.CLUSTERS)
        clusters = []
        inactive: set[str] = set()
        for item in reply.measuring_agent_clusters_array or ():
            if item.cluster_id is None:
                self.portal.surprise("missing_field")
                continue
            clusters.append(self._bare(item))
            inactive.update(
                str(member.cluster_member_id)
                for member in item.cluster_members_array or ()
                if flag(member.agent_active) is False
            )
        self._inactive_members = inactive
        return clusters

    async def ask(self, target_id: str, trace: Trace) -> ClusterPing | Flagged:
        """Ping all members of a cluster."""
        return await self.portal.client.call(
            actions.CLUSTER_PING, {"clusterId": int(target_id)}, trace=trace
        )

    def key(self, reading: Cluster) -> str:
        """Return its id."""
        return reading.cluster_id

    def name(self, reading: Cluster) -> str:
        """Return its description."""
        return reading.agent_cluster

    def pinged(self, bare: Cluster) -> bool:
        """Leave out what the portal was told not to watch."""
        return bare.active is not False

    def settled(
        self, bare: Cluster, look: Look[ClusterPing] | None, before: Cluster | None
    ) -> Cluster:
        """Return a cluster with its state and its members'; an inactive one has none.

        Members that are inactive agents are not judged either, so that they page nobody.
        """
        if not self.pinged(bare):
            return bare
        state: ClusterState | None = None
        found: dict[str, MemberState | None] = {}
        if look is not None:
            state, found = _judged(look, bare.members)
        elif before is not None:
            state = before.state
            found = {member.member_id: member.state for member in before.members}
        members = tuple(
            member
            if member.member_id in self._inactive_members
            else msgspec.structs.replace(member, state=found.get(member.member_id))
            for member in bare.members
        )
        return msgspec.structs.replace(bare, state=state, members=members)

    def _bare(self, item: ClusterItem) -> Cluster:
        members: dict[str, Member] = {}
        for member in item.cluster_members_array or ():
            if member.cluster_member_id is None or member.agent_id is None:
                self.portal.surprise("missing_field")
                continue
            member_id, agent_id = str(member.cluster_member_id), str(member.agent_id)
            if member_id in members:
                self.portal.surprise("type")
                continue
            members[member_id] = Member(
                member_id=member_id,
                agent_id=agent_id,
                agent=member.agent_description or agent_id,
                load_factor=measured(member.load_factor),
            )
        return Cluster(
            cluster_id=str(item.cluster_id),
            agent_cluster=item.cluster_description or str(item.cluster_id),
            controller=address(item.controller_host, item.controller_port),
            active=flag(item.cluster_active),
            members=tuple(members.values()),
        )


def _judged(
    look: Look[ClusterPing], members: tuple[Member, ...]
) -> tuple[ClusterState, dict[str, MemberState | None]]:
    """Return what a ping found out about a cluster and, by id, about its members.

    An error flag is about the controller or the cluster: no member was asked, so nothing is known
    of any, and the controller's own ping says what is wrong. A ping that did not end in time is
    the members' failure (design section 2, rule 2), since it is they who are waited for.
    """
    if isinstance(look.answer, Flagged):
        late = look.answer.reason is Reason.TIMEOUT
        down = MemberState(read_at=look.at, up=False, reason=Reason.TIMEOUT) if late else None
        return ClusterState(read_at=look.at), {member.member_id: down for member in members}
    info = look.answer.controller_response or ClusterInfo()
    connect = info.cluster_connect_result or ConnectResult()
    action = info.cluster_action_result or ActionResult()
    state_of_cluster = ClusterState(
        read_at=look.at,
        connect_duration_seconds=seconds(connect.cluster_connect_duration_millis),
        ping_duration_seconds=seconds(info.http_execute_time_millis),
    )
    return state_of_cluster, _members(look.at, connect, action)


def _members(
    at: Moment, connect: ConnectResult, action: ActionResult
) -> dict[str, MemberState | None]:
    """Return what is known of everybody; nobody is judged by a list that is missing."""
    unconnected = _ids(connect.connect_failed_cluster_member_array)
    idle = _ids(action.action_failed_cluster_member_array)
    connected = _listed(connect.connect_successful_cluster_member_array)
    acted = _listed(action.action_successful_cluster_member_array)
    answers = {
        str(answer.cluster_member_id): answer.json_response_object
        for answer in action.json_response_cluster_member_array or ()
        if answer.cluster_member_id is not None
    }
    named = _ids(connect.measuring_agent_cluster_member_array)
    everyone = named | unconnected | idle | (connected or set()) | (acted or set()) | {*answers}
    answering = action.json_response_cluster_member_array is not None
    return {
        member: _member(
            at,
            answers.get(member),
            connected=_worked(member, connected, unconnected),
            acted=_worked(member, acted, idle),
            silent=answering and member not in answers,
        )
        for member in everyone
    }


def _listed(members: Iterable[int | str] | None) -> set[str] | None:
    return None if members is None else set(map(str, members))


def _ids(parts: Iterable[MemberItem | FailedMember] | None) -> set[str]:
    return {
        str(part.cluster_member_id) for part in parts or () if part.cluster_member_id is not None
    }


def _worked(member: str, good: set[str] | None, bad: set[str]) -> bool | None:
    """Tell whether a part of the look worked for a member, `None` where nothing says so."""
    if good is not None:
        return member in good
    return False if member in bad else None


def _member(
    at: Moment,
    info: MemberInfo | None,
    *,
    connected: bool | None,
    acted: bool | None,
    silent: bool,
) -> MemberState | None:
    """Judge a member, which is up only if all three parts of the look worked."""
    reason = None
    if connected is False:
        reason = Reason.NOT_REACHABLE
    elif (connected and (acted is False or silent)) or (info and flag(info.is_error)):
        reason = Reason.API_ERROR
    elif not acted or info is None:
        return None
    info = info or MemberInfo()
    return MemberState(
        read_at=at,
        up=reason is None,
        reason=reason,
        outdated=flag(info.measuring_agent_outdated),
        clock_delta_seconds=signed_seconds(info.delta_time_millis),
        sampling_granularity_seconds=seconds(info.sampling_granularity_millis),
    )
