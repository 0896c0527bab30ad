"""Clusters and their members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Cluster, ClusterState, Member, MemberState
from exporter.sources.decode import measured, text
from exporter.sources.realload import actions, replies
from exporter.sources.realload.actions import Flagged
from exporter.sources.realload.inventory import Inventory, address


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.clock import Moment
    from exporter.sources.realload.pings import PingResult


class Clusters(Inventory[Cluster]):
    """The clusters of an account; one ping reaches all members of a cluster."""

    kind = Kind.CLUSTER
    list_action = actions.CLUSTERS
    ping_action = actions.CLUSTER_PING

    def read(self, item: replies.ClusterItem) -> Cluster:
        """Return a listed cluster, without a state."""
        members: dict[str, Member] = {}
        for member in item.cluster_members_array or ():
            if member.cluster_member_id is None or member.agent_id is None:
                self.client.surprise("missing_field")
                continue
            member_id, agent_id = str(member.cluster_member_id), str(member.agent_id)
            if member_id in members:
                self.client.surprise("type")
                continue
            members[member_id] = Member(
                member_id=member_id,
                agent_id=agent_id,
                agent=member.agent_description or agent_id,
                active=replies.flag(member.agent_active),
                load_factor=measured(member.load_factor),
            )
        return Cluster(
            cluster_id=text(item.cluster_id),
            agent_cluster=item.cluster_description or text(item.cluster_id),
            controller=address(item.controller_host, item.controller_port),
            active=replies.flag(item.cluster_active),
            members=tuple(members.values()),
        )

    def with_state(
        self, listed: Cluster, ping: PingResult[Any] | None, previous: Cluster | None
    ) -> Cluster:
        """Return a cluster with its own and its members' states; an inactive cluster has none.

        An inactive member has no state either, so that it cannot raise an alert.
        """
        if not self.should_ping(listed):
            return listed
        state: ClusterState | None = None
        found: dict[str, MemberState | None] = {}
        if ping is not None:
            state, found = self._judged(ping)
        elif previous is not None:
            state = previous.state
            found = {member.member_id: member.state for member in previous.members}
        members = tuple(
            member
            if member.active is False
            else msgspec.structs.replace(member, state=found.get(member.member_id))
            for member in listed.members
        )
        return msgspec.structs.replace(listed, state=state, members=members)

    def _judged(self, ping: PingResult[Any]) -> tuple[ClusterState, dict[str, MemberState | None]]:
        """Return the states of a cluster and, by id, of its members, from a ping.

        An error flag or a time-out is a failure of the cluster: no member was asked, so the states
        of all members are unknown.
        """
        at, answer = ping.at, ping.answer
        if isinstance(answer, Flagged):
            # The portal reached an outdated controller, but that controller asks no member.
            reason = Reason.OUTDATED if answer.outdated else answer.reason
            state = ClusterState(read_at=at, up=False, reason=reason, outdated=answer.outdated)
            return state, {}
        info = answer.controller_response or replies.ClusterInfo()
        connect = info.cluster_connect_result or replies.ConnectResult()
        action = info.cluster_action_result or replies.ActionResult()
        has_result = (
            info.cluster_connect_result is not None or info.cluster_action_result is not None
        )
        if info.cluster_connect_result is None:
            self.client.surprise("missing_field")
        state = ClusterState(
            read_at=at,
            # `isError` without an error flag and without a result does not show the state.
            up=True if has_result or not answer.is_error else None,
            outdated=replies.flag(info.cluster_controller_outdated),
            connect_duration_seconds=replies.seconds(connect.cluster_connect_duration_millis),
            ping_duration_seconds=replies.seconds(info.http_execute_time_millis),
        )
        return state, _members(at, connect, action)


def _members(
    at: Moment, connect: replies.ConnectResult, action: replies.ActionResult
) -> dict[str, MemberState | None]:
    """Return the states of all members by id; a list missing from the reply judges no member."""
    unconnected = _ids(connect.connect_failed_cluster_member_array)
    idle = _ids(action.action_failed_cluster_member_array)
    connected = _as_ids(connect.connect_successful_cluster_member_array)
    acted = _as_ids(action.action_successful_cluster_member_array)
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


def _as_ids(members: Iterable[int | str] | None) -> set[str] | None:
    return None if members is None else set(map(str, members))


def _ids(parts: Iterable[replies.MemberItem | replies.FailedMember] | None) -> set[str]:
    return {
        str(part.cluster_member_id) for part in parts or () if part.cluster_member_id is not None
    }


def _worked(member: str, good: set[str] | None, bad: set[str]) -> bool | None:
    """Return whether a part of the ping worked for a member, `None` if the reply does not say."""
    if good is not None:
        return member in good
    return False if member in bad else None


def _member(
    at: Moment,
    info: replies.MemberInfo | None,
    *,
    connected: bool | None,
    acted: bool | None,
    silent: bool,
) -> MemberState | None:
    """Return a member's state: up only if connecting, acting and answering all worked."""
    reason = None
    if connected is False:
        reason = Reason.NOT_REACHABLE
    elif (connected and (acted is False or silent)) or (info and replies.flag(info.is_error)):
        reason = Reason.API_ERROR
    elif not acted or info is None:
        return None
    info = info or replies.MemberInfo()
    return MemberState(
        read_at=at,
        up=reason is None,
        reason=reason,
        outdated=replies.flag(info.measuring_agent_outdated),
        version=info.product_version or "",
        os=info.os_name or "",
        java_version=info.java_version or "",
        clock_delta_seconds=replies.signed_seconds(info.delta_time_millis),
        sampling_granularity_seconds=replies.seconds(info.sampling_granularity_millis),
    )
